//! Nodes that wait for the run they started: its whole chain counts, whoever retried it.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    a_parent_waits_for_its_child_and_reads_its_results,
    a_failed_child_is_retried_from_its_own_failure_point,
    a_child_that_was_retried_meanwhile_gives_its_result,
    a_live_child_is_waited_for_when_its_parent_is_retried,
    a_named_node_starts_a_new_child,
    a_child_that_cant_be_retried_fails_its_node_with_the_reason,
    children_that_are_waited_for_are_cancelled_with_their_parent,
    each_iteration_waits_for_a_child_of_its_own,
    what_a_child_gives_is_held_to_the_limit_of_a_result,
    a_cancelled_child_that_is_still_ending_is_retried_with_its_parent,
    a_node_retries_its_child_by_its_own_policy,
    a_child_that_takes_too_long_fails_its_node_only,
    a_child_is_cancelled_with_its_parent_between_two_attempts,
    a_partial_child_gives_what_its_last_loop_gave,
];

/// root -> pay -> note, registered as `wf_c`.
async fn register(app: &TestApp, target: &Target, more: &Value) {
    let call =
        |path: &str, body: &str| json!({ "url": target.url(path), "method": "POST", "body": body });
    let mut pay = json!({
        "type": "http-request", "children": ["note"], "payload": call("/pay", "{{root.n}}")
    });
    for (name, value) in more.as_object().into_iter().flatten() {
        pay[name] = value.clone();
    }
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["first"] },
        "first": {
            "type": "http-request", "children": ["pay"], "payload": call("/first", "{{root.n}}")
        },
        "pay": pay,
        "note": { "type": "log", "payload": { "message": "noted {{root.n}}" } }
    } });
    let body = json!({ "name": "child", "definition": definition }).to_string();
    let (status, answer) = app.call("PUT", "/v1/workflows/wf_c", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
}

/// root -> start (waits) -> done
fn parent(target: &Target) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["start"] },
        "start": {
            "type": "trigger-workflow", "children": ["done"],
            "payload": { "workflowId": "wf_c", "payload": { "n": "{{root.n}}" }, "wait": true }
        },
        "done": {
            "type": "http-request",
            "payload": {
                "url": target.url("/done"), "method": "POST",
                "body": "{{start.result.runStatus}}: {{start.result.outputs.note.message}}"
            }
        }
    } })
}

async fn children(app: &TestApp) -> Vec<Value> {
    let runs = app.get("/v1/workflows/wf_c/runs").await;
    runs["items"].as_array().unwrap().clone()
}

async fn only_child(app: &TestApp) -> String {
    let children = children(app).await;
    assert_eq!(children.len(), 1, "{children:#?}");
    children[0]["id"].as_str().unwrap().to_owned()
}

async fn waiting_for_child(app: &TestApp, run: &str) -> Value {
    app.run_when(run, |run| run["waitingFor"] == "child").await
}

async fn a_parent_waits_for_its_child_and_reads_its_results(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    let gate = target.hold("/pay");
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    target.until_called("/pay", 1).await;
    let held = waiting_for_child(&app, &run).await;
    assert_eq!(held["executionState"]["start"]["status"], "waiting");
    let child = only_child(&app).await;
    gate.notify_one();
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let result = &ended["executionState"]["start"]["result"];
    assert_eq!(
        (
            &result["runId"],
            &result["triggeredWorkflowId"],
            &result["triggeredWorkflowName"]
        ),
        (&json!(child), &json!("wf_c"), &json!("child"))
    );
    assert_eq!(target.calls_of("/done")[0].body, "success: noted 7");
    assert_eq!(target.calls_of("/pay").len(), 1);
    app.stop().await;
}

