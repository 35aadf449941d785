//! Nodes that wait for somebody: resumes, time-outs, and what a retry does with them.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use redrive::{
    config::HttpConfig,
    domain::{NodeRecord, NodeStatus},
    engine::{Signals, nodes},
};
use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    installation::{Installation, caller, within_points},
    ledger::Ledger,
    on_both_engines,
    rows::{DONE, checkpoint, claim},
    target::Target,
};

on_both_engines![
    a_wait_is_resumed_with_what_came_for_it,
    a_wait_whose_time_is_over_takes_the_other_branch,
    of_many_resumes_one_counts,
    a_wait_in_an_iteration_is_resumed_by_its_stack,
    a_wait_holds_up_only_what_is_below_it,
    a_resume_that_was_answered_is_in_the_state_that_the_run_ends_with,
    a_resume_that_was_answered_is_in_the_state_of_a_cancelled_run,
    a_resume_at_any_moment_of_a_cancellation_is_not_lost,
    what_is_below_a_wait_that_is_over_comes_before_what_is_beside_it,
    what_is_below_a_delay_that_is_over_comes_before_what_is_beside_it,
    a_cancelled_wait_is_armed_again_by_a_retry,
    resumes_of_what_does_not_wait_are_skipped,
];

/// root -> approve -> yes if it is resumed, no if its time is over
fn asking(target: &Target, timeout_ms: u64) -> Value {
    let payload = |path: &str, body: Value| json!({ "url": target.url(path), "method": "POST", "body": body });
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["approve"] },
        "approve": {
            "type": "wait", "children": ["yes", "no"],
            "payload": { "triggerType": "approval", "triggerConfig": { "who": "{{root.who}}" }, "timeoutMs": timeout_ms }
        },
        "yes": {
            "type": "http-request", "branch": "resumed",
            "payload": payload("/yes", json!("{{approve.result.triggerResult}}"))
        },
        "no": { "type": "http-request", "branch": "timed_out", "payload": payload("/no", json!(1)) }
    } })
}

async fn waiting(app: &TestApp, run: &str) -> Value {
    app.run_when(run, |run| run["waitingFor"] == "wait").await
}

async fn resume(app: &TestApp, run: &str, node: &str, body: &Value) -> Value {
    app.post(&format!("/v1/runs/{run}/nodes/{node}/resume"), body)
        .await
}

