//! Retries that somebody else publishes, in another language, with everything that may come with
//! them.

mod messages;
mod schema;

use std::{collections::BTreeMap, process::Stdio};

use redrive::{
    domain::{Lane, OrganizationId, Retry, RetryState, RunStatus},
    store::{DeadLetter, RetryFilter, RunFilter},
};
use serde_json::{Value, json};
use tokio::{io::AsyncWriteExt, process::Command};

use self::messages::Message;
use crate::support::{
    app::TestApp,
    broker::{Place, until},
    ledger::Ledger,
};

/// Sources with a valid intent.
const VALID: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn promise_2_a_thousand_published_messages_make_one_retry_each_and_no_more() {
    let (place, app) = start(true).await;
    import_sources(&app).await;

    let first = messages::valid_and_repeated(VALID);
    let second = messages::everything_else(VALID);
    assert_eq!(first.len() + second.len(), 1_000);
    publish(&place, &first).await;
    until("the valid ones have ended", async || {
        ended(&app).await == VALID
    })
    .await;
    publish(&place, &second).await;
    let dead = messages::CHANGED + messages::GARBAGE + messages::FORGED;
    until("the dead letters are kept", async || {
        dead_letters(&app).await.len() == dead
    })
    .await;
    let nobody = "org_nobody".parse().unwrap();
    until("the refusals are recorded", async || {
        retries(&app, &acme()).await.len() == VALID + messages::REFUSED
            && retries(&app, &nobody).await.len() == messages::NOBODY
    })
    .await;

    audit_retries(&app).await;
    let all = retries(&app, &nobody).await;
    assert!(
        all.iter().all(|retry| reason(retry) == "run_not_found"),
        "{all:?}"
    );
    audit_dead_letters(&app).await;
    for lane in Lane::ALL {
        place.until_ready(&place.queue(lane), 0).await;
    }
    assert_eq!(place.ready(&place.dead_queue()).await, Some(0));
    app.stop().await.remove().await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn published_retries_are_not_accepted_unless_somebody_says_so() {
    let (place, app) = start(false).await;
    import_sources(&app).await;
    publish(&place, &messages::valid_and_repeated(1)[..1]).await;
    until("the dead letter is kept", async || {
        !dead_letters(&app).await.is_empty()
    })
    .await;
    assert_eq!(dead_letters(&app).await[0].reason, "intents_not_accepted");
    assert!(retries(&app, &acme()).await.is_empty());
    app.stop().await.remove().await;
    place.remove().await;
}

fn acme() -> OrganizationId {
    "org_test".parse().unwrap()
}

async fn start(accepts: bool) -> (Place, TestApp) {
    let place = Place::shared().await;
    let broker = place.config();
    let app = TestApp::start_with(Ledger::postgres().await, |config| {
        config.broker = broker;
        config.broker.accept_external_intents = accepts;
    })
    .await;
    place.until_consumed(&place.queue(Lane::Bulk), true).await;
    (place, app)
}

/// Failed runs, one that has succeeded, and one of somebody else.
async fn import_sources(app: &TestApp) {
    for number in 0..VALID + messages::TAKEN {
        let run = source(&format!("source_{number}"), "failure");
        app.post("/v1/runs/import", &run).await;
    }
    app.post("/v1/runs/import", &source("succeeded", "success"))
        .await;
    let token = app.token_of("org_other", "read retry write").await;
    let foreign = source("foreign", "failure").to_string();
    let (status, answer) = app
        .call_as(&token, "POST", "/v1/runs/import", Some(&foreign))
        .await;
    assert_eq!(status, 200, "{answer}");
}

fn source(id: &str, status: &str) -> Value {
    json!({
        "id": id, "status": status, "triggerNodeId": "root",
        "workflowDefinition": { "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["note"] },
            "note": { "type": "log", "payload": { "message": "{{root.n}}" } }
        } },
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "n": 7 } },
            "note": { "type": "log", "status": status, "result": {} }
        }
    })
}

/// Has pika publish; every message has found a queue when this returns.
async fn publish(place: &Place, messages: &[Message]) {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/intents/publish.py");
    let mut child = Command::new(python().await)
        .args([script, &place.url, &place.prefix])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let lines: String = messages.iter().map(Message::line).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(lines.as_bytes()).await.unwrap();
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success());
    let count = String::from_utf8(output.stdout).unwrap();
    assert_eq!(count.trim(), messages.len().to_string());
}

