//! PostgreSQL is restarted under load.

use std::time::{Duration, Instant};

use super::{
    audit,
    members::{Crew, Pool},
};
use crate::support::{
    dice::Dice, ledger::Ledger, report::Report, server::Server, services, witness::Witness,
};

const RETRIES: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_3_postgres_is_restarted() {
    let mut report = Report::new("PostgreSQL restarted", 1, format!("{RETRIES} retries"));
    let witness = Witness::start(Dice(1), Duration::from_millis(200)).await;
    let server = Server::postgres().await;
    let ledger = Ledger::postgres_at(server.url.clone()).await;
    let pool = Pool::on(ledger, services::amqp_url(), &[]).await;
    let crew = Crew::start(pool, 2).await;
    let (pool, client) = (&crew.pool, &crew.client);
    client.import(0..RETRIES, &witness).await;
    let sources = client.sources(RETRIES).await;

    let load = client.steadily(0..RETRIES, Duration::from_secs(12));
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.tell("stop-postgres", &["fast"]).await;
    // Longer than anybody waits for a connection.
    tokio::time::sleep(Duration::from_secs(5)).await;
    server.tell("start-postgres", &[]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.tell("restart-postgres", &["immediate"]).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    server.tell("restart-postgres", &["kill"]).await;
    let back = Instant::now();
    let tally = load.await.unwrap();
    for member in crew.workers.iter().chain([&crew.relay, &crew.api]) {
        member.until_ready(200).await;
    }
    // Far sooner than leases expire.
    audit::until_all_ended(pool, Duration::from_secs(20)).await;
    report.settled(back.elapsed());

    let verdict = audit::examine(pool, client, &witness, &tally, &[]).await;
    report.fact("faults", "fast, immediate, SIGKILL");
    let repeated = verdict.repeated.clone();
    verdict.report(report);
    verdict.assert_holds();
    assert!(
        sources == client.sources(RETRIES).await,
        "a source has changed"
    );
    println!("{:?}; {repeated:?}", tally.statuses);
    assert!(tally.statuses.contains_key(&503), "it was away");
    assert!(
        !tally.statuses.contains_key(&0),
        "every request is answered"
    );
    assert_eq!(repeated.calls, 0);
    crew.end().await;
}
