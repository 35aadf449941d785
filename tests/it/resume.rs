//! What a retry executes, what it reuses, and with which inputs.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    a_failed_run_is_retried_from_its_failure_point,
    promise_2_a_hundred_clicks_make_one_run,
    promise_5_the_source_run_is_never_changed,
    a_retry_of_a_retry_goes_on_from_the_last_failure,
    parallel_failures_all_run_again_and_joins_wait_for_them,
    a_delay_frees_the_worker_and_ends_on_time,
    a_tolerated_failure_is_reused_and_readable,
    variables_go_over_with_the_nodes_that_set_them,
    an_import_reads_its_own_variables_and_nobody_elses,
    a_run_without_a_fired_trigger_has_nothing_to_resume,
];

fn post(target: &Target, path: &str, body: &Value, children: &[&str]) -> Value {
    let payload = json!({ "url": target.url(path), "method": "POST", "body": body });
    json!({ "type": "http-request", "payload": payload, "children": children })
}

/// What happened to each node of a run: status, and whether it ran here.
fn story(run: &Value) -> Vec<(String, String, bool)> {
    let state = run["executionState"].as_object().unwrap();
    let line = |(id, node): (&String, &Value)| {
        let status = node["status"].as_str().unwrap().to_owned();
        (id.clone(), status, node.get("originRunId").is_some())
    };
    state.iter().map(line).collect()
}

fn line(id: &str, status: &str, reused: bool) -> (String, String, bool) {
    (id.to_owned(), status.to_owned(), reused)
}

/// root -> check -> (then) reserve -> charge -> ship -> note, (else) review
fn order(target: &Target) -> Value {
    let mut definition = json!({
        "variableDefs": [{ "name": "currency", "type": "text", "default": "EUR", "lifetime": "reset" }],
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["check"] },
            "check": {
                "type": "if",
                "payload": { "condition": { "$and": [{ "{{root.amount}}": { "$gt": 100 } }] } },
                "children": ["reserve", "review"]
            },
            "reserve": post(target, "/reserve", &json!({ "order": "{{root.result.order}}" }), &["charge"]),
            "charge": post(
                target,
                "/charge",
                &json!({ "amount": "{{root.amount}}", "in": "{{$vars.currency}}" }),
                &["ship"]
            ),
            "ship": post(target, "/ship", &json!({ "charged": "{{charge.result.json.got}}" }), &["note"]),
            "note": { "type": "log", "payload": { "message": "shipped {{ship.result.status}}" } },
            "review": { "type": "log", "payload": { "message": "review" } }
        }
    });
    definition["nodes"]["reserve"]["branch"] = json!("then");
    definition["nodes"]["review"]["branch"] = json!("else");
    definition
}

fn long_number() -> Value {
    serde_json::from_str("123456789012345678901234567890.50").unwrap()
}

