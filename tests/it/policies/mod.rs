//! What a node does about its own failures: attempts, delays, time-outs.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    attempts_are_made_one_by_one_and_recorded,
    only_the_named_classes_are_tried_again,
    a_delay_over_a_second_frees_the_worker_and_goes_on_with_the_same_key,
    retry_after_is_waited_for,
    an_attempt_that_takes_too_long_is_in_doubt,
    a_run_that_is_cancelled_makes_no_other_attempt,
    an_attempt_that_has_ended_stays_as_it_ended,
    a_webhook_is_tried_again_by_itself,
    inputs_of_a_block_are_read_by_the_nodes_expanded_from_it,
];

fn node(target: &Target, policy: &Value) -> Value {
    let payload = json!({ "url": target.url("/x"), "method": "POST", "body": 1 });
    let mut node = json!({ "type": "http-request", "payload": payload });
    for (name, value) in policy.as_object().unwrap() {
        node[name] = value.clone();
    }
    json!({ "nodes": { "root": { "type": "manual", "children": ["x"] }, "x": node } })
}

async fn attempts_are_made_one_by_one_and_recorded(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [503, 500]);
    let policy = json!({ "retry": { "maxAttempts": 3, "backoff": "fixed", "initialDelayMs": 20 } });
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let x = &ended["executionState"]["x"];
    let attempts = x["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 3);
    assert_eq!(attempts[0]["error"]["code"], "http_503");
    assert_eq!(attempts[1]["error"]["code"], "http_500");
    assert!(
        attempts[2].get("error").is_none() && x.get("error").is_none(),
        "{x:#}"
    );
    assert_eq!(ended["totalCu"], 3);
    let keys: Vec<_> = target
        .calls()
        .into_iter()
        .map(|call| call.key.unwrap())
        .collect();
    assert_eq!(keys, vec![format!("{run}/x/1"); 3]);

    target.answer_with("/x", [503, 503, 503]);
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    assert_eq!(target.calls().len(), 6);
    let retried = app.ended(&app.retry(&run).await).await;
    assert_eq!(
        retried["executionState"]["x"]["attempts"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.stop().await;
}

async fn only_the_named_classes_are_tried_again(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let policy = json!({ "retry": { "maxAttempts": 5, "initialDelayMs": 1 } });
    target.answer_with("/x", [400]);
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    assert_eq!(target.calls().len(), 1);
    let policy = json!({ "retry": { "initialDelayMs": 1, "retryOn": ["permanent"] } });
    target.answer_with("/x", [400, 503]);
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    let keys: Vec<_> = target.calls()[1..]
        .iter()
        .map(|call| call.key.clone().unwrap())
        .collect();
    // A rejection is no effect: what comes after it is another one.
    assert_eq!(keys, [format!("{run}/x/1"), format!("{run}/x/2@{run}")]);
    app.stop().await;
}

async fn a_delay_over_a_second_frees_the_worker_and_goes_on_with_the_same_key(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [503]);
    let policy = json!({ "retry": { "maxAttempts": 2, "initialDelayMs": 1_500 } });
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    let held = app
        .run_when(&run, |run| run["waitingFor"] == "node_retry")
        .await;
    let x = &held["executionState"]["x"];
    assert_eq!(
        (&held["status"], &x["status"]),
        (&json!("waiting"), &json!("scheduled"))
    );
    assert_eq!(x["error"]["code"], "http_503", "{x:#}");
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(
        ended["executionState"]["x"]["attempts"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
    let calls = target.calls();
    assert_eq!(calls[0], calls[1]);
    app.stop().await;
}

async fn retry_after_is_waited_for(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [429]);
    target.retry_after("/x", 2);
    let policy = json!({ "retry": { "maxAttempts": 2, "initialDelayMs": 1 } });
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    let held = app
        .run_when(&run, |run| run["waitingFor"] == "node_retry")
        .await;
    assert_eq!(
        held["executionState"]["x"]["error"]["retryAfterMs"], 2_000,
        "{held:#}"
    );
    assert_eq!(app.ended(&run).await["status"], "success");
    app.stop().await;
}

async fn an_attempt_that_takes_too_long_is_in_doubt(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let answer = target.hold("/x");
    let policy = json!({ "timeoutMs": 100 });
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    let ended = app.ended(&run).await;
    let x = &ended["executionState"]["x"];
    assert_eq!(x["error"]["class"], "in_doubt", "{x:#}");
    assert_eq!(x["error"]["code"], "timed_out");
    answer.notify_one();
    app.stop().await;
}

async fn a_run_that_is_cancelled_makes_no_other_attempt(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [503]);
    let policy = json!({ "retry": { "initialDelayMs": 60_000 } });
    let run = app.start_run(&node(&target, &policy), &json!({})).await;
    app.run_when(&run, |run| run["waitingFor"] == "node_retry")
        .await;
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["executionState"]["x"]["status"], "cancelled");
    let retried = app.ended(&app.retry(&run).await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    assert_eq!(target.calls().len(), 2);
    app.stop().await;
}

async fn an_attempt_that_has_ended_stays_as_it_ended(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [503]);
    let policy = json!({ "retry": { "maxAttempts": 2, "initialDelayMs": 60_000 } });
    let mut definition = node(&target, &policy);
    definition["nodes"]["root"]["children"] = json!(["x", "held"]);
    let payload = json!({ "url": target.url("/held"), "method": "POST" });
    definition["nodes"]["held"] = json!({ "type": "http-request", "payload": payload });
    let gate = target.hold("/held");
    let run = app.start_run(&definition, &json!({})).await;
    target.until_called("/held", 1).await;
    // Its worker holds the run, and is told.
    let path = format!("/v1/runs/{run}/cancel");
    assert_eq!(app.post(&path, &json!({})).await["status"], "running");
    drop(gate);
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "cancelled", "{ended:#}");
    let x = &ended["executionState"]["x"];
    assert_eq!(x["status"], "cancelled");
    let attempts = x["attempts"].as_array().unwrap();
    assert_eq!(attempts.len(), 1);
    assert_eq!(attempts[0]["error"]["code"], "http_503", "{x:#}");
    app.stop().await;
}