async fn a_wait_is_resumed_with_what_came_for_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app
        .start_run(&asking(&target, 60_000), &json!({ "who": "me" }))
        .await;
    let held = waiting(&app, &run).await;
    let approve = &held["executionState"]["approve"];
    assert_eq!(
        (&held["status"], &approve["status"]),
        (&json!("waiting"), &json!("waiting"))
    );
    assert_eq!(approve["input"]["triggerConfig"]["who"], "me");
    let data: Value = serde_json::from_str(r#"{"amount":1.50,"z":null}"#).unwrap();
    let answer = resume(&app, &run, "approve", &json!({ "data": data })).await;
    assert_eq!(answer, json!({ "action": "resumed", "reason": null }));
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    assert_eq!(
        ended["executionState"]["approve"]["result"],
        json!({
            "status": "resumed", "triggerResult": data, "source": "api", "branch": "resumed",
            "timeoutMs": 60_000
        })
    );
    assert_eq!(ended["executionState"]["no"]["status"], "skipped");
    assert_eq!(target.calls()[0].body, r#"{"amount":1.50,"z":null}"#);
    // However often it was taken up meanwhile.
    assert_eq!(ended["totalCu"], 2);
    app.stop().await;
}

async fn a_wait_whose_time_is_over_takes_the_other_branch(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app
        .start_run(&asking(&target, 1_200), &json!({ "who": "me" }))
        .await;
    waiting(&app, &run).await;
    let ended = app.ended(&run).await;
    let result = &ended["executionState"]["approve"]["result"];
    assert_eq!(
        (&result["branch"], &result["source"]),
        (&json!("timed_out"), &json!("timeout"))
    );
    assert_eq!(target.calls().len(), 1);
    assert_eq!(target.calls()[0].path, "/no");
    let answer = resume(&app, &run, "approve", &json!({})).await;
    assert_eq!(answer["action"], "skipped");
    assert!(
        answer["reason"].as_str().unwrap().contains("ended"),
        "{answer}"
    );
    for wrong in [json!(999), json!(604_800_001_u64), json!("1s")] {
        let mut definition = asking(&target, 1_000);
        definition["nodes"]["approve"]["payload"]["timeoutMs"] = wrong;
        let ended = app
            .ended(&app.start_run(&definition, &json!({ "who": 1 })).await)
            .await;
        assert_eq!(
            ended["executionState"]["approve"]["error"]["code"],
            "invalid_payload"
        );
    }
    app.stop().await;
}

async fn of_many_resumes_one_counts(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app
        .start_run(&asking(&target, 60_000), &json!({ "who": 1 }))
        .await;
    waiting(&app, &run).await;
    let calls = (0..20).map(|number| {
        let (app, run) = (&app, &run);
        async move {
            (
                number,
                resume(app, run, "approve", &json!({ "data": number })).await,
            )
        }
    });
    let answers = futures_util::future::join_all(calls).await;
    let resumed: Vec<_> = answers
        .iter()
        .filter(|(_, answer)| answer["action"] == "resumed")
        .collect();
    assert_eq!(resumed.len(), 1, "{answers:?}");
    let ended = app.ended(&run).await;
    assert_eq!(
        ended["executionState"]["approve"]["result"]["triggerResult"],
        resumed[0].0
    );
    assert_eq!(target.calls().len(), 1);
    app.stop().await;
}

async fn a_wait_in_an_iteration_is_resumed_by_its_stack(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": { "type": "for-each", "payload": { "array": ["a", "b"] }, "loopBody": ["approve", "say"] },
        "approve": { "type": "wait", "payload": { "timeoutMs": 60_000 }, "children": ["say"] },
        "say": { "type": "log", "payload": { "message": "{{$item}}{{approve.result.triggerResult}}" } }
    } });
    let run = app.start_run(&definition, &json!({})).await;
    for index in 0..2 {
        let ready = |run: &Value| {
            let approve = &run["executionState"]["each"]["iterations"][index]["approve"];
            run["status"] == "waiting" && approve["status"] == "waiting"
        };
        app.run_when(&run, ready).await;
        let other =
            json!({ "stack": [{ "parentNodeId": "each", "index": 1 - index, "total": 2 }] });
        let skipped = resume(&app, &run, "approve", &json!({ "forEachContext": other })).await;
        assert_eq!(skipped["action"], "skipped");
        let stack = json!({ "stack": [{ "parentNodeId": "each", "index": index, "total": 2 }] });
        let body = json!({ "data": index, "forEachContext": stack });
        assert_eq!(
            resume(&app, &run, "approve", &body).await["action"],
            "resumed"
        );
    }
    let ended = app.ended(&run).await;
    let said = |index: usize| {
        ended["executionState"]["each"]["iterations"][index]["say"]["input"]["message"].clone()
    };
    assert_eq!((said(0), said(1)), (json!("a0"), json!("b1")));
    app.stop().await;
}

async fn a_wait_holds_up_only_what_is_below_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = asking(&target, 60_000);
    definition["nodes"]["root"]["children"] = json!(["approve", "beside"]);
    definition["nodes"]["beside"] =
        json!({ "type": "http-request", "payload": { "url": target.url("/beside") } });
    let run = app.start_run(&definition, &json!({ "who": 1 })).await;
    waiting(&app, &run).await;
    assert_eq!(target.calls_of("/beside").len(), 1);
    resume(&app, &run, "approve", &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "success");

    // Another node fails: the run ends, and the wait stays as it is until a retry arms it again.
    target.answer_with("/beside", [500]);
    let run = app.start_run(&definition, &json!({ "who": 1 })).await;
    let failed = app.ended(&run).await;
    assert_eq!(failed["status"], "failure");
    assert_eq!(failed["executionState"]["approve"]["status"], "waiting");
    let retried = app.retry(&run).await;
    waiting(&app, &retried).await;
    assert_eq!(
        resume(&app, &retried, "approve", &json!({})).await["action"],
        "resumed"
    );
    assert_eq!(app.ended(&retried).await["status"], "success");
    app.stop().await;
}

