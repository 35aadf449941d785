//! RabbitMQ comes late, loses its queues, goes away, and takes nothing for a while.

use std::time::{Duration, Instant};

use super::{
    PATIENCE, audit, broker,
    load::{Client, Tally},
    members::{Crew, Pool},
};
use crate::support::{
    dice::{Dice, scale},
    ledger::Ledger,
    report::Report,
    server::Server,
    witness::Witness,
};

/// How many retries in each act.
const ACT: usize = 60;

/// An act: retries over some seconds; every one of them is accepted.
async fn during(
    client: &Client,
    act: usize,
    seconds: u64,
    what: impl Future<Output = ()>,
) -> Tally {
    let numbers = act * ACT..(act + 1) * ACT;
    let load = client.steadily(numbers, Duration::from_secs(seconds));
    what.await;
    let tally = load.await.unwrap();
    tally.assert_accepted();
    println!("act {act}: answered within {:?} (p99)", tally.p99());
    // Servers start meanwhile, on cores that all share: nobody waits for one of them is what counts.
    assert!(tally.p99() < Duration::from_secs(8), "{:?}", tally.p99());
    tally
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_rabbitmq_goes_and_comes() {
    let outage = Duration::from_secs(scale("REDRIVE_POOL_OUTAGE", 8));
    let mut report = Report::new(
        "RabbitMQ goes and comes",
        1,
        format!("an outage of {outage:?}"),
    );
    let witness = Witness::start(Dice(1), Duration::from_millis(100)).await;
    let server = Server::rabbitmq().await;
    server.tell("stop-rabbitmq", &[]).await;
    let pool = Pool::on(Ledger::postgres().await, server.url.clone(), &[]).await;
    let crew = Crew::start(pool, 3).await;
    let (pool, client) = (&crew.pool, &crew.client);
    client.import(0..4 * ACT, &witness).await;

    // It was never there: workers with free slots take what is due from the ledger.
    let mut tally = during(client, 0, 2, async {}).await;
    let alone = audit::until_all_ended(pool, Duration::from_secs(15)).await;
    assert!(crew.relay.until_ready(503).await.contains("broker"));
    server.tell("start-rabbitmq", &[]).await;
    for member in crew.workers.iter().chain([&crew.relay, &crew.api]) {
        member.until_ready(200).await;
    }

    // Its queues are deleted: what was in them is sent again, after half a minute.
    let deleted = during(client, 1, 3, async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        broker::delete_queues(&pool.amqp, &pool.prefix).await;
    });
    tally.add(deleted.await);

    let stopped = during(client, 2, outage.as_secs(), async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.tell("stop-rabbitmq", &["immediate"]).await;
        tokio::time::sleep(outage).await;
        server.tell("start-rabbitmq", &[]).await;
    });
    tally.add(stopped.await);

    let limit = "set_vm_memory_high_watermark";
    server.tell("rabbitmqctl", &[limit, "0"]).await;
    tally.add(during(client, 3, 3, async {}).await);
    let began = Instant::now();
    let blocked = audit::until_all_ended(pool, Duration::from_secs(40)).await;
    server.tell("rabbitmqctl", &[limit, "0.4"]).await;
    for member in crew.workers.iter().chain([&crew.relay]) {
        member.until_ready(200).await;
    }
    println!("recovered {:?} after it was blocked", began.elapsed());

    let verdict = audit::examine(pool, client, &witness, &tally, &[]).await;
    report.settled(began.elapsed());
    report.fact("faults", "late, queues deleted, killed, blocked");
    let repeated = verdict.repeated.clone();
    verdict.report(report);
    verdict.assert_holds();
    println!(
        "{} retries; without a broker all ended {alone:?} after the last, with a blocked one \
         {blocked:?}; {repeated:?}",
        tally.runs.len()
    );
    assert_eq!((repeated.calls, repeated.claims), (0, 0));
    assert!(began.elapsed() < PATIENCE);
    crew.end().await;
}
