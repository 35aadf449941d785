//! Limits of what is asked for.

use serde_json::{Value, json};

use super::{count, limited, log, names, with_node};
use crate::support::{
    app::TestApp,
    elsewhere::{failed, imported},
    ledger::Ledger,
    raw::{Answer, Request},
};

/// Sends a body that is filled up with spaces to so many bytes.
async fn send(app: &TestApp, path: &str, body: &Value, length: usize) -> Answer {
    let mut text = body.to_string();
    assert!(text.len() <= length, "{} bytes", text.len());
    text.extend(std::iter::repeat_n(' ', length - text.len()));
    Request::json("POST", path, text).send_authorized(app).await
}

fn is_too_large(answer: &Answer, limit: usize, key: &str) {
    answer.assert_refusal(key);
    assert_eq!(answer.status, 413);
    assert_eq!(answer.body["error"]["reason"], "payload_too_large");
    names(&answer.body["message"], limit, key);
}

/// A run that failed elsewhere and fails again when it is retried.
async fn fails_again(app: &TestApp) -> String {
    let nodes = json!({ "root": { "children": ["n"] }, "n": log("{{root.result.nothing}}") });
    imported(app, nodes, json!({ "n": failed() }), json!({})).await
}

pub(super) async fn body_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.body_bytes = 100).await;
    let source = fails_again(&app).await;
    let path = format!("/v1/runs/{source}/retry");
    let body = json!({ "reason": "x" });
    is_too_large(&send(&app, &path, &body, 101).await, 100, "body_bytes");
    assert_eq!(app.get("/v1/retries").await["items"], json!([]));
    send(&app, &path, &body, 100).await.assert_success("100");
    app.stop().await;
}

pub(super) async fn import_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| {
        (limits.import_bytes, limits.body_bytes) = (500, 1);
    })
    .await;
    let start = json!({ "definition": with_node(&log("x")), "payload": {} });
    let import = json!({
        "id": "run_imported", "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": with_node(&log("x")),
        "executionState": { "root": { "type": "manual", "status": "success", "result": {} } }
    });
    for (path, body) in [("/v1/runs", start), ("/v1/runs/import", import)] {
        let before = count(&app).await;
        let refused = send(&app, path, &body, 501).await;
        is_too_large(&refused, 500, "import_bytes");
        assert_eq!(count(&app).await, before, "{path}");
        send(&app, path, &body, 500).await.assert_success(path);
    }
    app.stop().await;
}

pub(super) async fn chain_length(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.chain_length = 3).await;
    let mut newest = fails_again(&app).await;
    for _ in 1..3 {
        newest = app.retry(&newest).await;
        assert_eq!(app.ended(&newest).await["status"], "failure");
    }
    let path = format!("/v1/runs/{newest}/retry");
    let answer = send(&app, &path, &json!({}), 2).await;
    answer.assert_refusal("a fourth");
    assert_eq!(
        (answer.status, &answer.body["code"]),
        (409, &json!(409_002))
    );
    assert_eq!(answer.body["error"]["reason"], "run_not_retryable");
    names(&answer.body["message"], 3, "chain_length");
    assert_eq!(count(&app).await, 3);
    app.stop().await;
}

pub(super) async fn live_runs(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.live_runs = 2).await;
    let long = json!({ "type": "delay", "payload": { "delayMs": 3_600_000 } });
    let nodes = json!({ "root": { "children": ["n"] }, "n": long });
    let mut sources = Vec::new();
    for _ in 0..3 {
        let state = json!({ "n": { "type": "delay", "status": "failure" } });
        sources.push(imported(&app, nodes.clone(), state, json!({})).await);
    }
    let live = app.retry(&sources[0]).await;
    app.retry(&sources[1]).await;
    let retry = format!("/v1/runs/{}/retry", sources[2]);
    let start = json!({ "definition": with_node(&log("x")), "payload": {} });
    for (path, body) in [(retry.as_str(), json!({})), ("/v1/runs", start)] {
        let answer = send(&app, path, &body, body.to_string().len()).await;
        answer.assert_refusal(path);
        assert_eq!(
            (answer.status, &answer.body["code"]),
            (429, &json!(429_000))
        );
        assert_eq!(answer.body["error"]["reason"], "rate_limited");
        assert_eq!(answer.headers["retry-after"], "1");
        names(&answer.body["message"], 2, "live_runs");
    }
    assert_eq!(count(&app).await, 5);
    // Another organisation has a limit of its own, and one that ended makes room.
    let other = app.token_of("org_other", "read retry write").await;
    let body = json!({ "definition": with_node(&log("x")), "payload": {} }).to_string();
    let (status, answer) = app.call_as(&other, "POST", "/v1/runs", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    app.post(&format!("/v1/runs/{live}/cancel"), &json!({}))
        .await;
    app.ended(&live).await;
    app.retry(&sources[2]).await;
    app.stop().await;
}