async fn a_failed_run_is_retried_from_its_failure_point(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/ship", [503]);
    let payload = json!({ "amount": long_number(), "order": "o-1" });
    let source = app.start_run(&order(&target), &payload).await;
    let failed = app.ended(&source).await;
    assert_eq!(failed["status"], "failure");
    assert_eq!(
        failed["executionState"]["ship"]["error"]["class"],
        "transient"
    );
    assert_eq!(failed["executionState"]["note"]["status"], "pending");

    let retried = app.ended(&app.retry(&source).await).await;
    assert_eq!(retried["status"], "success", "{retried}");
    assert_eq!(retried["sourceRunId"], source.as_str());
    assert_eq!(retried["triggerSource"], "retry");
    assert_eq!(
        story(&retried),
        [
            line("root", "success", true),
            line("check", "success", true),
            line("reserve", "success", true),
            line("charge", "success", true),
            line("ship", "success", false),
            line("note", "success", false),
            line("review", "skipped", false),
        ]
    );
    assert_eq!(
        retried["executionState"]["note"]["input"]["message"],
        "shipped 200"
    );
    assert_eq!(retried["totalCu"], 2);

    let charged = format!(r#"{{"amount":{},"in":"EUR"}}"#, long_number());
    assert_eq!(target.calls_of("/charge").len(), 1);
    assert_eq!(target.calls_of("/charge")[0].body, charged);
    let shipped = target.calls_of("/ship");
    assert_eq!(shipped.len(), 2);
    assert_eq!(shipped[0], shipped[1], "a 503 keeps the key and the input");
    assert_eq!(
        shipped[0].key.as_deref(),
        Some(format!("{source}/ship/1").as_str())
    );
    assert_eq!(shipped[0].body, format!(r#"{{"charged":{charged}}}"#));
    app.stop().await;
}

async fn promise_2_a_hundred_clicks_make_one_run(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/ship", [503]);
    let payload = json!({ "amount": 200, "order": "o-1" });
    let source = app.start_run(&order(&target), &payload).await;
    app.ended(&source).await;
    let gate = target.hold("/ship");
    let path = format!("/v1/runs/{source}/retry");
    let clicks = (0..100).map(|_| app.call("POST", &path, None));
    let answers = futures_util::future::join_all(clicks).await;
    let accepted: Vec<_> = answers
        .iter()
        .filter(|(status, _)| *status == 200)
        .collect();
    assert_eq!(accepted.len(), 1);
    let id = accepted[0].1["data"]["id"].as_str().unwrap();
    for (status, answer) in answers.iter().filter(|(status, _)| *status != 200) {
        assert_eq!(*status, 409, "{answer}");
        assert_eq!(answer["error"]["reason"], "retry_in_progress");
        assert_eq!(answer["error"]["runId"], id);
    }
    target.until_called("/ship", 2).await;
    gate.notify_one();
    app.ended(id).await;
    assert_eq!(target.calls_of("/ship").len(), 2);
    let (status, answer) = app.call("POST", &path, None).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (409, &json!("already_retried"))
    );
    assert_eq!(answer["error"]["retriedByRunId"], id);
    app.stop().await;
}

async fn promise_5_the_source_run_is_never_changed(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/charge", [500]);
    let payload = json!({ "amount": 200, "order": "o-1" });
    let source = app.start_run(&order(&target), &payload).await;
    let before = app.ended(&source).await;
    app.ended(&app.retry(&source).await).await;
    assert_eq!(app.get(&format!("/v1/runs/{source}")).await, before);
    app.stop().await;
}

async fn a_retry_of_a_retry_goes_on_from_the_last_failure(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/charge", [503]);
    target.answer_with("/ship", [400]);
    let payload = json!({ "amount": 200, "order": "o-1" });
    let first = app.start_run(&order(&target), &payload).await;
    app.ended(&first).await;
    let second = app.retry(&first).await;
    assert_eq!(app.ended(&second).await["status"], "failure");
    let third = app.retry(&second).await;
    let run = app.ended(&third).await;
    assert_eq!(run["status"], "success", "{run}");
    let origin = |node: &str| run["executionState"][node]["originRunId"].clone();
    assert_eq!(origin("reserve"), first.as_str());
    assert_eq!(origin("charge"), second.as_str());
    assert_eq!(origin("ship"), Value::Null);
    let keys: Vec<_> = target
        .calls()
        .into_iter()
        .map(|call| call.key.unwrap())
        .collect();
    assert_eq!(
        keys,
        [
            format!("{first}/reserve/1"),
            format!("{first}/charge/1"),
            format!("{first}/charge/1"),
            format!("{first}/ship/1"),
            // A 400 is a rejection: the next call is a new effect, raised by the third run.
            format!("{first}/ship/2@{third}"),
        ]
    );
    app.stop().await;
}

async fn parallel_failures_all_run_again_and_joins_wait_for_them(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["a", "b", "c"] },
        "a": post(&target, "/a", &json!({}), &["join"]),
        "b": post(&target, "/b", &json!({}), &["join"]),
        "c": post(&target, "/c", &json!({}), &["join"]),
        "join": post(&target, "/join", &json!({ "of": ["{{a.status}}", "{{b.status}}", "{{c.status}}"] }), &[])
    }});
    let state = json!({
        "root": { "type": "manual", "status": "success", "result": {} },
        "a": { "type": "http-request", "status": "failure", "error": { "class": "transient" } },
        "b": { "type": "http-request", "status": "success", "result": { "status": 200 } },
        "c": { "type": "http-request", "status": "failure", "error": "boom" }
    });
    let run = json!({
        "id": "run_elsewhere", "status": "failure", "workflowDefinition": definition,
        "executionState": state, "triggerNodeId": "root"
    });
    app.post("/v1/runs/import", &run).await;
    let retried = app.ended(&app.retry("run_elsewhere").await).await;
    assert_eq!(retried["status"], "success", "{retried}");
    let paths: Vec<_> = target.calls().into_iter().map(|call| call.path).collect();
    assert_eq!(paths, ["/a", "/c", "/join"]);
    assert_eq!(
        target.calls_of("/join")[0].body,
        r#"{"of":["success","success","success"]}"#
    );
    app.stop().await;
}

