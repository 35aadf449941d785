//! Loops: what an iteration reads, how a loop ends, what a retry of it repeats.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    an_iteration_reads_its_item_and_a_failed_one_does_not_stop_the_later_ones,
    a_retry_runs_the_failed_items_only_and_never_resolves_the_array_again,
    promise_3_failed_items_at_three_levels_run_alone,
    an_imported_loop_goes_on_with_its_failed_and_never_started_items,
    a_loop_of_which_every_item_failed_stops_the_run,
    a_held_iteration_holds_the_later_ones_and_what_follows_the_loop_only,
    what_follows_a_loop_reads_its_iterations,
];

fn post(target: &Target, path: &str, body: &Value) -> Value {
    let payload = json!({ "url": target.url(path), "method": "POST", "body": body });
    json!({ "type": "http-request", "payload": payload })
}

fn bodies(target: &Target, path: &str) -> Vec<Value> {
    let calls = target.calls_of(path);
    let body = |call: &crate::support::target::Call| serde_json::from_str(&call.body).unwrap();
    calls.iter().map(body).collect()
}

fn keys(target: &Target, path: &str) -> Vec<String> {
    let calls = target.calls_of(path);
    calls.into_iter().map(|call| call.key.unwrap()).collect()
}

/// root -> each [pay -> note] -> after
fn paying(target: &Target) -> Value {
    let mut pay = post(
        target,
        "/pay",
        &json!({ "to": "{{$item.to}}", "n": "{{$index}}" }),
    );
    pay["children"] = json!(["note"]);
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": {
            "type": "for-each", "payload": { "array": "{{root.result.list}}" },
            "loopBody": ["pay", "note"], "children": ["after"]
        },
        "pay": pay,
        "note": { "type": "log", "payload": { "message": "{{$for.each.item.to}}: {{pay.result.status}}" } },
        "after": { "type": "log", "payload": { "message": "{{each.result.iterationCount}} paid" } }
    } })
}

fn list(names: &[&str]) -> Value {
    let list: Vec<_> = names.iter().map(|name| json!({ "to": name })).collect();
    json!({ "list": list })
}

async fn an_iteration_reads_its_item_and_a_failed_one_does_not_stop_the_later_ones(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/pay", [200, 503, 200]);
    let run = app
        .start_run(&paying(&target), &list(&["a", "b", "c"]))
        .await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "partial", "{ended:#}");
    let each = &ended["executionState"]["each"];
    assert_eq!(each["status"], "partial");
    assert_eq!(each["input"]["array"], list(&["a", "b", "c"])["list"]);
    let ends: Vec<_> = each["result"]["iterations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|end| end["status"].as_str().unwrap())
        .collect();
    assert_eq!(ends, ["success", "failure", "success"]);
    assert_eq!(each["iterations"][0]["note"]["input"]["message"], "a: 200");
    assert_eq!(each["iterations"][1]["pay"]["status"], "failure");
    assert!(each["iterations"][1].get("note").is_none(), "{each:#}");
    assert_eq!(each["iterations"][2]["note"]["input"]["message"], "c: 200");
    assert_eq!(
        ended["executionState"]["after"]["input"]["message"],
        "3 paid"
    );
    assert!(ended["executionState"].get("pay").is_none(), "{ended:#}");
    let expected = [("a", 0), ("b", 1), ("c", 2)].map(|(to, n)| json!({ "to": to, "n": n }));
    assert_eq!(bodies(&target, "/pay"), expected);
    let expected = [0, 1, 2].map(|n| format!("{run}/each[{n}].pay/1"));
    assert_eq!(keys(&target, "/pay"), expected);
    app.stop().await;
}

