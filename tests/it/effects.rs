//! Effects: what is sent, under which key, and what is never sent twice.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    an_in_doubt_call_repeats_its_stored_input,
    a_cancelled_run_lets_the_call_in_flight_end,
    past_the_grace_a_call_is_in_doubt,
    the_gateway_gets_types_that_are_nobodys,
    a_type_without_handler_fails_its_node,
    a_stop_finishes_the_call_at_hand_and_another_process_goes_on,
];

fn chain(target: &Target) -> Value {
    let call = |path: &str, children: &[&str]| {
        json!({
            "type": "http-request",
            "payload": { "url": target.url(path), "method": "POST", "body": { "x": "{{root.x}}" } },
            "children": children
        })
    };
    json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["one"] },
        "one": call("/one", &["two"]),
        "two": call("/two", &[])
    }})
}

async fn an_in_doubt_call_repeats_its_stored_input(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let input = json!({ "url": target.url("/one"), "method": "POST", "body": { "x": "as sent" } });
    let run = json!({
        "id": "run_killed", "status": "cancelled", "workflowDefinition": chain(&target),
        "triggerNodeId": "root",
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "x": "resolved anew" } },
            "one": { "type": "http-request", "status": "running", "input": input, "startedAt": "2026-01-01T00:00:00Z" }
        }
    });
    app.post("/v1/runs/import", &run).await;
    let retried = app.ended(&app.retry("run_killed").await).await;
    assert_eq!(retried["status"], "success", "{retried}");
    assert_eq!(target.calls_of("/one")[0].body, r#"{"x":"as sent"}"#);
    assert_eq!(
        target.calls_of("/one")[0].key.as_deref(),
        Some("run_killed/one/1")
    );
    assert_eq!(target.calls_of("/two")[0].body, r#"{"x":"resolved anew"}"#);
    app.stop().await;
}

async fn a_cancelled_run_lets_the_call_in_flight_end(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let gate = target.hold("/one");
    let id = app.start_run(&chain(&target), &json!({ "x": 1 })).await;
    target.until_called("/one", 1).await;
    let asked = app.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await;
    assert_eq!(asked["status"], "running");
    assert!(asked["cancelRequestedAt"].is_string());
    let (status, answer) = app
        .call("POST", &format!("/v1/runs/{id}/retry"), None)
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (409, &json!("run_still_active"))
    );
    gate.notify_one();
    let run = app.ended(&id).await;
    assert_eq!(run["status"], "cancelled");
    assert_eq!(run["executionState"]["one"]["status"], "success");
    assert_eq!(run["executionState"]["two"]["status"], "pending");
    // What was recorded is not repeated.
    let retried = app.ended(&app.retry(&id).await).await;
    assert_eq!(retried["status"], "success", "{retried}");
    assert_eq!(
        (target.calls_of("/one").len(), target.calls_of("/two").len()),
        (1, 1)
    );
    app.stop().await;
}

async fn past_the_grace_a_call_is_in_doubt(ledger: Ledger) {
    let target = Target::start().await;
    let app = TestApp::start_with(ledger, |config| config.worker.cancel_grace_ms = 1).await;
    let gate = target.hold("/one");
    let id = app.start_run(&chain(&target), &json!({ "x": 1 })).await;
    target.until_called("/one", 1).await;
    app.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await;
    let run = app.ended(&id).await;
    assert_eq!(run["status"], "cancelled");
    assert_eq!(run["executionState"]["one"]["status"], "cancelled");
    assert_eq!(run["executionState"]["one"]["error"]["class"], "in_doubt");
    let retry = app.retry(&id).await;
    target.until_called("/one", 2).await;
    gate.notify_one();
    assert_eq!(app.ended(&retry).await["status"], "success");
    let calls = target.calls_of("/one");
    assert_eq!(calls[0], calls[1], "the same key and the same input");
    app.stop().await;
}

async fn the_gateway_gets_types_that_are_nobodys(ledger: Ledger) {
    let target = Target::start().await;
    let url = redrive::config::Secret::new(target.url("/gateway"));
    let app = TestApp::start_with(ledger, |config| {
        config.connectors.insert("slack-*".into(), url);
    })
    .await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["post"] },
        "post": {
            "type": "slack-post", "payload": { "text": "{{root.x}}" },
            "connector": { "type": "slack", "id": "conn_1" }
        }
    }});
    let id = app.start_run(&definition, &json!({ "x": "hi" })).await;
    app.ended(&id).await;
    let call = &target.calls_of("/gateway")[0];
    let body: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["type"], "slack-post");
    assert_eq!(body["payload"], json!({ "text": "hi" }));
    assert_eq!(body["connector"]["id"], "conn_1");
    assert_eq!(body["runId"], id.as_str());
    assert_eq!(body["effectKey"], call.key.as_deref().unwrap());
    app.stop().await;
}

async fn a_type_without_handler_fails_its_node(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["post"] },
        "post": { "type": "slack-post", "payload": {} }
    }});
    let run = app
        .ended(&app.start_run(&definition, &json!({})).await)
        .await;
    assert_eq!(run["status"], "failure");
    let error = &run["executionState"]["post"]["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("definition"), &json!("unknown_type"))
    );
    app.stop().await;
}

async fn a_stop_finishes_the_call_at_hand_and_another_process_goes_on(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let gate = target.hold("/one");
    let id = app.start_run(&chain(&target), &json!({ "x": 1 })).await;
    target.until_called("/one", 1).await;
    let stopping = tokio::spawn(app.stop());
    gate.notify_one();
    let ledger = stopping.await.unwrap();
    let app = TestApp::start(ledger).await;
    assert_eq!(app.ended(&id).await["status"], "success");
    assert_eq!(
        (target.calls_of("/one").len(), target.calls_of("/two").len()),
        (1, 1)
    );
    app.stop().await;
}
