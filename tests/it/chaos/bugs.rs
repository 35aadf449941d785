//! Bugs planted in the one process: the auditor has to find what they break. Each row is one that
//! holds without its bug.

use std::time::Duration;

use super::{killer::Lives, points::Row};
use crate::support::{
    day::{RETRIES, Runs},
    faults::{Death, assert_caught, outcome},
    ledger::execute_at,
    story::source,
};

/// How long the runs of a row may take to end that never will.
const SHORT: Duration = Duration::from_secs(5);

/// A row without a death: the audit after `work` on so many sources, in a process with a bug or
/// without one.
async fn row(
    bug: Option<&str>,
    sources: usize,
    work: impl AsyncFnOnce(&Row) -> Runs,
) -> Result<(), String> {
    outcome(async {
        let mut row = Row::new().await;
        if bug.is_some() {
            row.day.patience = SHORT;
        }
        let bug = bug.map(|bug| ("REDRIVE_BUG", bug.to_owned()));
        let variables: Vec<_> = bug.into_iter().collect();
        let process = row.installation.start_with(&variables).await;
        row.day.prepare(sources, &row.witness).await;
        let runs = work(&row).await;
        row.audit(&runs, &Lives::of_one(process.spawned)).await;
        process.stop().await;
    })
    .await
}

/// A run waits, a newer one comes by, and the first goes on.
async fn an_old_run_goes_on(row: &Row) -> Runs {
    let waiting = row.day.retry(1).await;
    row.day.paused(&waiting).await;
    let newer = row.day.retry(0).await;
    row.day.ended(&newer).await;
    row.day.resume(&waiting).await;
    row.day.ended(&waiting).await;
    Runs::from([(source(0), newer), (source(1), waiting)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_that_reads_above_a_watermark_is_caught() {
    let (holds, found) = tokio::join!(
        row(None, 2, an_old_run_goes_on),
        row(Some("watermark"), 2, an_old_run_goes_on)
    );
    holds.unwrap();
    assert_caught(found, &["\"waitingFor\": String(\"queue\")"]);
}

/// Somebody clicks twice.
async fn two_clicks(row: &Row) -> Runs {
    // Whatever the schema would stop.
    let drop_index = "drop index retries_one_live";
    execute_at(&row.day.database, drop_index).await.unwrap();
    let run = row.day.retry(0).await;
    let path = format!("/v1/runs/{}/retry", source(0));
    row.day.ask("POST", &path, None, "the second").await;
    row.day.ended(&run).await;
    Runs::from([(source(0), run)])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retries_that_nothing_makes_unique_are_caught() {
    let (holds, found) = tokio::join!(
        row(None, 1, two_clicks),
        row(Some("no_unique_index"), 1, two_clicks)
    );
    holds.unwrap();
    assert_caught(found, &["left: 2"]);
}

/// All at once, so that transactions meet.
async fn many_clicks(row: &Row) -> Runs {
    let clicks = (0..RETRIES).map(async |number| {
        let run = row.day.retry(number).await;
        if number % 3 == 1 {
            row.day.see_through_the_detour(&run).await;
        }
        row.day.ended(&run).await;
        (source(number), run)
    });
    let runs = futures_util::future::join_all(clicks).await;
    runs.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transactions_that_begin_deferred_are_caught() {
    let (holds, found) = tokio::join!(
        row(None, RETRIES, many_clicks),
        row(Some("deferred_begin"), RETRIES, many_clicks)
    );
    holds.unwrap();
    assert_caught(found, &["/v1/runs/", "warnings"]);
}

async fn with_a_death(point: &str, pass: u32, bug: &str) -> Result<(), String> {
    outcome(async {
        let mut row = Row::new().await;
        row.day.patience = SHORT;
        row.live_through(Death::at(point, pass), Some(bug)).await;
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn runs_that_nobody_sweeps_up_are_caught() {
    let found = with_a_death("worker.claimed", 1, "no_sweeper").await;
    assert_caught(found, &["GET /v1/runs/"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_after_the_effect_of_the_next_node_is_caught() {
    let found = with_a_death("node.called", 3, "late_checkpoint").await;
    assert_caught(
        found,
        &["one key, two effects", "other keys than one", "calls of"],
    );
}
