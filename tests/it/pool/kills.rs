//! Workers are killed while they have their hands full.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    PATIENCE,
    audit::{self, Invariant},
    load::{Client, Tally},
    members::{Departed, Member, Pool, stop_all},
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
    witness::Witness,
};

/// How much, how fast, and how long a dead worker's runs stay its own.
struct Scale {
    retries: usize,
    kills: usize,
    /// The shortest time between a start and the next kill, and what chance may add to it.
    pause: (Duration, Duration),
    lease: &'static str,
    /// How long the rest may take after the last kill.
    patience: Duration,
}

const CI: Scale = Scale {
    retries: 300,
    kills: 20,
    pause: (Duration::from_millis(50), Duration::from_millis(450)),
    lease: "4500",
    patience: PATIENCE,
};

const FULL: Scale = Scale {
    retries: 10_000,
    kills: 200,
    pause: (Duration::from_millis(500), Duration::from_millis(2_500)),
    lease: "60000",
    patience: Duration::from_mins(3),
};

/// Kills one worker after the other, and starts another for each, while retries are released.
async fn kill_on(
    pool: &Pool,
    scale: &Scale,
    mut workers: Vec<Member>,
    mut dice: Dice,
    released: watch::Sender<usize>,
    load: tokio::task::JoinHandle<Tally>,
) -> (Vec<Member>, Vec<Departed>, Tally) {
    let mut departed = Vec::new();
    let mut ready = Vec::new();
    let (least, more) = scale.pause;
    for kill in 0..scale.kills {
        released.send_replace(scale.retries * (kill + 1) / scale.kills);
        tokio::time::sleep(least + dice.up_to(more)).await;
        let victim = dice.below(workers.len());
        departed.push(workers.swap_remove(victim).kill().await);
        let replaced = pool.start("worker").await;
        ready.extend(replaced.process.ready_after);
        workers.push(replaced);
    }
    println!("replaced within {:?}", ready.iter().max());
    (workers, departed, load.await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_2_3_4_5_workers_are_killed() {
    let scale_of_test = if scale("REDRIVE_POOL_FULL", 0) > 0 {
        FULL
    } else {
        CI
    };
    let retries = scale_of_test.retries;
    let seed = scale("REDRIVE_POOL_SEED", u64::from(std::process::id()));
    let size = format!("{retries} retries, {} kills", scale_of_test.kills);
    let mut report = Report::new("workers killed", seed, size);
    let mut dice = Dice(seed);
    let witness = Witness::start(dice.fork(), Duration::from_millis(150)).await;
    let pool = Pool::new(&[("REDRIVE_WORKER__LEASE_MS", scale_of_test.lease)]).await;
    let api = pool.start("api").await;
    let relay = pool.start("relay").await;
    let workers = pool.start_many("worker", 3).await;
    let client = Client::new(&pool, &api).await;
    client.import(0..retries, &witness).await;
    let sources = client.sources(retries).await;

    let (released, gate) = watch::channel(0);
    let submitting = client.clone();
    let load = tokio::spawn(async move { submitting.load(0..retries, 16, Some(gate)).await });
    let began = Instant::now();
    let (workers, departed, tally) =
        kill_on(&pool, &scale_of_test, workers, dice, released, load).await;
    let killing = began.elapsed();
    let last_kill = departed.last().expect("a kill").at;
    audit::until_all_ended(&pool, scale_of_test.patience).await;
    report.settled(last_kill.elapsed());

    let mut verdict = audit::examine(&pool, &client, &witness, &tally, &departed).await;
    let is_same = sources == client.sources(retries).await;
    verdict.require(is_same, Invariant::Transition, || {
        "a source has changed".to_owned()
    });
    tally.assert_accepted();
    println!(
        "killed for {killing:?}; {:?}; answered within {:?} (p99)",
        verdict.repeated,
        tally.p99(),
    );
    report.fact("faults", format!("{} SIGKILL", departed.len()));
    verdict.report(report);
    verdict.assert_holds();
    pool.assert_sound();
    stop_all(workers.into_iter().chain([api, relay])).await;
    pool.remove().await;
}
