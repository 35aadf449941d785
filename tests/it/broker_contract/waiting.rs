//! What the broker holds, and for how long.

use std::time::Duration;

use redrive::{
    broker::{Lanes, Link},
    domain::{Lane, PerLane},
};
use tokio::time::Instant;

use super::bench::{Bench, CAPACITY, PREFETCH, run_of};
use crate::support::broker::{Consumer, about, until};

pub(super) async fn a_broker_says_how_much_it_takes(bench: Bench) {
    let vacancy = bench.broker.vacancy().await;
    if let Some((_, consumer)) = &bench.shared {
        // A batch: the ledger knows how much is on its way.
        let batch = PerLane {
            interactive: 128,
            automatic: 64,
            bulk: 64,
        };
        assert!(bench.broker.is_shared());
        assert_eq!(vacancy, batch);
        assert_eq!(consumer.rabbit.status().publish, Link::Up);
        return bench.finish().await;
    }
    assert!(!bench.broker.is_shared());
    let capacity = u32::try_from(CAPACITY).unwrap();
    assert_eq!(vacancy, PerLane::from_fn(|_| capacity));
    let batch = (0..=CAPACITY).map(|n| (Lane::Bulk, about(&n.to_string())));
    let outcomes = bench.broker.publish(batch.collect()).await;
    let (last, others) = outcomes.split_last().unwrap();
    assert!(!last && others.iter().all(|taken| *taken));
    assert_eq!(bench.broker.vacancy().await.bulk, 0);
    assert_eq!(bench.broker.drain().len(), CAPACITY);
    bench.finish().await;
}

pub(super) async fn what_nobody_took_is_given_back_by_a_process_that_stops(mut bench: Bench) {
    for run in ["taken", "second", "third"] {
        bench.publish(Lane::Interactive, about(run)).await;
    }
    let taken = bench.next(Lanes::All).await;
    let Some((place, consumer)) = bench.shared.take() else {
        // Nobody else could take it: its rows are made due again.
        let left = bench.broker.drain();
        assert_eq!(left, [about("second"), about("third")]);
        return bench.finish().await;
    };
    // What waits here goes to others at once; what was taken can be settled to the end.
    consumer.rabbit.cancel();
    let another = Consumer::start(&place.config(), PREFETCH);
    bench.broker = another.broker();
    bench.shared = Some((place, another));
    for expected in ["second", "third"] {
        let delivery = bench.next(Lanes::All).await;
        assert_eq!(run_of(&delivery), expected);
        delivery.receipt.ack().await;
    }
    taken.receipt.ack().await;
    consumer.stop().await;
    bench.finish().await;
}

pub(super) async fn what_waits_too_long_for_somebody_with_time_is_overdue(bench: Bench) {
    let began = Instant::now();
    bench.publish(Lane::Bulk, about("waits")).await;
    if bench.shared.is_none() {
        // No other process could take it.
        assert_eq!(bench.broker.overdue().len(), 0);
        assert_eq!(run_of(&bench.next(Lanes::All).await), "waits");
        return bench.finish().await;
    }
    let mut overdue = Vec::new();
    until("overdue", async || {
        overdue.extend(bench.broker.overdue());
        !overdue.is_empty()
    })
    .await;
    let waited = began.elapsed();
    assert!(waited >= Duration::from_secs(20), "{waited:?}");
    let delivery = overdue.pop().unwrap();
    assert_eq!(run_of(&delivery), "waits");
    delivery.receipt.ack().await;
    bench.finish().await;
}
