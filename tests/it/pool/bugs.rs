//! Bugs planted in a pool: the auditor has to find what they break. Each row is one that holds
//! without its bug.

use std::time::{Duration, Instant};

use super::{
    audit,
    members::{Crew, Departed, Pool},
    points::Row,
};
use crate::support::{
    faults::{Death, assert_caught, outcome},
    proxy::{Proxy, impossible_ack, server_of},
    witness::Witness,
};

/// How soon everything ends that is not broken.
const SOON: Duration = Duration::from_secs(10);

fn settings(bug: Option<&'static str>) -> Vec<(&'static str, &'static str)> {
    bug.map(|bug| ("REDRIVE_BUG", bug)).into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_intent_that_is_acked_before_it_is_stored_is_caught() {
    let found = outcome(async {
        let row = Row::new(Some("ack_before_commit")).await;
        let mut day = row.day().await;
        day.patience = SOON / 2;
        row.live_through(Death::at("intent.received", 1), day).await;
    });
    assert_caught(Box::pin(found).await, &["GET /v1/runs/published_"]);
}

/// All leases are over before their time: the clock of the database has jumped. What was called
/// under them comes back to whoever holds them no longer.
async fn leases_end_early(bug: Option<&'static str>) {
    const RETRIES: usize = 8;
    let witness = Witness::steady(Duration::from_millis(1_500)).await;
    let crew = Crew::start(Pool::new(&settings(bug)).await, 2).await;
    let (pool, client) = (&crew.pool, &crew.client);
    client.import(0..RETRIES, &witness).await;
    let tally = client.load(0..RETRIES, RETRIES, None).await;
    for number in 0..RETRIES {
        witness.until_called(&format!("/first/{number}")).await;
    }
    let at = Instant::now();
    pool.ledger.store.expire_leases().await.unwrap();
    pool.ledger.store.rescue().await.unwrap();
    audit::until_all_ended(pool, SOON * 2).await;
    let departed: Vec<_> = crew
        .workers
        .iter()
        .map(|worker| Departed::for_good(worker.name.clone(), at))
        .collect();
    audit::hold(pool, client, &witness, &tally, &departed).await;
    crew.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writes_without_a_look_at_the_epoch_are_caught() {
    let (holds, found) = tokio::join!(
        outcome(leases_end_early(None)),
        outcome(leases_end_early(Some("no_epoch_check")))
    );
    holds.unwrap();
    assert_caught(
        found,
        &[
            "Seen {",
            "logged their variable twice",
            "nodes without an end",
            "recorded by several",
        ],
    );
}

/// The broker closes the channel that a worker consumes on.
async fn a_channel_breaks(bug: Option<&'static str>) {
    let witness = Witness::steady(Duration::from_millis(20)).await;
    let pool = Pool::new(&settings(bug)).await;
    let proxy = Proxy::to(server_of(&pool.amqp));
    let through = ("AMQP_URL", proxy.instead_of_server(&pool.amqp));
    let worker = pool.start_at("127.0.0.1:0", "worker", &[through]).await;
    let (api, relay) = (pool.start("api").await, pool.start("relay").await);
    worker.until_ready(200).await;
    let client = super::load::Client::new(&pool, &api).await;
    client.import(0..10, &witness).await;
    let mut tally = client.load(0..2, 2, None).await;
    audit::until_all_ended(&pool, SOON).await;
    // What was clicked comes over the second one: the first declared the queues, and is closed.
    proxy.say_to_server(impossible_ack(2));
    let load = client.steadily(2..10, Duration::from_secs(2));
    tally.add(load.await.unwrap());
    audit::until_all_ended(&pool, SOON).await;
    audit::hold(&pool, &client, &witness, &tally, &[]).await;
    super::members::stop_all([worker, api, relay]).await;
    pool.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_that_leaves_its_recovery_to_the_library_is_caught() {
    let (holds, found) = tokio::join!(
        outcome(a_channel_breaks(None)),
        outcome(a_channel_breaks(Some("auto_recover")))
    );
    holds.unwrap();
    assert_caught(found, &[" runs: "]);
}
