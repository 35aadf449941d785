//! Workers are killed while they have their hands full.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    PATIENCE, audit,
    load::{Client, Tally},
    members::{Departed, Member, Pool, stop_all},
};
use crate::support::{
    dice::{Dice, scale},
    witness::Witness,
};

/// How much, how fast, and how long a dead worker's runs stay its own.
struct Scale {
    retries: usize,
    pause: Duration,
    lease: &'static str,
    /// How many are released with each kill; none to release all at once.
    burst: Option<usize>,
    /// How long the rest may take after the last kill.
    patience: Duration,
}

const CI: Scale = Scale {
    retries: 300,
    pause: Duration::from_millis(1_500),
    lease: "4500",
    burst: Some(50),
    patience: PATIENCE,
};

const FULL: Scale = Scale {
    retries: 2_000,
    pause: Duration::from_secs(2),
    lease: "60000",
    burst: None,
    patience: Duration::from_mins(3),
};

/// Kills one worker after the other, and starts another for each, as long as there is something
/// submitted.
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
    loop {
        let next = *released.borrow() + scale.burst.unwrap_or(scale.retries);
        released.send_replace(next.min(scale.retries));
        tokio::time::sleep(scale.pause).await;
        let victim = usize::try_from(dice.roll() % 3).unwrap();
        departed.push(workers.swap_remove(victim).kill().await);
        let replaced = pool.start("worker").await;
        ready.extend(replaced.process.ready_after);
        workers.push(replaced);
        if load.is_finished() {
            println!("replaced within {:?}", ready.iter().max());
            return (workers, departed, load.await.unwrap());
        }
    }
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
    println!("REDRIVE_POOL_SEED={seed}");
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
    let rest = audit::until_all_ended(&pool, scale_of_test.patience).await;

    let repeated = audit::hold(&pool, &client, &witness, &tally, &departed).await;
    assert!(
        sources == client.sources(retries).await,
        "a source has changed"
    );
    tally.assert_accepted();
    println!(
        "{retries} retries, {} kills in {killing:?}, all ended {rest:?} later; {repeated:?}; \
         answered within {:?} (p99)",
        departed.len(),
        tally.p99(),
    );
    pool.assert_sound();
    stop_all(workers.into_iter().chain([api, relay])).await;
    pool.remove().await;
}