async fn a_failed_child_is_retried_from_its_own_failure_point(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    target.answer_with("/pay", [503, 503]);
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    let failed = app.ended(&run).await;
    assert_eq!(failed["status"], "failure");
    let error = &failed["executionState"]["start"]["error"];
    assert_eq!(error["code"], "child_failed", "{error}");

    let again = app.retry(&run).await;
    let failed = app.ended(&again).await;
    assert_eq!(failed["status"], "failure", "the second 503");
    let last = app.retry(&again).await;
    let ended = app.ended(&last).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let start = &ended["executionState"]["start"];
    assert_eq!(start["input"]["payload"], json!({ "n": 7 }), "{start:#}");
    assert_eq!(start["attempts"].as_array().unwrap().len(), 1, "{start:#}");
    assert!(start["attempts"][0]["finishedAt"].is_string(), "{start:#}");
    assert!(start.get("retriesChild").is_none(), "{start:#}");
    assert_eq!(ended["totalCu"], 2, "this node and the one after it");
    assert_eq!(target.calls_of("/first").len(), 1, "it had succeeded");
    let keys: Vec<_> = target
        .calls_of("/pay")
        .iter()
        .map(|call| call.key.clone())
        .collect();
    assert_eq!(keys.len(), 3);
    assert!(keys.iter().all(|key| *key == keys[0]), "{keys:?}");
    assert_eq!(target.calls_of("/done").len(), 1);
    let runs = children(&app).await;
    assert_eq!(runs.len(), 3, "the child and its two retries");
    let retries: Vec<_> = runs
        .iter()
        .filter(|run| run["triggerSource"] == "retry")
        .collect();
    assert_eq!(retries.len(), 2);
    let by: Vec<_> = retries
        .iter()
        .map(|run| run["triggeredBy"].clone())
        .collect();
    assert!(
        by.contains(&json!(again)) && by.contains(&json!(last)),
        "{by:?}"
    );
    app.stop().await;
}

async fn a_child_that_was_retried_meanwhile_gives_its_result(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    target.answer_with("/pay", [503]);
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    let retried = app.retry(&only_child(&app).await).await;
    assert_eq!(app.ended(&retried).await["status"], "success");

    let plan = app
        .post(&format!("/v1/runs/{run}/retry-plan"), &json!({}))
        .await;
    let nodes = plan["plan"]["nodes"].as_array().unwrap();
    let start = nodes.iter().find(|node| node["path"] == "start").unwrap();
    assert_eq!(
        (&start["verdict"], &start["reason"]),
        (&json!("execute"), &json!("child"))
    );
    let ended = app.ended(&app.retry(&run).await).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(
        ended["executionState"]["start"]["result"]["runId"],
        json!(retried)
    );
    assert_eq!(
        target.calls_of("/pay").len(),
        2,
        "nothing was started again"
    );
    assert_eq!(children(&app).await.len(), 2);
    app.stop().await;
}

async fn a_live_child_is_waited_for_when_its_parent_is_retried(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    target.answer_with("/pay", [503]);
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    let gate = target.hold("/pay");
    let retried = app.retry(&only_child(&app).await).await;
    target.until_called("/pay", 2).await;
    let again = app.retry(&run).await;
    let held = waiting_for_child(&app, &again).await;
    let start = &held["executionState"]["start"];
    assert!(start.get("retriesChild").is_none(), "{start:#}");
    gate.notify_one();
    let ended = app.ended(&again).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(
        ended["executionState"]["start"]["result"]["runId"],
        json!(retried)
    );
    assert_eq!(children(&app).await.len(), 2);
    app.stop().await;
}

