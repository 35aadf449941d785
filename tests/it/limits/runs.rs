//! Limits that a node meets while it runs.

use serde_json::{Value, json};

use super::{fails, limited, log, names, succeeds, with_node};
use crate::support::{app::TestApp, elsewhere::each, ledger::Ledger};

pub(super) async fn loop_iterations(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.loop_iterations = 3).await;
    let mut definition = with_node(&each(&json!("{{root.items}}"), &["body"], &[]));
    definition["nodes"]["body"] = log("x");
    succeeds(&app, &definition, &json!({ "items": [1, 2, 3] })).await;
    let given = json!({ "items": [1, 2, 3, 4] });
    let message = fails(&app, &definition, &given, "too_many_iterations").await;
    names(&message, 3, "loop_iterations");
    app.stop().await;
}

fn text(bytes: usize) -> Value {
    json!({ "x": "x".repeat(bytes) })
}

pub(super) async fn field_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.field_bytes = 50).await;
    // A value alone counts as JSON, in a text as it stands there.
    for (message, around) in [("{{root.x}}", 2), ("a {{root.x}}", 2)] {
        let definition = with_node(&log(message));
        succeeds(&app, &definition, &text(50 - around)).await;
        let over = text(51 - around);
        let message = fails(&app, &definition, &over, "expression_limit").await;
        names(&message, 50, "field_bytes");
    }
    app.stop().await;
}

pub(super) async fn node_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.node_bytes = 60).await;
    let definition = with_node(&log("{{root.x}}"));
    let rest = 60 - "message".len() - r#""""#.len();
    succeeds(&app, &definition, &text(rest)).await;
    let message = fails(&app, &definition, &text(rest + 1), "expression_limit").await;
    names(&message, 60, "node_bytes");
    app.stop().await;
}

/// A node whose result has so many bytes.
fn long_result(bytes: usize) -> Value {
    let template = "x".repeat(bytes - r#"{"formatted":""}"#.len());
    with_node(&json!({ "type": "format", "payload": { "template": template } }))
}

pub(super) async fn result_bytes(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.result_bytes = 100).await;
    let ended = succeeds(&app, &long_result(100), &json!({})).await;
    let result = &ended["executionState"]["n"]["result"];
    assert_eq!(result.to_string().len(), 100);
    let over = long_result(101);
    let message = fails(&app, &over, &json!({}), "result_too_large").await;
    names(&message, 100, "result_bytes");
    // A trigger's result is the payload that it is fired with.
    let start = |bytes: usize| {
        let payload = text(bytes - r#"{"x":""}"#.len());
        json!({ "definition": with_node(&log("x")), "payload": payload })
    };
    app.post("/v1/runs", &start(100)).await;
    let body = start(101).to_string();
    let (status, answer) = app.call("POST", "/v1/runs", Some(&body)).await;
    assert_eq!(status, 400, "{answer}");
    names(&answer["message"], 100, "result_bytes");
    app.stop().await;
}

/// All inputs and results of a run.
fn state_of(run: &Value) -> usize {
    let records = run["executionState"].as_object().unwrap().values();
    let parts = records.flat_map(|record| [record.get("input"), record.get("result")]);
    parts.flatten().map(|part| part.to_string().len()).sum()
}

pub(super) async fn state_bytes(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = long_result(1_000);
    let limit = state_of(&succeeds(&app, &definition, &json!({})).await);
    let app = limited(app.stop().await, |limits| limits.state_bytes = limit).await;
    let ended = succeeds(&app, &definition, &json!({})).await;
    assert_eq!(state_of(&ended), limit);
    let over = long_result(1_001);
    let message = fails(&app, &over, &json!({}), "state_too_large").await;
    names(&message, limit, "state_bytes");
    let ledger = app.stop().await;

    // One byte less is too little for the very same run.
    let app = limited(ledger, |limits| limits.state_bytes = limit - 1).await;
    fails(&app, &definition, &json!({}), "state_too_large").await;
    app.stop().await;
}

/// A workflow that starts itself.
pub(super) async fn child_depth(ledger: Ledger) {
    let app = limited(ledger, |limits| limits.child_depth = 2).await;
    let payload = json!({ "workflowId": "wf", "wait": false });
    let definition = with_node(&json!({ "type": "trigger-workflow", "payload": payload }));
    let body = json!({ "name": "wf", "definition": definition }).to_string();
    let (status, answer) = app.call("PUT", "/v1/workflows/wf", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");

    let started = app.post("/v1/workflows/wf/run", &json!({})).await;
    let mut run = started["runId"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let ended = app.ended(&run).await;
        assert_eq!(ended["status"], "success", "{ended:#}");
        let child = &ended["executionState"]["n"]["result"]["runId"];
        child.as_str().unwrap().clone_into(&mut run);
    }
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure", "{ended:#}");
    let error = &ended["executionState"]["n"]["error"];
    assert_eq!(error["code"], "too_deep");
    names(&error["message"], 2, "child_depth");
    assert_eq!(super::count(&app).await, 3);
    app.stop().await;
}