async fn a_webhook_is_tried_again_by_itself(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/x", [503]);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["hook"] },
        "hook": { "type": "send-webhook", "payload": { "url": target.url("/x"), "body": { "a": "{{root.n}}" } } }
    } });
    let run = app.start_run(&definition, &json!({ "n": 1.5 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let result = &ended["executionState"]["hook"]["result"];
    assert_eq!(
        (&result["status"], &result["method"]),
        (&json!(200), &json!("POST"))
    );
    assert!(
        result["deliveryId"].as_str().unwrap().starts_with("dlv_"),
        "{result}"
    );
    let calls = target.calls();
    assert_eq!(calls.len(), 2);
    assert_eq!(
        (calls[0].body.as_str(), &calls[0]),
        ("{\"a\":1.5}", &calls[1])
    );

    let mut once = definition;
    once["nodes"]["hook"]["payload"]["maxRetries"] = json!(0);
    target.answer_with("/x", [503]);
    let run = app.start_run(&once, &json!({ "n": 1 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    assert_eq!(target.calls().len(), 3);

    let mut asked = once;
    asked["nodes"]["hook"]["payload"]["maxRetries"] = json!("{{root.r}}");
    target.answer_with("/x", [503, 503]);
    let run = app.start_run(&asked, &json!({ "n": 1, "r": 1.0 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    assert_eq!(target.calls().len(), 5);
    app.stop().await;
}

async fn inputs_of_a_block_are_read_by_the_nodes_expanded_from_it(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({
        "blockExpansions": { "block_1": { "nodes": ["say"] } },
        "inputSchema": [{ "key": "name", "type": "string", "required": true }],
        "nodes": {
            "root": { "type": "manual", "children": ["say"] },
            "say": {
                "type": "log", "payload": { "message": "{{$inputs.who}} {{$inputs.n}}" },
                "blockContext": {
                    "blockId": "block_1", "blockNodeId": "b", "blockVersion": 2,
                    "inputMapping": { "who": "{{root.result.name}}", "n": [1.50] }
                }
            }
        }
    });
    let run = app.start_run(&definition, &json!({ "name": "you" })).await;
    let ended = app.ended(&run).await;
    assert_eq!(
        ended["executionState"]["say"]["input"]["message"], "you [1.5]",
        "{ended:#}"
    );
    assert_eq!(
        ended["workflowDefinition"]["blockExpansions"],
        definition["blockExpansions"]
    );
    let body = json!({ "definition": definition, "payload": {} }).to_string();
    let (status, answer) = app.call("POST", "/v1/runs", Some(&body)).await;
    assert_eq!(status, 400, "{answer}");
    assert!(
        answer["message"].as_str().unwrap().contains("payload.name"),
        "{answer}"
    );
    app.stop().await;
}
