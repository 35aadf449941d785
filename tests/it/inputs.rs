//! What a node is given: block inputs, loops that came from elsewhere, variables, secrets.

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    elsewhere::{done, each, failed, imported, log},
    ledger::Ledger,
    on_both_engines,
    target::Target,
};

on_both_engines![
    a_block_input_that_points_at_nothing_is_missing_where_it_is_read,
    iterations_are_read_by_their_number,
    a_variable_that_a_node_sets_need_not_be_declared,
    the_trigger_that_fired_is_called_root_everywhere,
    what_is_below_a_loops_body_is_shown_in_its_iterations,
    a_secret_that_came_masked_is_resolved_again,
];

fn block(message: &str, mapping: &Value) -> Value {
    let mut node = log(message, &[]);
    node["blockContext"] = json!({ "blockId": "b", "inputMapping": mapping });
    node
}

async fn message(app: &TestApp, node: Value) -> Value {
    let definition =
        json!({ "nodes": { "root": { "type": "manual", "children": ["n"] }, "n": node } });
    let run = app.start_run(&definition, &json!({ "here": [1.5] })).await;
    let state = app.ended(&run).await["executionState"]["n"].take();
    match state["status"].as_str() {
        Some("success") => state["result"]["message"].clone(),
        _ => state["error"].clone(),
    }
}

async fn a_block_input_that_points_at_nothing_is_missing_where_it_is_read(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let mapping = || json!({ "gone": "{{root.none}}", "k": "{{root.here}}" });
    let fallback = block("{{$inputs.gone || \"else\"}}", &mapping());
    assert_eq!(message(&app, fallback).await, "else");
    assert_eq!(
        message(&app, block("{{$inputs.k}}", &mapping()))
            .await
            .to_string(),
        "[1.5]"
    );
    let whole = message(&app, block("{{$inputs}}", &mapping())).await;
    assert_eq!(whole.to_string(), r#"{"k":[1.5]}"#);
    let error = message(&app, block("{{$inputs.gone}}", &mapping())).await;
    assert_eq!(
        (&error["code"], &error["details"]["field"]),
        (&json!("missing_value"), &json!("message")),
        "{error}"
    );
    let twice = json!({ "k": { "{{root.here}}": 1, "[1.5]": 2 } });
    let error = message(&app, block("{{$inputs.k}}", &twice)).await;
    let field = error["details"]["field"].as_str().unwrap();
    assert!(field.starts_with("blockContext.inputMapping.k"), "{error}");
    app.stop().await;
}

async fn iterations_are_read_by_their_number(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": each(&json!([1, 2, 3]), &["b"], &["f"]), "b": log("b", &[]),
        "f": log("{{each.iterations[1].b.result.message}} {{each.result.iterations}}", &[])
    });
    let second = json!({ "b": done(&json!({ "message": "second" })) });
    let ends = json!([{ "status": "success" }, { "status": "success" }, { "status": "success" }]);
    let state = json!({
        "each": {
            "type": "for-each", "status": "success", "input": { "array": [1, 2, 3] },
            "iterations": [null, second, {}], "result": { "iterations": ends, "status": "success" }
        },
        "f": failed()
    });
    let run = imported(&app, nodes, state, json!({})).await;
    let retried = app.ended(&app.retry(&run).await).await;
    let message = &retried["executionState"]["f"]["input"]["message"];
    let (first, rest) = message.as_str().unwrap().split_once(' ').unwrap();
    assert_eq!(first, "second");
    let read: Value = serde_json::from_str(rest).unwrap();
    assert_eq!((&read[0], &read[2]), (&ends_alone(), &ends_alone()));
    assert_eq!(read[1]["b"]["result"]["message"], "second");
    app.stop().await;
}

fn ends_alone() -> Value {
    json!({ "status": "success" })
}

async fn a_variable_that_a_node_sets_need_not_be_declared(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let mut nodes = json!({
        "root": { "type": "manual", "children": ["set"] },
        "set": {
            "type": "set-variable", "payload": { "name": "v", "value": 5 }, "children": ["n"]
        },
        "n": log("{{$vars.v}}", &[])
    });
    let run = app.start_run(&json!({ "nodes": nodes }), &json!({})).await;
    let ended = app.ended(&run).await;
    assert_eq!(
        ended["executionState"]["n"]["result"]["message"], 5,
        "{ended:#}"
    );
    nodes["n"]["payload"]["message"] = json!("{{$vars.w}}");
    let body = json!({ "definition": { "nodes": nodes }, "payload": {} }).to_string();
    let (status, answer) = app.call("POST", "/v1/runs", Some(&body)).await;
    assert_eq!(
        (status, &answer["code"]),
        (400, &json!(400_228)),
        "{answer}"
    );
    app.stop().await;
}

async fn the_trigger_that_fired_is_called_root_everywhere(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({ "nodes": {
        "start": { "type": "manual", "children": ["n"] },
        "n": log("{{root.x}} {{$nodes.root.result.x}} {{$nodes[\"root\"].payload.x}}", &[])
    } });
    let run = app.start_run(&definition, &json!({ "x": 7 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(
        ended["executionState"]["n"]["result"]["message"], "7 7 7",
        "{ended:#}"
    );

    // So may its record be, in a run that comes from elsewhere.
    let nodes =
        json!({ "start": { "type": "manual", "children": ["n"] }, "n": log("{{root.a}}", &[]) });
    let run = json!({
        "id": "run_alias", "status": "failure", "workflowDefinition": { "nodes": nodes },
        "executionState": { "root": done(&json!({ "a": 1 })), "n": failed() }
    });
    app.post("/v1/runs/import", &run).await;
    let retried = app.ended(&app.retry("run_alias").await).await;
    assert_eq!(
        retried["executionState"]["n"]["result"]["message"], 1,
        "{retried:#}"
    );
    app.stop().await;
}

async fn what_is_below_a_loops_body_is_shown_in_its_iterations(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": each(&json!([1]), &["a"], &[]), "a": log("a", &["b"]), "b": log("b", &[])
    } });
    let run = app.start_run(&definition, &json!({})).await;
    let state = app.ended(&run).await["executionState"].take();
    let names: Vec<_> = state.as_object().unwrap().keys().collect();
    assert_eq!(names, ["root", "each"]);
    assert_eq!(state["each"]["iterations"][0]["b"]["status"], "success");
    app.stop().await;
}

async fn a_secret_that_came_masked_is_resolved_again(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let url = target.url("/pay");
    let call = json!({
        "type": "http-request",
        "payload": { "url": url, "method": "POST", "body": { "key": "{{root.a}}" } }
    });
    let nodes = json!({ "root": { "children": ["pay"] }, "pay": call });
    for (number, masked) in [
        json!({ "key": "***" }),
        json!({ "key": "sk-****1234" }),
        json!({ "key": "(hidden)" }),
        json!({ "key": "xxxxxxxx" }),
        json!([{ "deep": "••••••" }]),
        json!(null),
    ]
    .into_iter()
    .enumerate()
    {
        let state = json!({ "pay": {
            "type": "http-request", "status": "running", "secretKeys": ["body"],
            "input": { "url": url, "method": "POST", "body": masked }
        } });
        let run = imported(&app, nodes.clone(), state, json!({})).await;
        app.ended(&app.retry(&run).await).await;
        let call = &target.calls_of("/pay")[number];
        assert_eq!(call.body, r#"{"key":1}"#, "{masked}");
        assert_eq!(call.key.as_deref(), Some(format!("{run}/pay/1").as_str()));
    }
    app.stop().await;
}