async fn a_retry_runs_the_failed_items_only_and_never_resolves_the_array_again(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = paying(&target);
    // What follows the loop fails, so that the source is a failure.
    definition["nodes"]["after"] = post(&target, "/after", &json!(1));
    target.answer_with("/pay", [200, 503, 400]);
    target.answer_with("/after", [503]);
    let payload = list(&["a", "b", "c"]);
    let source = app.start_run(&definition, &payload).await;
    assert_eq!(app.ended(&source).await["status"], "failure");
    let retried = app.ended(&app.retry(&source).await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let each = &retried["executionState"]["each"];
    assert_eq!(each["status"], "success");
    assert_eq!(each["iterations"][0]["pay"]["originRunId"], source.as_str());
    assert_eq!(each["iterations"].as_array().unwrap().len(), 3);
    let id = retried["id"].as_str().unwrap();
    let expected = [
        format!("{source}/each[0].pay/1"),
        format!("{source}/each[1].pay/1"),
        format!("{source}/each[2].pay/1"),
        format!("{source}/each[1].pay/1"),
        // A rejection is no effect: the next attempt is another one.
        format!("{source}/each[2].pay/2@{id}"),
    ];
    assert_eq!(keys(&target, "/pay"), expected);
    app.stop().await;
}

/// root -> a [b [c [pay]]] over two items each.
fn nested(target: &Target) -> Value {
    let each = |array: &str, body: &str| json!({ "type": "for-each", "payload": { "array": array }, "loopBody": [body] });
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["a"] },
        "a": { "type": "for-each", "payload": { "array": ["x", "y"] }, "loopBody": ["b"], "children": ["last"] },
        "b": each("{{root.result.list}}", "c"),
        "c": each("{{root.result.list}}", "pay"),
        "pay": post(
            target,
            "/pay/{{$for.a.item}}{{$parent_item}}{{$item}}",
            &json!("{{$for.a.index}}{{$parent_index}}{{$index}}")
        ),
        "last": post(target, "/last", &json!(1))
    } })
}

async fn promise_3_failed_items_at_three_levels_run_alone(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/pay/x12", [503]);
    target.answer_with("/pay/y21", [503]);
    target.answer_with("/last", [500]);
    let source = app
        .start_run(&nested(&target), &json!({ "list": [1, 2] }))
        .await;
    let failed = app.ended(&source).await;
    assert_eq!(failed["status"], "failure");
    let a = &failed["executionState"]["a"];
    assert_eq!(a["status"], "partial");
    assert_eq!(a["iterations"][0]["b"]["status"], "partial");
    assert_eq!(
        a["iterations"][0]["b"]["iterations"][1]["c"]["status"],
        "success"
    );
    let before = target.calls().len();
    let retried = app.ended(&app.retry(&source).await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let paths: Vec<_> = target.calls()[before..]
        .iter()
        .map(|call| call.path.clone())
        .collect();
    assert_eq!(paths, ["/pay/x12", "/pay/y21", "/last"]);
    let a = &retried["executionState"]["a"];
    let path = |run: &Value, inner: [usize; 3]| {
        let [x, y, z] = inner;
        run["iterations"][x]["b"]["iterations"][y]["c"]["iterations"][z]["pay"].clone()
    };
    assert_eq!(path(a, [0, 0, 0])["originRunId"], source.as_str());
    assert!(path(a, [0, 0, 1]).get("originRunId").is_none());
    app.stop().await;
}

async fn an_imported_loop_goes_on_with_its_failed_and_never_started_items(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let done = json!({ "type": "http-request", "status": "success", "result": { "status": 201 } });
    let failed =
        json!({ "type": "http-request", "status": "failure", "error": { "class": "transient" } });
    let noted = json!({ "type": "log", "status": "success", "context": { "kept": 1.0 } });
    let import = json!({
        "id": "run_imported", "status": "cancelled", "triggerNodeId": "root",
        "workflowDefinition": paying(&target),
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": list(&["not", "read", "again"]) },
            "each": {
                "type": "for-each", "status": "cancelled",
                "input": { "array": [{ "to": "a" }, { "to": "b" }, { "to": "c" }, { "to": "d" }] },
                "iterations": [{ "pay": done, "note": noted }, { "pay": failed }, { "pay": done }, {}]
            },
            "after": { "type": "log", "status": "pending" }
        }
    });
    app.post("/v1/runs/import", &import).await;
    let shown = app.get("/v1/runs/run_imported").await;
    assert_eq!(
        shown["executionState"], import["executionState"],
        "{shown:#}"
    );
    let only = app.get("/v1/runs/run_imported?nodeIds=each").await;
    assert_eq!(
        only["executionState"]["each"],
        import["executionState"]["each"]
    );
    let retried = app.ended(&app.retry("run_imported").await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let sent: Vec<_> = bodies(&target, "/pay")
        .iter()
        .map(|body| body["to"].clone())
        .collect();
    assert_eq!(sent, ["b", "d"]);
    let each = &retried["executionState"]["each"];
    assert_eq!(each["iterations"][2]["note"]["input"]["message"], "c: 201");
    assert_eq!(
        each["iterations"][0]["note"]["context"],
        json!({ "kept": 1.0 })
    );
    assert_eq!(
        retried["executionState"]["after"]["input"]["message"],
        "4 paid"
    );
    app.stop().await;
}

async fn a_loop_of_which_every_item_failed_stops_the_run(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/pay", [400, 503]);
    let source = app.start_run(&paying(&target), &list(&["a", "b"])).await;
    let failed = app.ended(&source).await;
    assert_eq!(failed["status"], "failure", "{failed:#}");
    let each = &failed["executionState"]["each"];
    assert_eq!(each["error"]["code"], "iterations_failed");
    assert_eq!(each["error"]["class"], "permanent");
    assert_eq!(failed["executionState"]["after"]["status"], "pending");
    let retried = app.ended(&app.retry(&source).await).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    assert_eq!(target.calls_of("/pay").len(), 4);

    let nothing = app
        .start_run(&paying(&target), &json!({ "list": [] }))
        .await;
    let ended = app.ended(&nothing).await;
    assert_eq!(ended["status"], "success");
    assert_eq!(
        ended["executionState"]["each"]["result"]["iterationCount"],
        0
    );
    assert_eq!(
        ended["executionState"]["each"]["iterations"],
        json!([]),
        "{ended:#}"
    );

    for (list, code) in [
        (json!({ "list": "no array" }), "invalid_payload"),
        (json!({ "list": vec![0; 101] }), "too_many_iterations"),
        (json!({}), "missing_value"),
    ] {
        let ended = app
            .ended(&app.start_run(&paying(&target), &list).await)
            .await;
        assert_eq!(
            ended["executionState"]["each"]["error"]["code"], code,
            "{ended:#}"
        );
    }
    app.stop().await;
}

async fn a_held_iteration_holds_the_later_ones_and_what_follows_the_loop_only(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = paying(&target);
    definition["nodes"]["root"]["children"] = json!(["each", "beside"]);
    definition["nodes"]["beside"] = post(&target, "/beside", &json!(1));
    definition["nodes"]["pay"]["children"] = json!(["rest"]);
    definition["nodes"]["rest"] =
        json!({ "type": "delay", "payload": { "delayMs": 1500 }, "children": ["note"] });
    definition["nodes"]["each"]["loopBody"] = json!(["pay", "rest", "note"]);
    definition["nodes"]["after"] = post(&target, "/after", &json!(1));
    let run = app.start_run(&definition, &list(&["a", "b"])).await;
    let held = app
        .run_when(&run, |run| {
            run["status"] == "waiting" && run["waitingFor"] != "queue"
        })
        .await;
    assert_eq!(held["waitingFor"], "delay", "{held:#}");
    assert_eq!(target.calls_of("/beside").len(), 1, "{held:#}");
    assert_eq!(target.calls_of("/pay").len(), 1);
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "success", "{ended:#}");
    let order: Vec<_> = target
        .calls()
        .iter()
        .map(|call| call.path.clone())
        .collect();
    assert_eq!(order, ["/pay", "/beside", "/pay", "/after"]);
    // The loop, twice its three nodes, and two more, however often the run was taken up.
    assert_eq!(ended["totalCu"], 9, "{ended:#}");
    app.stop().await;
}