async fn a_resume_that_was_answered_is_in_the_state_that_the_run_ends_with(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = asking(&target, 60_000);
    definition["nodes"]["root"]["children"] = json!(["approve", "beside"]);
    definition["nodes"]["beside"] =
        json!({ "type": "http-request", "payload": { "url": target.url("/beside") } });
    let gate = target.hold("/beside");
    target.answer_with("/beside", [500]);
    let run = app.start_run(&definition, &json!({ "who": 1 })).await;
    target.until_called("/beside", 1).await;
    // Its worker is busy with another node, which then fails.
    assert_eq!(
        resume(&app, &run, "approve", &json!({ "data": 7 })).await["action"],
        "resumed"
    );
    gate.notify_one();
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure");
    let approve = &ended["executionState"]["approve"];
    assert_eq!(
        (&approve["status"], &approve["result"]["triggerResult"]),
        (&json!("success"), &json!(7))
    );
    target.hold("/beside").notify_one();
    let retried = app.ended(&app.retry(&run).await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    assert_eq!(
        retried["executionState"]["approve"]["originRunId"],
        run.as_str()
    );
    assert_eq!(target.calls_of("/yes").len(), 1);
    app.stop().await;
}

/// root -> approve -> yes or no, root -> b1 -> b2 -> b3; `b1` is answered when the gate is opened.
fn beside(target: &Target) -> (Value, std::sync::Arc<tokio::sync::Notify>) {
    let mut definition = asking(target, 60_000);
    definition["nodes"]["root"]["children"] = json!(["approve", "b1"]);
    for (id, next) in [
        ("b1", json!(["b2"])),
        ("b2", json!(["b3"])),
        ("b3", json!([])),
    ] {
        let payload = json!({ "url": target.url(&format!("/{id}")) });
        definition["nodes"][id] =
            json!({ "type": "http-request", "payload": payload, "children": next });
    }
    (definition, target.hold("/b1"))
}

fn paths(target: &Target) -> Vec<String> {
    target.calls().into_iter().map(|call| call.path).collect()
}

async fn a_resume_that_was_answered_is_in_the_state_of_a_cancelled_run(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let (mut definition, gate) = beside(&target);
    definition["nodes"]["root"]["children"] = json!(["approve", "other", "b1"]);
    definition["nodes"]["other"] = json!({ "type": "wait", "payload": {} });
    let run = app.start_run(&definition, &json!({ "who": 1 })).await;
    target.until_called("/b1", 1).await;
    let answer = resume(&app, &run, "approve", &json!({ "data": 7 })).await;
    assert_eq!(answer["action"], "resumed");
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    gate.notify_one();
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "cancelled");
    let approve = &ended["executionState"]["approve"];
    assert_eq!(
        (&approve["status"], &approve["result"]["triggerResult"]),
        (&json!("success"), &json!(7)),
        "{ended:#}"
    );
    let other = &ended["executionState"]["other"];
    assert_eq!(other["status"], "cancelled");
    assert!(other["dueAt"].is_null(), "{other:#}");
    assert!(other["attempts"][0]["finishedAt"].is_string(), "{other:#}");
    assert!(target.calls_of("/yes").is_empty(), "nothing more starts");
    app.stop().await;
}

/// One run that is being cancelled, and resumed after so many points at which its worker waits for
/// the ledger. Whether the worker got so far.
async fn resumed_after(inside: &Installation, points: usize) -> bool {
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["approve"] },
        "approve": { "type": "wait" }
    } });
    let start = json!({ "definition": definition, "payload": {} });
    let run = inside.intake.start(&caller(), start).await.unwrap();
    let (id, store) = (run.id.as_str(), &inside.ledger.store);
    let armed = NodeRecord::new("approve".parse().unwrap(), "wait", NodeStatus::Waiting);
    let held = claim(store, id).await.unwrap();
    let written = store
        .checkpoint(&held.fence, &checkpoint(vec![armed.clone()]))
        .await;
    assert_eq!(written.unwrap(), DONE);
    let signals = Signals::default();
    signals.cancelled.cancel();
    let mut work = pin!(inside.work(held, &signals));
    let mut left = Some(points);
    let ended = within_points(&mut work, &mut left).await;
    let is_before = ended.is_none();
    let mut resume = pin!(inside.resume(&run.id, &armed, "7"));
    // At some points the worker holds the lock that a resume needs.
    let early = tokio::time::timeout(Duration::from_millis(50), &mut resume).await;
    if is_before {
        work.await;
    }
    let is_resumed = match early {
        Ok(is_resumed) => is_resumed,
        Err(_) => resume.await,
    };
    let records = inside.records(&run.id).await;
    let approve = records.iter().find(|record| record.path == armed.path);
    let approve = approve.unwrap();
    let status = if is_resumed {
        assert!(approve.result.as_ref().unwrap().as_str().contains('7'));
        NodeStatus::Success
    } else {
        NodeStatus::Cancelled
    };
    assert_eq!(approve.status, status, "after {points}: {approve:?}");
    is_before
}

