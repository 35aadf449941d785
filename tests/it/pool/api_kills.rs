//! The API is killed while clients with keys want an answer from it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    PATIENCE,
    audit::{self, Invariant},
    keyed::Keyed,
    load::Client,
    members::{Pool, stop_all},
};
use crate::support::{
    dice::{Dice, scale},
    process::free_address,
    report::Report,
    witness::Witness,
};

/// How many clients ask at once.
const CLIENTS: usize = 32;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_the_api_is_killed_while_it_accepts() {
    let retries = usize::try_from(scale("REDRIVE_POOL_ACCEPTS", 250)).unwrap();
    let kills = usize::try_from(scale("REDRIVE_POOL_API_KILLS", 10)).unwrap();
    let seed = scale("REDRIVE_POOL_SEED", u64::from(std::process::id()));
    let size = format!("{retries} retries, {kills} kills");
    let mut report = Report::new("API killed while it accepts", seed, size);
    let mut dice = Dice(seed);
    let witness = Witness::steady(Duration::ZERO).await;
    let pool = Pool::new(&[]).await;
    let address = free_address();
    let mut api = pool.start_at(&address, "api", &[]).await;
    let others = [pool.start("relay").await, pool.start("worker").await];
    let client = Client::new(&pool, &api).await;
    client.import(0..retries, &witness).await;
    let sources = client.sources(retries).await;

    let users = Keyed::new(&pool, std::slice::from_ref(&address)).await;
    let (released, gate) = watch::channel(0);
    let submitting = tokio::spawn(users.clone().submit(CLIENTS, gate, dice.fork()));
    for kill in 0..kills {
        released.send_replace(retries * (kill + 1) / kills);
        tokio::time::sleep(dice.up_to(Duration::from_millis(120))).await;
        api.kill().await;
        api = pool.start_at(&address, "api", &[]).await;
    }
    let last_kill = Instant::now();
    drop(released);
    submitting.await.unwrap();
    audit::until_all_ended(&pool, PATIENCE).await;
    report.settled(last_kill.elapsed());

    let tally = users.journal.tally();
    let mut verdict = audit::examine(&pool, &client, &witness, &tally, &[]).await;
    let keys = "select count(*) from idempotency_keys";
    let keys = usize::try_from(pool.ledger.count(keys).await).unwrap();
    let told = tally.runs.len();
    verdict.require((keys, told) == (retries, retries), Invariant::Lost, || {
        format!("{keys} keys, {told} answers")
    });
    let is_same = sources == client.sources(retries).await;
    verdict.require(is_same, Invariant::Transition, || "a source".to_owned());
    let repeated: usize = users.journal.accepted().iter().map(|a| a.asked - 1).sum();
    report.fact(
        "faults",
        format!("{kills} SIGKILL; {repeated} requests repeated"),
    );
    verdict.report(report);
    verdict.assert_holds();
    assert!(repeated > 0, "nobody was left without an answer");
    pool.assert_sound();
    stop_all(others.into_iter().chain([api])).await;
    pool.remove().await;
}