async fn a_named_node_starts_a_new_child(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    target.answer_with("/pay", [503]);
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    let named = json!({ "fromNodeId": "start" });
    let retry = app.post(&format!("/v1/runs/{run}/retry"), &named).await;
    let ended = app.ended(retry["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(
        target.calls_of("/first").len(),
        2,
        "another run of the workflow"
    );
    let runs = children(&app).await;
    assert!(
        runs.iter().all(|run| run["triggerSource"] == "workflow"),
        "{runs:#?}"
    );
    assert_eq!(runs.len(), 2);
    app.stop().await;
}

async fn a_child_that_cant_be_retried_fails_its_node_with_the_reason(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    // Whether the call had its effect is unknown, and it must not be repeated.
    let unsafely = json!({ "sideEffects": "unsafe", "timeoutMs": 300 });
    register(&app, &target, &unsafely).await;
    let _never = target.hold("/pay");
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    let ended = app.ended(&app.retry(&run).await).await;
    assert_eq!(ended["status"], "failure");
    let error = &ended["executionState"]["start"]["error"];
    assert_eq!(error["code"], "confirmation_required", "{error}");
    assert_eq!(target.calls_of("/pay").len(), 1);
    app.stop().await;
}

async fn children_that_are_waited_for_are_cancelled_with_their_parent(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({ "type": "wait", "payload": {} })).await;
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    waiting_for_child(&app, &run).await;
    let child = only_child(&app).await;
    app.run_when(&child, |run| run["waitingFor"] == "wait")
        .await;
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    let ended = app.ended(&run).await;
    assert_eq!(
        (
            &ended["status"],
            &ended["executionState"]["start"]["status"]
        ),
        (&json!("cancelled"), &json!("cancelled"))
    );
    assert_eq!(app.ended(&child).await["status"], "cancelled");
    app.stop().await;
}