async fn a_delay_frees_the_worker_and_ends_on_time(ledger: Ledger) {
    let app = TestApp::start_with(ledger, |config| config.worker.slots = 1).await;
    let definition = |millis: u64| {
        json!({ "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["pause", "other"] },
            "pause": { "type": "delay", "payload": { "delayMs": millis }, "children": ["after"] },
            "after": { "type": "log", "payload": { "message": "after" } },
            "other": { "type": "log", "payload": { "message": "meanwhile" } }
        }})
    };
    // A thousand years.
    let long = app
        .start_run(&definition(31_557_600_000_000), &json!({}))
        .await;
    let waiting = app
        .run_when(&long, |run| {
            run["status"] == "waiting" && run["waitingFor"] == "delay"
        })
        .await;
    let pause = &waiting["executionState"]["pause"];
    assert_eq!(pause["status"], "scheduled");
    assert!(pause["dueAt"].as_str().unwrap() > "3026", "{pause}");
    assert_eq!(waiting["executionState"]["other"]["status"], "success");
    assert_eq!(waiting["executionState"]["after"]["status"], "pending");
    // The only slot is free for another run while the first one waits.
    let short = app.start_run(&definition(1), &json!({})).await;
    let ended = app.ended(&short).await;
    assert_eq!(ended["status"], "success", "{ended}");
    assert_eq!(
        ended["executionState"]["pause"]["result"]["status"],
        "completed"
    );
    let cancelled = app
        .post(&format!("/v1/runs/{long}/cancel"), &json!({}))
        .await;
    assert_eq!(cancelled["status"], "cancelled");
    let run = app.get(&format!("/v1/runs/{long}")).await;
    assert_eq!(run["executionState"]["pause"]["status"], "cancelled");
    app.stop().await;
}

async fn a_tolerated_failure_is_reused_and_readable(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["try"] },
        "try": post(&target, "/try", &json!({}), &["tell"]),
        "tell": post(&target, "/tell", &json!({ "why": "{{$nodes.try.error.code}}" }), &[])
    }});
    definition["nodes"]["try"]["onError"] = json!("continue");
    target.answer_with("/try", [500, 500, 500]);
    target.answer_with("/tell", [500]);
    let source = app.start_run(&definition, &json!({})).await;
    assert_eq!(app.ended(&source).await["status"], "failure");
    let run = app.ended(&app.retry(&source).await).await;
    assert_eq!(run["status"], "success", "{run}");
    assert_eq!(target.calls_of("/try").len(), 1);
    assert_eq!(target.calls_of("/tell")[1].body, r#"{"why":"http_500"}"#);
    app.stop().await;
}

async fn variables_go_over_with_the_nodes_that_set_them(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let set = |value: Value, child: &str| json!({ "type": "set-variable", "payload": { "name": "n", "value": value }, "children": [child] });
    let definition = json!({
        "variableDefs": [{ "name": "n", "type": "number", "default": 1, "lifetime": "reset" }],
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["before"] },
            "before": set(long_number(), "call"),
            "call": post(&target, "/call", &json!({ "n": "{{$vars.n}}" }), &["after"]),
            "after": set(json!("{{$vars.n}}!"), "last"),
            "last": post(&target, "/last", &json!({ "n": "{{$vars.n}}" }), &[])
        }
    });
    target.answer_with("/call", [503]);
    let source = app.start_run(&definition, &json!({})).await;
    app.ended(&source).await;
    let run = app.ended(&app.retry(&source).await).await;
    assert_eq!(run["status"], "success", "{run}");
    for call in target.calls_of("/call") {
        assert_eq!(call.body, format!(r#"{{"n":{}}}"#, long_number()));
    }
    assert_eq!(
        target.calls_of("/last")[0].body,
        format!(r#"{{"n":"{}!"}}"#, long_number())
    );
    app.stop().await;
}

async fn an_import_reads_its_own_variables_and_nobody_elses(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let definition = json!({
        "variableDefs": [{ "name": "n", "type": "text", "default": "none", "lifetime": "reset" }],
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["set"] },
            "set": { "type": "set-variable", "payload": { "name": "n", "value": "theirs" }, "children": ["tell"] },
            "tell": post(&target, "/tell", &json!({ "n": "{{$vars.n}}" }), &[])
        }
    });
    let theirs = app.start_run(&definition, &json!({})).await;
    app.ended(&theirs).await;
    let run = json!({
        "id": "run_mine", "status": "failure", "workflowDefinition": definition,
        "triggerNodeId": "root",
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "set": {
                "type": "set-variable", "status": "success", "originRunId": theirs,
                "result": { "name": "n", "oldValue": "none", "newValue": "mine" }
            },
            "tell": { "type": "http-request", "status": "failure", "error": "503" }
        }
    });
    app.post("/v1/runs/import", &run).await;
    let retried = app.ended(&app.retry("run_mine").await).await;
    assert_eq!(retried["status"], "success", "{retried}");
    assert_eq!(target.calls_of("/tell")[1].body, r#"{"n":"mine"}"#);
    app.stop().await;
}

async fn a_run_without_a_fired_trigger_has_nothing_to_resume(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    for status in ["pending", "running", "skipped", "failure", "cancelled"] {
        let id = format!("run_{status}");
        let run = json!({
            "id": id, "status": "failure", "workflowDefinition": order(&target),
            "triggerNodeId": "root",
            "executionState": {
                "root": { "type": "manual", "status": status, "result": {} },
                "check": { "type": "if", "status": "failure" }
            }
        });
        app.post("/v1/runs/import", &run).await;
        let (code, answer) = app
            .call("POST", &format!("/v1/runs/{id}/retry"), None)
            .await;
        assert_eq!(
            (code, &answer["error"]["reason"]),
            (409, &json!("missing_state"))
        );
    }
    app.stop().await;
}