async fn a_resume_at_any_moment_of_a_cancellation_is_not_lost(ledger: Ledger) {
    let handlers = nodes::built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
    let inside = Installation::new(ledger, handlers);
    let mut points = 0;
    while Box::pin(resumed_after(&inside, points)).await {
        points += 1;
    }
    assert!(points > 3, "it was resumed at many of them");
    inside.ledger.remove().await;
}

async fn what_is_below_a_wait_that_is_over_comes_before_what_is_beside_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let (definition, gate) = beside(&target);
    let run = app.start_run(&definition, &json!({ "who": 1 })).await;
    target.until_called("/b1", 1).await;
    resume(&app, &run, "approve", &json!({})).await;
    gate.notify_one();
    assert_eq!(app.ended(&run).await["status"], "success");
    assert_eq!(paths(&target), ["/b1", "/yes", "/b2", "/b3"]);
    app.stop().await;
}

async fn what_is_below_a_delay_that_is_over_comes_before_what_is_beside_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let (mut definition, gate) = beside(&target);
    let approve = &mut definition["nodes"]["approve"];
    approve["type"] = json!("delay");
    approve["payload"] = json!({ "delayMs": 200 });
    approve["children"] = json!(["yes"]);
    definition["nodes"]["yes"] =
        json!({ "type": "http-request", "payload": { "url": target.url("/yes") } });
    definition["nodes"].as_object_mut().unwrap().remove("no");
    let run = app.start_run(&definition, &json!({})).await;
    target.until_called("/b1", 1).await;
    tokio::time::sleep(std::time::Duration::from_millis(300)).await;
    gate.notify_one();
    assert_eq!(app.ended(&run).await["status"], "success");
    assert_eq!(paths(&target), ["/b1", "/yes", "/b2", "/b3"]);
    app.stop().await;
}

async fn a_cancelled_wait_is_armed_again_by_a_retry(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app
        .start_run(&asking(&target, 60_000), &json!({ "who": 1 }))
        .await;
    waiting(&app, &run).await;
    app.post(&format!("/v1/runs/{run}/cancel"), &json!({}))
        .await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "cancelled");
    assert_eq!(ended["executionState"]["approve"]["status"], "cancelled");
    assert_eq!(
        resume(&app, &run, "approve", &json!({})).await["action"],
        "skipped"
    );
    let retried = app.retry(&run).await;
    waiting(&app, &retried).await;
    resume(&app, &retried, "approve", &json!({})).await;
    assert_eq!(app.ended(&retried).await["status"], "success");
    app.stop().await;
}

async fn resumes_of_what_does_not_wait_are_skipped(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let run = app
        .start_run(&asking(&target, 60_000), &json!({ "who": 1 }))
        .await;
    waiting(&app, &run).await;
    for node in ["root", "yes", "none", "approve[0].x"] {
        let answer = resume(&app, &run, node, &json!({})).await;
        assert_eq!(answer["action"], "skipped", "{node}: {answer}");
    }
    let (status, answer) = app
        .call("POST", "/v1/runs/run_none/nodes/approve/resume", Some("{}"))
        .await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (404, &json!("run_not_found"))
    );
    let path = format!("/v1/runs/{run}/nodes/approve/resume");
    for body in ["[]", r#"{"dat":1}"#, r#"{"forEachContext":{"stack":[{}]}}"#] {
        assert_eq!(app.call("POST", &path, Some(body)).await.0, 400, "{body}");
    }
    let deep = format!("{{\"data\":{}{}}}", "[".repeat(65), "]".repeat(65));
    assert_eq!(app.call("POST", &path, Some(&deep)).await.0, 400);
    app.stop().await;
}
