//! The database answers, but slowly: no lease is lost over it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    PATIENCE,
    audit::{self, Invariant},
    keyed::Keyed,
    load::Client,
    members::{Pool, stop_all},
    wires::Wires,
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
    witness::Witness,
};

/// A lease, which is renewed in a third of it.
const LEASE: Duration = Duration::from_secs(15);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_4_no_lease_is_lost_to_a_slow_database() {
    let retries = usize::try_from(scale("REDRIVE_POOL_SLOW_RETRIES", 6)).unwrap();
    let latency = Duration::from_millis(scale("REDRIVE_POOL_LATENCY_MS", 100));
    let mut report = Report::new(
        "slow database",
        1,
        format!("{retries} retries, {latency:?}"),
    );
    let lease = LEASE.as_millis().to_string();
    let settings = [
        ("REDRIVE_WORKER__LEASE_MS", lease.as_str()),
        // Fewer than there are runs: what renews leases has connections of its own.
        ("REDRIVE_DATABASE__MAX_CONNECTIONS", "4"),
        ("REDRIVE_DATABASE__ACQUIRE_TIMEOUT_MS", "20000"),
    ];
    let witness = Witness::steady(LEASE / 2).await;
    let pool = Pool::new(&settings).await;
    let (near, far) = (Wires::of(&pool), Wires::of(&pool));
    let (api, relay) = (
        near.start(&pool, "api").await,
        near.start(&pool, "relay").await,
    );
    let worker = far.start(&pool, "worker").await;
    let client = Client::new(&pool, &api).await;
    client.import(0..retries, &witness).await;
    let address = api.process.url.replace("http://", "");
    let users = Keyed::new(&pool, &[address]).await;

    let began = Instant::now();
    far.database.delay(latency / 2);
    let (_, all) = watch::channel(retries);
    users.clone().submit(retries, all, Dice(1)).await;
    audit::until_all_ended(&pool, 3 * PATIENCE).await;
    let took = began.elapsed();
    far.database.delay(Duration::ZERO);

    assert!(took > LEASE, "no lease had to be renewed in {took:?}");
    let tally = users.journal.tally();
    let mut verdict = audit::examine(&pool, &client, &witness, &tally, &[]).await;
    // Who loses a lease has the run claimed again, by itself or by another.
    let claims = verdict.repeated.claims;
    verdict.require(claims == 0, Invariant::Zombie, || {
        format!("{claims} claims: {:#?}", pool.said())
    });
    report.settled(took);
    report.fact(
        "faults",
        format!("a latency of {latency:?}, four connections"),
    );
    verdict.report(report);
    verdict.assert_holds();
    pool.assert_sound();
    stop_all([worker, relay, api]).await;
    pool.remove().await;
}