async fn each_iteration_waits_for_a_child_of_its_own(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    target.answer_with("/pay", [200, 503]);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": {
            "type": "for-each", "loopBody": ["start"], "payload": { "array": "{{root.list}}" }
        },
        "start": {
            "type": "trigger-workflow",
            "payload": { "workflowId": "wf_c", "payload": { "n": "{{$item}}" }, "wait": true }
        }
    } });
    let run = app
        .start_run(&definition, &json!({ "list": [1, 2, 3] }))
        .await;
    assert_eq!(app.ended(&run).await["status"], "partial");
    let path = format!("/v1/runs/{run}/retry");
    let retry = app.post(&path, &json!({ "includePartial": true })).await;
    let ended = app.ended(retry["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let bodies: Vec<_> = target
        .calls_of("/pay")
        .iter()
        .map(|call| call.body.clone())
        .collect();
    assert_eq!(bodies, ["1", "2", "3", "2"]);
    assert_eq!(children(&app).await.len(), 4);
    app.stop().await;
}

async fn what_a_child_gives_is_held_to_the_limit_of_a_result(ledger: Ledger) {
    let target = Target::start().await;
    let app = TestApp::start_with(ledger, |config| config.limits.result_bytes = 700).await;
    // Each of its results is small enough, the three of them together are not.
    let say = json!({ "type": "log", "payload": { "message": "{{root.n}}" } });
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["a", "b", "c"] },
        "a": say, "b": say, "c": say
    } });
    let body = json!({ "name": "wide", "definition": definition }).to_string();
    let (status, answer) = app.call("PUT", "/v1/workflows/wf_c", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let payload = json!({ "n": "x".repeat(300) });
    let run = app.start_run(&parent(&target), &payload).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure", "{ended:#}");
    let start = &ended["executionState"]["start"];
    assert_eq!(start["error"]["code"], "result_too_large", "{start:#}");
    assert!(start["result"].is_null(), "{start:#}");
    app.stop().await;
}

async fn a_cancelled_child_that_is_still_ending_is_retried_with_its_parent(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    let gate = target.hold("/pay");
    let run = app.start_run(&parent(&target), &json!({ "n": 7 })).await;
    target.until_called("/pay", 1).await;
    waiting_for_child(&app, &run).await;
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    assert_eq!(app.ended(&run).await["status"], "cancelled");
    let again = app.retry(&run).await;
    waiting_for_child(&app, &again).await;
    gate.notify_one();
    let ended = app.ended(&again).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(target.calls_of("/done")[0].body, "success: noted 7");
    assert_eq!(target.calls_of("/pay").len(), 1, "its call had ended well");
    assert_eq!(children(&app).await.len(), 2, "the child and its retry");
    app.stop().await;
}

async fn a_node_retries_its_child_by_its_own_policy(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    let mut definition = parent(&target);
    definition["nodes"]["start"]["retry"] = json!({ "maxAttempts": 3, "initialDelayMs": 20 });
    target.answer_with("/pay", [503, 503]);
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let attempts = &ended["executionState"]["start"]["attempts"];
    let codes: Vec<_> = attempts
        .as_array()
        .unwrap()
        .iter()
        .map(|attempt| (attempt["number"].clone(), attempt["error"]["code"].clone()))
        .collect();
    let failed = json!("child_failed");
    let expected = [
        (json!(1), failed.clone()),
        (json!(2), failed),
        (json!(3), Value::Null),
    ];
    assert_eq!(codes, expected, "{attempts:#}");
    assert_eq!(ended["totalCu"], 4, "three attempts and one node");
    assert_eq!(target.calls_of("/first").len(), 1, "it had succeeded");
    assert_eq!(target.calls_of("/pay").len(), 3);
    assert_eq!(
        children(&app).await.len(),
        3,
        "the child and its two retries"
    );

    // What failed for good is tried again only if the policy says so.
    target.answer_with("/pay", [400]);
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure", "{ended:#}");
    let error = &ended["executionState"]["start"]["error"];
    assert_eq!(error["class"], "permanent", "{error}");
    app.stop().await;
}

async fn a_child_that_takes_too_long_fails_its_node_only(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({})).await;
    let mut definition = parent(&target);
    definition["nodes"]["start"]["timeoutMs"] = json!(700);
    let gate = target.hold("/pay");
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    waiting_for_child(&app, &run).await;
    let failed = app.ended(&run).await;
    assert_eq!(failed["status"], "failure", "{failed:#}");
    let error = &failed["executionState"]["start"]["error"];
    assert_eq!(
        (&error["class"], &error["code"]),
        (&json!("timeout"), &json!("timed_out"))
    );
    let child = only_child(&app).await;
    let child = app.get(&format!("/v1/runs/{child}")).await;
    assert_eq!(child["status"], "running", "it goes on by itself");
    gate.notify_one();
    let ended = app.ended(&app.retry(&run).await).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(children(&app).await.len(), 1);
    app.stop().await;
}

async fn a_child_is_cancelled_with_its_parent_between_two_attempts(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    register(&app, &target, &json!({ "type": "wait", "payload": {} })).await;
    let mut definition = parent(&target);
    definition["nodes"]["start"]["timeoutMs"] = json!(300);
    definition["nodes"]["start"]["retry"] = json!({ "initialDelayMs": 60_000 });
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    let held = app
        .run_when(&run, |run| run["waitingFor"] == "node_retry")
        .await;
    let error = &held["executionState"]["start"]["error"];
    assert_eq!(error["class"], "timeout", "{held:#}");
    let child = only_child(&app).await;
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    assert_eq!(app.ended(&run).await["status"], "cancelled");
    assert_eq!(app.ended(&child).await["status"], "cancelled");
    app.stop().await;
}

async fn a_partial_child_gives_what_its_last_loop_gave(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/pay", [200, 400]);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": { "type": "for-each", "payload": { "array": [1, 2] }, "loopBody": ["pay"] },
        "pay": { "type": "http-request", "payload": { "url": target.url("/pay") } }
    } });
    let body = json!({ "name": "loop", "definition": definition }).to_string();
    let (status, answer) = app.call("PUT", "/v1/workflows/wf_c", Some(&body)).await;
    assert_eq!(status, 200, "{answer}");
    let mut definition = parent(&target);
    definition["nodes"]["done"]["payload"]["body"] = json!("{{start.result.outputs.each.status}}");
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(target.calls_of("/done")[0].body, "partial");
    app.stop().await;
}