async fn what_follows_a_loop_reads_its_iterations(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = paying(&target);
    let message = json!([
        "{{each.iterations[1].pay.result.status}}",
        "{{each.result.iterations[0].pay.status}}",
        "{{each.result.iterations.1.status}}",
        "{{pay.result.status || 'not from outside'}}",
        "{{each.iterations[7].pay.result || 'none'}}"
    ]);
    definition["nodes"]["after"]["payload"]["message"] = json!("x");
    definition["nodes"]["after"]["payload"]["seen"] = message;
    let definition: Value =
        serde_json::from_str(&definition.to_string().replace('\'', "\\\"")).unwrap();
    // What is no ancestor is refused at a start and missing in an import.
    let body = json!({ "definition": definition, "payload": list(&["a", "b"]) });
    let (status, answer) = app.call("POST", "/v1/runs", Some(&body.to_string())).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!(400_228)),
        "{answer}"
    );
    let import = json!({
        "id": "run_reading", "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": definition,
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": list(&["a", "b"]) }
        }
    });
    app.post("/v1/runs/import", &import).await;
    let ended = app.ended(&app.retry("run_reading").await).await;
    assert_eq!(
        ended["executionState"]["after"]["input"]["seen"],
        json!([200, "success", "success", "not from outside", "none"]),
        "{ended:#}"
    );
    app.stop().await;
}
