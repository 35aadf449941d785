//! A handler that takes its whole process down, again and again.

use std::{process::Stdio, sync::Arc, time::Duration};

use redrive::{
    app::App,
    broker::Hints,
    config::LimitsConfig,
    domain::{NodeStatus, RunId, RunStatus, SystemClock},
    intake::Intake,
    store::Store,
};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use super::{definition, poisoned};
use crate::support::{
    app::configured, installation::caller, ledger::Ledger, on_both_engines, rows,
};

on_both_engines![promise_1_a_run_that_takes_its_process_down_ends_after_five_of_them];

/// Where the process that is to die finds its ledger.
const LEDGER: &str = "REDRIVE_TEST_POISONED_LEDGER";

/// How many runs beside the poisoned ones.
const NEIGHBOURS: usize = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "it is the process that the tests of this file start"]
#[expect(clippy::disallowed_methods, reason = "the tests tell it its ledger")]
async fn a_process_that_is_to_die() {
    let url = std::env::var(LEDGER).expect("only the tests of this file start it");
    let config = configured(&url, |config| config.worker.slots = 4);
    let _running = poisoned(App::new(config), &Arc::default())
        .start()
        .await
        .unwrap();
    std::future::pending::<()>().await;
}

fn process(url: &str) -> Child {
    let itself = std::env::current_exe().unwrap();
    let (_, name) = concat!(module_path!(), "::a_process_that_is_to_die")
        .split_once("::")
        .unwrap();
    Command::new(itself)
        .args([name, "--exact", "--ignored", "--nocapture"])
        .env(LEDGER, url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn accept(intake: &Intake, definition: Value) -> RunId {
    let body = json!({ "definition": definition, "payload": {} });
    intake.start(&caller(), body).await.unwrap().id
}

async fn until_all_ended(store: &Store, runs: &[RunId]) {
    for run in runs {
        while !rows::run(store, run.as_str()).await.status.is_ended() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

async fn promise_1_a_run_that_takes_its_process_down_ends_after_five_of_them(ledger: Ledger) {
    let clock = Arc::new(SystemClock);
    let intake = Intake::new(
        ledger.store.clone(),
        clock,
        LimitsConfig::default(),
        Hints::default(),
    );
    let mut runs = Vec::new();
    for kind in ["aborts", "aborts-with-effects"] {
        runs.push(accept(&intake, definition(kind, &json!({}))).await);
    }
    for _ in 0..NEIGHBOURS {
        let log = json!({ "payload": { "message": "x" } });
        runs.push(accept(&intake, definition("log", &log)).await);
    }

    let mut deaths = 0;
    loop {
        let mut process = process(&ledger.url);
        tokio::select! {
            died = process.wait() => {
                assert!(died.unwrap().code().is_none(), "it ended by itself");
                deaths += 1;
                // Nobody holds what the dead held; only its time is not over yet.
                ledger.store.expire_leases().await.unwrap();
            }
            () = until_all_ended(&ledger.store, &runs) => break,
        }
        assert!(deaths <= 10, "five each and no more");
    }

    assert!(deaths >= 5, "{deaths}");
    println!("{deaths} processes died");
    // Only what has effects leaves a mark of its start; the other one's run says what happened.
    for (run, marked) in runs.iter().zip([false, true]) {
        let ended = rows::run(&ledger.store, run.as_str()).await;
        assert_eq!(ended.status, RunStatus::Failure);
        let summary = ended.summary.unwrap();
        assert!(summary.contains("five workers were lost"), "{summary}");
        let records = ledger.store.nodes(run, None).await.unwrap();
        let record = records.iter().find(|r| r.path.node().as_str() == "n");
        assert_eq!(record.is_some(), marked, "{record:?}");
        let Some(record) = record else { continue };
        assert_eq!(record.status, NodeStatus::Failure);
        let error = record.error.as_ref().unwrap().value().unwrap();
        assert_eq!(error["class"], "in_doubt", "{error}");
        assert_eq!(error["code"], "interrupted");
    }
    for run in &runs[2..] {
        let ended = rows::run(&ledger.store, run.as_str()).await;
        assert_eq!(ended.status, RunStatus::Success, "{ended:?}");
    }
    ledger.remove().await;
}
