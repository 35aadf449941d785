//! What becomes of a message that was taken.

use lapin::options::BasicAckOptions;
use redrive::{broker::Lanes, domain::Lane};

use super::bench::{Bench, PREFETCH, run_of};
use crate::support::broker::{Consumer, about, get};

pub(super) async fn what_is_acked_is_gone_and_what_is_not_comes_again(mut bench: Bench) {
    for run in ["acked", "unsettled"] {
        bench.publish(Lane::Interactive, about(run)).await;
    }
    let acked = bench.next(Lanes::All).await;
    let unsettled = bench.next(Lanes::All).await;
    assert_eq!(run_of(&acked), "acked");
    acked.receipt.ack().await;
    drop(unsettled);
    let Some((place, consumer)) = bench.shared.take() else {
        // What was taken is taken: the ledger finds it again when its lease is over.
        return bench.finish().await;
    };
    consumer.stop().await;
    let another = Consumer::start(&place.config(), PREFETCH);
    bench.broker = another.broker();
    bench.shared = Some((place, another));
    let again = bench.next(Lanes::All).await;
    assert_eq!(run_of(&again), "unsettled");
    again.receipt.ack().await;
    bench.finish().await;
}

pub(super) async fn what_is_rejected_does_not_come_again(bench: Bench) {
    bench.publish(Lane::Bulk, about("unusable")).await;
    bench.publish(Lane::Bulk, about("next")).await;
    let rejected = bench.next(Lanes::All).await;
    assert_eq!(run_of(&rejected), "unusable");
    rejected.receipt.reject().await;
    let next = bench.next(Lanes::All).await;
    assert_eq!(run_of(&next), "next");
    next.receipt.ack().await;
    if let Some((place, _)) = &bench.shared {
        place.until_ready(&place.dead_queue(), 1).await;
        let channel = place.channel().await;
        let dead = get(&channel, &place.dead_queue()).await.unwrap();
        assert_eq!(dead.data, about("unusable").to_bytes().unwrap());
        dead.acker.ack(BasicAckOptions::default()).await.unwrap();
    }
    bench.finish().await;
}

pub(super) async fn a_delivery_that_outlives_its_connection_is_not_settled(mut bench: Bench) {
    bench.publish(Lane::Automatic, about("slow")).await;
    let slow = bench.next(Lanes::All).await;
    let Some((place, consumer)) = bench.shared.take() else {
        // There is no connection that could go.
        slow.receipt.ack().await;
        return bench.finish().await;
    };
    consumer.stop().await;
    // Nobody is told, and nothing says that somebody was.
    slow.receipt.ack().await;
    let another = Consumer::start(&place.config(), PREFETCH);
    bench.broker = another.broker();
    bench.shared = Some((place, another));
    let again = bench.next(Lanes::All).await;
    assert_eq!(run_of(&again), "slow");
    again.receipt.ack().await;
    bench.finish().await;
}
