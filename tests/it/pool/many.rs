//! More processes than one of a kind.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, audit,
    members::{Crew, Pool, stop_all},
    seen,
};
use crate::support::witness::Witness;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_2_several_relays_and_schedulers() {
    let witness = Witness::steady(Duration::ZERO).await;
    let crew = Crew::start(Pool::new(&[]).await, 2).await;
    let (pool, client) = (&crew.pool, &crew.client);
    let relays = pool.start_many("relay", 2).await;
    let schedulers = pool.start_many("scheduler", 3).await;
    client.import(0..200, &witness).await;
    let tally = client.load(0..200, 16, None).await;
    let rest = audit::until_all_ended(pool, PATIENCE).await;

    let repeated = audit::hold(pool, client, &witness, &tally, &[]).await;
    tally.assert_accepted();
    println!("all ended {rest:?} later; {repeated:?}");
    assert_eq!((repeated.calls, repeated.claims), (0, 0));
    assert_eq!(repeated.most_sends, 1);
    stop_all(relays.into_iter().chain(schedulers)).await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_a_new_worker_takes_its_share_at_once() {
    let witness = Witness::steady(Duration::from_millis(300)).await;
    let crew = Crew::start(Pool::new(&[("REDRIVE_WORKER__SLOTS", "4")]).await, 3).await;
    let (pool, client) = (&crew.pool, &crew.client);
    client.import(0..180, &witness).await;
    let tally = client.load(0..180, 16, None).await;
    let before = Instant::now();
    let fourth = pool.start("worker").await;
    let ready = Instant::now();
    tokio::time::sleep(Duration::from_secs(5)).await;
    let mut claims = Vec::new();
    for worker in crew.workers.iter().chain([&fourth]) {
        claims.push(seen::claims(&pool.ledger, &worker.name, ready).await);
    }
    println!(
        "listened after {:?}; claims in 5 s, the new one last: {claims:?}",
        ready - before
    );
    let fair = claims.iter().sum::<usize>() / claims.len();
    assert!(claims[3] * 2 >= fair, "{claims:?}");
    audit::until_all_ended(pool, PATIENCE).await;
    let repeated = audit::hold(pool, client, &witness, &tally, &[]).await;
    assert_eq!((repeated.calls, repeated.claims), (0, 0));
    stop_all([fourth]).await;
    crew.end().await;
}
