//! Whose work waits behind whose.

use redrive::{
    broker::Lanes,
    domain::{Lane, PerLane},
};

use super::bench::{Bench, run_of};
use crate::support::broker::about;

pub(super) async fn a_taker_of_interactive_work_gets_nothing_else(bench: Bench) {
    for n in 0..5 {
        bench.publish(Lane::Bulk, about(&format!("bulk{n}"))).await;
        let automatic = about(&format!("automatic{n}"));
        bench.publish(Lane::Automatic, automatic).await;
    }
    for run in ["first", "second"] {
        bench.publish(Lane::Interactive, about(run)).await;
    }
    for expected in ["first", "second"] {
        let delivery = bench.next(Lanes::Interactive).await;
        assert_eq!(run_of(&delivery), expected);
        delivery.receipt.ack().await;
    }
    let waiting = bench.next(Lanes::Interactive);
    let publishing = async {
        bench.publish(Lane::Bulk, about("bulk5")).await;
        bench.publish(Lane::Interactive, about("third")).await;
    };
    let (third, ()) = tokio::join!(waiting, publishing);
    assert_eq!(run_of(&third), "third");
    third.receipt.ack().await;
    for _ in 0..11 {
        let delivery = bench.next(Lanes::All).await;
        assert_ne!(delivery.lane, Lane::Interactive);
        delivery.receipt.ack().await;
    }
    bench.finish().await;
}

pub(super) async fn no_lane_starves(bench: Bench) {
    for n in 0..60 {
        for lane in Lane::ALL {
            let run = format!("{}{n}", lane.as_str());
            bench.publish(lane, about(&run)).await;
        }
    }
    let mut taken: PerLane<u32> = PerLane::default();
    for n in 0..180 {
        let delivery = bench.next(Lanes::All).await;
        *taken.of_mut(delivery.lane) += 1;
        delivery.receipt.ack().await;
        if n == 69 {
            // 40, 20 and 10 where all of it is here; over a wire a lane may be late.
            assert!(taken.interactive >= 20, "{taken:?}");
            assert!(taken.automatic >= 10, "{taken:?}");
            assert!(taken.bulk >= 5, "{taken:?}");
        }
    }
    assert_eq!(taken, PerLane::from_fn(|_| 60));
    bench.finish().await;
}
