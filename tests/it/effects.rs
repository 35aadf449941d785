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
    a_whole_record_reads_the_same_when_it_is_reused,
    a_call_in_doubt_that_is_unsafe_needs_somebodys_word,
    a_run_that_cost_five_workers_is_refused_or_ended,
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

async fn a_whole_record_reads_the_same_when_it_is_reused(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = chain(&target);
    definition["nodes"]["two"]["payload"]["body"] =
        json!({ "root": "{{root}}", "one": "{{one}}", "text": "got {{$nodes.one}}" });
    target.answer_with("/two", [503]);
    let source = app.start_run(&definition, &json!({ "x": 1 })).await;
    app.ended(&source).await;
    assert_eq!(
        app.ended(&app.retry(&source).await).await["status"],
        "success"
    );
    let calls = target.calls_of("/two");
    assert_eq!(calls.len(), 2);
    assert_eq!(calls[0], calls[1], "the same key and the same input");
    app.stop().await;
}

async fn a_call_in_doubt_that_is_unsafe_needs_somebodys_word(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = chain(&target);
    definition["nodes"]["one"]["sideEffects"] = json!("unsafe");
    let run = json!({
        "id": "run_killed", "status": "cancelled", "workflowDefinition": definition,
        "triggerNodeId": "root",
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "x": 1 } },
            "one": { "type": "http-request", "status": "running" }
        }
    });
    app.post("/v1/runs/import", &run).await;
    let (status, answer) = app.call("POST", "/v1/runs/run_killed/retry", None).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (409, &json!("confirmation_required"))
    );
    assert_eq!(answer["error"]["paths"], json!(["one"]));
    assert_eq!(target.calls(), []);
    app.stop().await;
}

/// Every claim of the test is lost at once, as if its worker had died.
async fn a_run_that_cost_five_workers_is_refused_or_ended(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/one", [503]);
    let source = app.start_run(&chain(&target), &json!({ "x": 1 })).await;
    app.ended(&source).await;
    let ledger = app.stop().await;

    let app = TestApp::start_with(ledger, |config| config.worker.slots = 1).await;
    // The only slot is taken, so nobody claims the retry but the test.
    let gate = target.hold("/busy");
    let mut busy = chain(&target);
    busy["nodes"]["one"]["payload"]["url"] = json!(target.url("/busy"));
    let busy = app.start_run(&busy, &json!({ "x": 1 })).await;
    target.until_called("/busy", 1).await;
    let retry = app.retry(&source).await;
    let id = retry.parse().unwrap();
    for _ in 0..6 {
        let ttl = std::time::Duration::ZERO;
        let claimed = app.ledger.store.claim(&id, "lost", ttl).await.unwrap();
        assert!(
            matches!(claimed, redrive::store::Claimed::Claimed(_)),
            "{claimed:?}"
        );
    }
    app.ledger.store.rescue().await.unwrap();
    gate.notify_one();
    assert_eq!(app.ended(&busy).await["status"], "success");
    let run = app.ended(&retry).await;
    assert_eq!(run["status"], "failure");
    assert!(
        run["summary"]
            .as_str()
            .unwrap()
            .contains("workers were lost")
    );
    let retries = app.get(&format!("/v1/retries?sourceRunId={source}")).await;
    assert_eq!(retries["items"][0]["state"], "refused");
    // It does not count: the source can be retried again.
    let again = app.retry(&source).await;
    assert_eq!(app.ended(&again).await["status"], "success");
    app.stop().await;
}
