//! What comes out is what went in.

use std::collections::HashMap;

use redrive::{
    broker::{Dispatch, Lanes},
    domain::Lane,
};

use super::bench::{Bench, dispatch_of};

pub(super) async fn each_publish_is_delivered_once_with_its_content(bench: Bench) {
    let mut expected = HashMap::new();
    for n in 0..120 {
        let lane = Lane::ALL[n % 3];
        // Ids may be 128 characters of any length: more than an AMQP short string takes.
        let run = format!("{n:03}{}", "é".repeat(if n == 7 { 125 } else { 3 }));
        let retry = (n % 2 == 0).then(|| format!("rty_{n}").parse().unwrap());
        let trace = (n % 5 == 0).then(|| format!("00-{n:032}-{n:016}-01"));
        let organization = "org_test".parse().unwrap();
        let dispatch = Dispatch::new(run.parse().unwrap(), retry, organization, trace);
        expected.insert(run, (lane, dispatch));
    }
    let sending = async {
        for (lane, dispatch) in expected.values() {
            bench.publish(*lane, dispatch.clone()).await;
        }
    };
    let receiving = async {
        let mut seen = HashMap::new();
        while seen.len() < expected.len() {
            let delivery = bench.next(Lanes::All).await;
            let dispatch = dispatch_of(&delivery).clone();
            assert_eq!(delivery.traceparent, dispatch.traceparent);
            let run = dispatch.run_id.to_string();
            let earlier = seen.insert(run, (delivery.lane, dispatch));
            assert_eq!(earlier, None, "delivered twice");
            delivery.receipt.ack().await;
        }
        seen
    };
    let ((), seen) = tokio::join!(sending, receiving);
    assert_eq!(seen, expected);
    // The same message may be published again, and is another delivery.
    let (lane, dispatch) = expected.values().next().unwrap().clone();
    for _ in 0..2 {
        bench.publish(lane, dispatch.clone()).await;
    }
    for _ in 0..2 {
        let delivery = bench.next(Lanes::All).await;
        assert_eq!(dispatch_of(&delivery), &dispatch);
        delivery.receipt.ack().await;
    }
    bench.finish().await;
}
