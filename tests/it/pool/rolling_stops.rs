//! Workers are told to stop one after the other, as in a rolling upgrade, under load.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::{
    PATIENCE,
    audit::{self, Invariant},
    keyed::Keyed,
    members::{Crew, Member, Pool},
};
use crate::support::{
    dice::{Dice, scale},
    report::Report,
    witness::Witness,
};

/// No call takes longer.
const CALL: Duration = Duration::from_millis(300);

/// Who takes longer drops what it has at hand.
const DRAIN: Duration = Duration::from_secs(25);

/// Stops one and starts another beside it; how long the stop took.
async fn replace(pool: &Pool, worker: Member) -> (Member, Duration) {
    let told = Instant::now();
    let stopping = async {
        let name = worker.name.clone();
        let status = worker.told_to_stop().await;
        assert_eq!(status.code(), Some(0), "{name}");
        let took = told.elapsed();
        // Whatever it held is given back, and costs nothing.
        let held = format!(
            "select count(*) from runs where lost_leases > 0 or lease_owner like '{name}/%'"
        );
        assert_eq!(pool.ledger.count(&held).await, 0, "{name}");
        took
    };
    let (took, new) = tokio::join!(stopping, pool.start("worker"));
    (new, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pool_promise_1_3_workers_are_stopped_one_after_the_other() {
    let stops = usize::try_from(scale("REDRIVE_POOL_STOPS", 5)).unwrap();
    let pause = Duration::from_millis(scale("REDRIVE_POOL_STOP_EVERY_MS", 1_500));
    let seed = scale("REDRIVE_POOL_SEED", u64::from(std::process::id()));
    let retries = 40 * stops;
    let size = format!("{retries} retries, {stops} stops");
    let mut report = Report::new("workers told to stop", seed, size);
    let mut dice = Dice(seed);
    let witness = Witness::start(dice.fork(), CALL).await;
    let mut crew = Crew::start(Pool::new(&[]).await, 3).await;
    crew.client.import(0..retries, &witness).await;
    let address = crew.api.process.url.replace("http://", "");
    let users = Keyed::new(&crew.pool, &[address]).await;
    let (released, gate) = watch::channel(0);
    let submitting = tokio::spawn(users.clone().submit(16, gate, dice.fork()));

    let mut longest = Duration::ZERO;
    for stop in 0..stops {
        released.send_replace(retries * (stop + 1) / stops);
        tokio::time::sleep(pause).await;
        let leaving = crew.workers.remove(dice.below(3));
        let (new, took) = replace(&crew.pool, leaving).await;
        crew.workers.push(new);
        longest = longest.max(took);
    }
    drop(released);
    submitting.await.unwrap();
    report.settled(audit::until_all_ended(&crew.pool, PATIENCE).await);
    let tally = users.journal.tally();
    let mut verdict = audit::examine(&crew.pool, &crew.client, &witness, &tally, &[]).await;
    let repeated = verdict.repeated.calls;
    verdict.require(repeated == 0, Invariant::RepeatedCall, || {
        format!("{repeated} calls dropped")
    });
    verdict.require(longest < DRAIN, Invariant::Growth, || {
        format!("a stop took {longest:?}")
    });
    report.fact(
        "faults",
        format!("{stops} SIGTERM, the slowest took {longest:?}"),
    );
    verdict.report(report);
    verdict.assert_holds();
    crew.end().await;
}