/// A Python that has pika.
async fn python() -> &'static str {
    for python in ["python3", "/usr/bin/python3"] {
        let asked = Command::new(python)
            .args(["-c", "import pika"])
            .stderr(Stdio::null())
            .status()
            .await;
        if asked.is_ok_and(|status| status.success()) {
            return python;
        }
    }
    panic!("no Python with pika: run `bash tests/run.sh`, or install python3-pika");
}

async fn ended(app: &TestApp) -> usize {
    let filter = RunFilter {
        status: Some(RunStatus::Success),
        limit: 10_000,
        offset: 0,
        root_run_id: None,
        workflow_id: None,
    };
    let runs = app.ledger.store.runs(&acme(), &filter).await.unwrap();
    runs.iter()
        .filter(|run| run.source_run_id.is_some())
        .count()
}

async fn retries(app: &TestApp, organization: &OrganizationId) -> Vec<Retry> {
    let filter = RetryFilter {
        limit: 10_000,
        ..RetryFilter::default()
    };
    let retries = app.ledger.store.retries(organization, &filter).await;
    retries.unwrap()
}

async fn dead_letters(app: &TestApp) -> Vec<DeadLetter> {
    app.ledger.store.dead_letters(10_000, 0).await.unwrap()
}

fn reason(retry: &Retry) -> &'static str {
    let refusal = retry.refusal.as_ref();
    refusal.map_or("none", |refusal| refusal.reason.as_str())
}

/// Each valid intent is one retry with one run; each refusal is recorded, without a run.
async fn audit_retries(app: &TestApp) {
    let filter = RunFilter {
        limit: 10_000,
        ..RunFilter::default()
    };
    let runs = app.ledger.store.runs(&acme(), &filter).await.unwrap();
    let new = runs.iter().filter(|run| run.source_run_id.is_some());
    assert_eq!(new.count(), VALID, "one new run each");
    let mut reasons = BTreeMap::new();
    let mut accepted = 0;
    for retry in retries(app, &acme()).await {
        if retry.state == RetryState::Refused {
            assert_eq!(retry.run_id, None, "{retry:?}");
            *reasons.entry(reason(&retry)).or_insert(0) += 1;
            continue;
        }
        accepted += 1;
        assert_eq!(retry.state, RetryState::Created, "{retry:?}");
        let number: usize = retry
            .id
            .as_str()
            .strip_prefix("valid_")
            .unwrap()
            .parse()
            .unwrap();
        assert_eq!(retry.source_run_id.as_str(), format!("source_{number}"));
        assert_eq!(retry.lane, Lane::ALL[number % 3]);
        assert_eq!(retry.triggered_by.as_deref(), Some("ann"));
        if number.is_multiple_of(2) {
            assert_eq!(retry.run_id.unwrap().as_str(), format!("new_{number}"));
        }
    }
    assert_eq!(accepted, VALID);
    let expected = [
        ("already_retried", messages::AGAIN),
        ("run_exists", messages::TAKEN),
        ("run_not_found", messages::UNKNOWN + messages::FOREIGN),
        ("run_not_retryable", messages::SUCCEEDED),
    ];
    assert_eq!(reasons, BTreeMap::from(expected));
    // As their organization sees it.
    let shown = app.get("/v1/retries/unknown_0").await;
    assert_eq!(shown["state"], "refused");
    assert_eq!(shown["runId"], Value::Null);
    assert_eq!(shown["refusal"]["reason"], "run_not_found");
}

async fn audit_dead_letters(app: &TestApp) {
    let mut reasons = BTreeMap::new();
    for letter in dead_letters(app).await {
        *reasons.entry(letter.reason).or_insert(0) += 1;
    }
    let expected = [
        ("invalid_message".to_owned(), messages::GARBAGE),
        ("retry_id_reused".to_owned(), messages::CHANGED),
        ("run_not_found".to_owned(), messages::FORGED),
    ];
    assert_eq!(reasons, BTreeMap::from(expected));
}
