//! A call that takes longer than a lease lasts: it keeps its lease as long as that can be renewed,
//! and no longer.

use std::time::{Duration, Instant};

use super::{
    PATIENCE,
    audit::{self, Invariant},
    load::Client,
    members::{Departed, Pool, stop_all},
    seen,
    wires::Wires,
};
use crate::support::{proxy::Flow, report::Report, witness::Witness};

/// How long the first node's call takes.
const CALL: Duration = Duration::from_secs(12);

const RUNS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_4_a_call_is_longer_than_a_lease() {
    let mut report = Report::new(
        "a call longer than a lease",
        1,
        format!("2 x {RUNS} retries"),
    );
    let witness = Witness::slow_at("first", CALL).await;
    let pool = Pool::new(&[("REDRIVE_WORKER__LEASE_MS", "4000")]).await;
    let wires = Wires::of(&pool);
    let (api, relay) = (pool.start("api").await, pool.start("relay").await);
    let lonely = wires.start(&pool, "worker").await;
    let client = Client::new(&pool, &api).await;
    client.import(0..2 * RUNS, &witness).await;

    // While it is renewed nobody else gets it.
    let mut tally = client.load(0..RUNS, RUNS, None).await;
    for number in 0..RUNS {
        witness.until_called(&format!("/first/{number}")).await;
    }
    let other = pool.start("worker").await;
    audit::until_all_ended(&pool, PATIENCE).await;
    let verdict = audit::examine(&pool, &client, &witness, &tally, &[]).await;
    let repeated = verdict.repeated.clone();
    verdict.assert_holds();
    assert_eq!((repeated.calls, repeated.claims), (0, 0), "{repeated:?}");

    // Without renewals somebody else gets it, and what was called for comes to nothing.
    let began = Instant::now();
    tally.add(client.load(RUNS..2 * RUNS, RUNS, None).await);
    for number in RUNS..2 * RUNS {
        witness.until_called(&format!("/first/{number}")).await;
    }
    let held = seen::claims(&pool.ledger, &lonely.name, began).await;
    assert!(held > 0, "it holds nothing");
    let at = Instant::now();
    wires.database.set(Flow::Nothing);
    seen::until_claimed(&pool.ledger, &other.name, at, held).await;
    wires.database.set(Flow::Both);
    let departed = [Departed::since(lonely.name.clone(), at)];
    report.settled(audit::until_all_ended(&pool, PATIENCE).await);

    let mut verdict = audit::examine(&pool, &client, &witness, &tally, &departed).await;
    let repeated = verdict.repeated.calls;
    verdict.require(repeated == held, Invariant::RepeatedCall, || {
        format!("{repeated} calls made again, {held} runs were held")
    });
    report.fact(
        "faults",
        format!("no renewal for {:?}, {held} runs held", at.elapsed()),
    );
    verdict.report(report);
    verdict.assert_holds();
    pool.assert_sound();
    stop_all([lonely, other, relay, api]).await;
    pool.remove().await;
}
