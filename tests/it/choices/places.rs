//! Choices at places that are easily forgotten: in loops that are kept, in iterations that never
//! started, behind a loop, and against a chain that has moved on.

use serde_json::{Value, json};

use super::{plan, post, refused, retry, told};
use crate::support::{
    app::TestApp,
    elsewhere::{done, each, failed, imported, log},
    ledger::Ledger,
    on_both_engines,
    target::Target,
};

on_both_engines![
    a_call_in_doubt_behind_a_loop_with_something_named_is_resolved_again,
    iterations_of_a_loop_without_a_stored_array_are_conditional,
    a_result_is_given_in_an_iteration_of_a_loop_that_is_kept,
    a_tolerated_loop_runs_only_the_iteration_that_is_named,
    an_iteration_that_never_started_can_be_named,
    what_has_changed_is_passed_on_to_all_that_reads_it,
    a_plan_has_one_name_however_it_is_asked_for,
    the_chain_is_looked_at_before_anything_is_to_be_confirmed,
    a_given_branch_is_one_that_the_node_has,
    a_latest_definition_without_the_trigger_or_a_loop_is_incompatible,
];

async fn stale(app: &TestApp, run: &str, body: &Value, path: &str) -> Value {
    let shown = plan(app, run, body).await;
    let lines = shown["plan"]["nodes"].as_array().unwrap();
    let line = lines.iter().find(|line| line["path"] == path);
    line.unwrap_or_else(|| panic!("no {path} in {shown:#}"))["stale"].clone()
}

async fn a_call_in_doubt_behind_a_loop_with_something_named_is_resolved_again(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut after = post(&target, "/after", &[]);
    after["payload"]["body"] = json!("{{each.iterations.0.it.result.message}}");
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": each(&json!([0]), &["it"], &["after"]), "it": log("new", &[]), "after": after
    });
    let state = json!({
        "each": {
            "type": "for-each", "status": "success", "input": { "array": [0] },
            "iterations": [{ "it": done(&json!({ "message": "old" })) }]
        },
        "after": {
            "type": "http-request", "status": "running",
            "input": { "url": target.url("/after"), "method": "POST", "body": "old" }
        }
    });
    let run = imported(&app, nodes, state, json!({})).await;
    let retried = retry(&app, &run, &json!({ "fromNodeId": "each[0].it" })).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let call = &target.calls_of("/after")[0];
    let id = retried["id"].as_str().unwrap();
    let raised = format!("{run}/after/2@{id}");
    assert_eq!(
        (call.body.as_str(), call.key.as_deref()),
        ("new", Some(raised.as_str()))
    );
    app.stop().await;
}

async fn iterations_of_a_loop_without_a_stored_array_are_conditional(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": each(&json!("{{$props.xs}}"), &["x"], &[]), "x": log("{{$item}}", &["y"]),
        "y": log("y", &[])
    });
    let iterations = json!([{ "x": done(&json!({})) }, { "x": failed() }]);
    let state = json!({
        "each": { "type": "for-each", "status": "failure", "iterations": iterations }
    });
    let run = imported(&app, nodes, state, json!({ "propValues": { "xs": [5] } })).await;
    assert_eq!(
        told(&plan(&app, &run, &json!({})).await)[1..],
        [
            "each=execute:failed",
            "each[0].x=reuse:succeeded",
            "each[0].y=execute:never_started?",
            "each[1].x=execute:failed?",
            "each[1].y=execute:never_started?",
            "each[*].x=execute:never_started?",
            "each[*].y=execute:never_started?",
        ]
    );
    app.stop().await;
}

/// root -> each [x] -> f: `each` is over, in one iteration with a tolerated failure; `f` failed.
async fn tolerated_in_a_loop(app: &TestApp) -> String {
    let mut tolerant = log("{{root.none}}", &["y"]);
    tolerant["onError"] = json!("continue");
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": each(&json!([0, 1]), &["x", "y"], &["f"]), "x": tolerant,
        "y": log("{{x.result.v || \"nothing\"}}", &[]),
        "f": log("{{each.iterations.1.x.result.v || 0}}", &[])
    });
    let both = json!({ "x": failed(), "y": done(&json!({ "message": "nothing" })) });
    let state = json!({
        "each": {
            "type": "for-each", "status": "success", "input": { "array": [0, 1] },
            "iterations": [both, both]
        },
        "f": failed()
    });
    imported(app, nodes, state, json!({})).await
}

async fn a_result_is_given_in_an_iteration_of_a_loop_that_is_kept(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let run = tolerated_in_a_loop(&app).await;
    let body = json!({ "nodeResults": { "each[1].x": { "v": 7 } } });
    assert_eq!(
        told(&plan(&app, &run, &body).await)[1..],
        [
            "each=execute:iteration_named",
            "each[0].x=reuse:loop_reused",
            "each[0].y=reuse:succeeded",
            "each[1].x=reuse:pinned",
            "each[1].y=reuse:succeeded",
            "f=execute:failed",
        ]
    );
    let retried = retry(&app, &run, &body).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let state = &retried["executionState"];
    assert_eq!(state["f"]["input"]["message"], 7);
    assert_eq!(state["each"]["iterations"][0]["x"]["status"], "failure");
    assert_eq!(state["each"]["iterations"][1]["x"]["pinned"], true);

    // In a loop that runs anew there is no such iteration yet.
    let run = tolerated_in_a_loop(&app).await;
    let body = json!({ "mode": "all", "nodeResults": { "each[1].x": 1 } });
    assert_eq!(refused(&app, &run, &body).await.0, 400);
    app.stop().await;
}

async fn a_tolerated_loop_runs_only_the_iteration_that_is_named(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let mut tolerant = each(&json!([0, 1, 2]), &["x"], &["f"]);
    tolerant["onError"] = json!("continue");
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": tolerant, "x": log("x", &[]), "f": log("f", &[])
    });
    let state = json!({
        "each": {
            "type": "for-each", "status": "failure", "input": { "array": [0, 1, 2] },
            "iterations": [{ "x": failed() }, { "x": failed() }, { "x": failed() }]
        },
        "f": failed()
    });
    let run = imported(&app, nodes, state, json!({})).await;
    let body = json!({ "fromNodeId": "each[1].x" });
    assert_eq!(
        told(&plan(&app, &run, &body).await)[1..],
        [
            "each=execute:iteration_named",
            "each[0].x=reuse:loop_reused",
            "each[1].x=execute:named",
            "each[2].x=reuse:loop_reused",
            "f=execute:named",
        ]
    );
    let retried = retry(&app, &run, &body).await;
    let iterations = &retried["executionState"]["each"]["iterations"];
    let statuses = [0, 1, 2].map(|number| iterations[number]["x"]["status"].clone());
    assert_eq!(statuses, ["failure", "success", "failure"], "{retried:#}");
    assert_eq!(retried["status"], "partial");
    app.stop().await;
}

async fn an_iteration_that_never_started_can_be_named(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let nodes = json!({
        "root": { "children": ["each"] },
        "each": each(&json!([0, 1, 2]), &["x"], &[]), "x": log("x", &["y"]), "y": log("y", &[])
    });
    let both = json!({ "x": done(&json!({})), "y": done(&json!({})) });
    let state = json!({
        "each": {
            "type": "for-each", "status": "cancelled", "input": { "array": [0, 1, 2] },
            "iterations": [both, { "x": { "type": "log", "status": "cancelled" } }]
        }
    });
    let more = json!({ "status": "cancelled" });
    let run = imported(&app, nodes, state, more).await;
    let body = json!({ "fromNodeId": "each[2].y" });
    let (status, _, answer) = refused(&app, &run, &body).await;
    assert_eq!(status, 400);
    let message = answer["message"].as_str().unwrap();
    assert!(
        message.contains("`each[2].x` above it has not settled"),
        "{message}"
    );
    let body = json!({ "fromNodeId": "each[2].x" });
    assert_eq!(
        told(&plan(&app, &run, &body).await)[3..],
        [
            "each[0].y=reuse:succeeded",
            "each[1].x=execute:cancelled",
            "each[1].y=execute:never_started",
            "each[2].x=execute:named",
            "each[2].y=execute:named",
        ]
    );
    assert_eq!(retry(&app, &run, &body).await["status"], "success");
    app.stop().await;
}

async fn what_has_changed_is_passed_on_to_all_that_reads_it(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let mut tolerant = log("{{root.none}}", &["c"]);
    tolerant["onError"] = json!("continue");
    let mut block = log("{{$inputs.k}}", &[]);
    block["blockContext"] = json!({ "blockId": "b", "inputMapping": {
        "k": "{{$props.x}}", "unread": "{{$props.z}}"
    } });
    let nodes = json!({
        "root": { "children": ["part", "loop", "block", "old"] },
        "part": each(&json!([0, 1]), &["p"], &["t"]), "p": log("p", &[]), "t": tolerant,
        "c": log("c", &["f"]), "f": log("f", &[]),
        "loop": each(&json!("{{$props.xs}}"), &["x"], &[]), "x": log("{{$item}}", &[]),
        "block": block, "old": log("<< root.none || $props.x >>", &[])
    });
    let state = json!({
        "part": {
            "type": "for-each", "status": "partial", "input": { "array": [0, 1] },
            "iterations": [{ "p": done(&json!({})) }, { "p": failed() }]
        },
        "t": failed(), "c": done(&json!({})), "f": failed(),
        "loop": {
            "type": "for-each", "status": "success", "input": { "array": [5] },
            "iterations": [{ "x": done(&json!({})) }]
        },
        "block": done(&json!({})), "old": done(&json!({}))
    });
    let props = json!({ "propValues": { "x": 1, "xs": [5], "z": 1 } });
    let run = imported(&app, nodes, state, props).await;
    assert_eq!(stale(&app, &run, &json!({}), "c").await, json!(["t"]));
    let body = json!({ "propValues": { "x": 2, "xs": [6] } });
    assert_eq!(stale(&app, &run, &body, "block").await, json!(["$props.x"]));
    assert_eq!(stale(&app, &run, &body, "old").await, json!(["$props.x"]));
    assert_eq!(stale(&app, &run, &body, "loop").await, json!(["$props.xs"]));
    assert_eq!(stale(&app, &run, &body, "loop[0].x").await, json!(["loop"]));
    let body = json!({ "propValues": { "z": 2 } });
    assert_eq!(stale(&app, &run, &body, "block").await, Value::Null);
    app.stop().await;
}

async fn a_plan_has_one_name_however_it_is_asked_for(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["sideEffects"] = json!("unsafe");
    let nodes = json!({ "root": { "children": ["failed"] }, "failed": pay });
    let running = json!({ "type": "http-request", "status": "running" });
    let run = imported(&app, nodes, json!({ "failed": running }), json!({})).await;
    let name = plan(&app, &run, &json!({})).await["planHash"].clone();
    for same in [
        json!({ "mode": "failed" }),
        json!({ "definition": "snapshot", "acknowledge": [], "variables": {} }),
        json!({ "includePartial": true, "allowAgain": false, "reason": "why" }),
        json!({ "acknowledge": ["failed"] }),
    ] {
        assert_eq!(plan(&app, &run, &same).await["planHash"], name, "{same}");
    }
    let named = json!({ "fromNodeId": "failed", "acknowledge": ["failed"] });
    assert_ne!(plan(&app, &run, &named).await["planHash"], name);
    // What was shown can be confirmed.
    let body = json!({ "acknowledge": ["failed"], "planHash": name });
    assert_eq!(retry(&app, &run, &body).await["status"], "success");
    app.stop().await;
}

async fn the_chain_is_looked_at_before_anything_is_to_be_confirmed(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["sideEffects"] = json!("unsafe");
    let nodes = json!({ "root": { "children": ["pay"] }, "pay": pay });
    let running = json!({ "type": "http-request", "status": "running" });
    let run = imported(&app, nodes, json!({ "pay": running }), json!({})).await;
    assert_eq!(
        refused(&app, &run, &json!({})).await.1,
        "confirmation_required"
    );
    let retried = retry(&app, &run, &json!({ "acknowledge": ["pay"] })).await;
    assert_eq!(retried["status"], "success");
    for body in [
        json!({}),
        json!({ "acknowledge": ["pay"], "planHash": "drifted" }),
    ] {
        assert_eq!(
            refused(&app, &run, &body).await.1,
            "already_retried",
            "{body}"
        );
        let shown = plan(&app, &run, &body).await;
        assert_eq!(shown["refusal"]["reason"], "already_retried", "{body}");
    }
    app.stop().await;
}

async fn a_given_branch_is_one_that_the_node_has(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let mut child = log("x", &[]);
    child["branch"] = json!("then");
    let condition = json!({ "$and": [{ "{{root.none}}": { "$eq": 1 } }] });
    let nodes = json!({
        "root": { "children": ["if"] },
        "if": { "type": "if", "payload": { "condition": condition }, "children": ["yes"] },
        "yes": child
    });
    let state = json!({ "if": { "type": "if", "status": "failure" } });
    let run = imported(&app, nodes, state, json!({})).await;
    for bad in [
        json!({}),
        json!({ "branch": "maybe" }),
        json!("then"),
        json!(null),
    ] {
        let body = json!({ "nodeResults": { "if": bad } });
        let (status, _, answer) = refused(&app, &run, &body).await;
        assert_eq!(status, 400, "{body}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("then, else"), "{message}");
    }
    let body = json!({ "nodeResults": { "if": { "branch": "then" } } });
    let retried = retry(&app, &run, &body).await;
    assert_eq!(
        retried["executionState"]["yes"]["status"], "success",
        "{retried:#}"
    );
    app.stop().await;
}

async fn a_latest_definition_without_the_trigger_or_a_loop_is_incompatible(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let nodes = json!({
        "root": { "type": "manual", "children": ["outer"] },
        "outer": each(&json!([0]), &["inner"], &["y"]),
        "inner": each(&json!([0]), &["x"], &[]), "x": log("x", &[]), "y": log("y", &[])
    });
    let iteration = json!({ "x": done(&json!({})) });
    let inner = json!({
        "type": "for-each", "status": "success", "input": { "array": [0] },
        "iterations": [iteration]
    });
    let state = json!({
        "outer": {
            "type": "for-each", "status": "success", "input": { "array": [0] },
            "iterations": [{ "inner": inner }]
        },
        "y": failed()
    });
    let of = json!({ "workflowId": "wf_latest" });
    let run = imported(&app, nodes.clone(), state, of).await;
    let body = json!({ "definition": "latest" });
    let put = async |nodes: Value| {
        let path = "/v1/workflows/wf_latest";
        let text = json!({ "definition": { "nodes": nodes } }).to_string();
        assert_eq!(app.call("PUT", path, Some(&text)).await.0, 200);
    };
    let mut without_outer = nodes.clone();
    without_outer["root"]["children"] = json!(["inner"]);
    without_outer["inner"]["children"] = json!(["y"]);
    without_outer.as_object_mut().unwrap().remove("outer");
    put(without_outer).await;
    let (status, reason, answer) = refused(&app, &run, &body).await;
    assert_eq!((status, reason.as_str()), (409, "definition_incompatible"));
    let differences = answer["error"]["differences"].to_string();
    assert!(
        differences.contains("`outer[0].inner[0].x` is in another loop"),
        "{differences}"
    );
    let shown = plan(&app, &run, &body).await;
    assert_eq!(shown["refusal"]["reason"], "definition_incompatible");
    assert!(
        shown["plan"].is_object() && shown["report"]["blocking"][0].is_string(),
        "{shown:#}"
    );

    let mut renamed = nodes.clone();
    let trigger = renamed.as_object_mut().unwrap().remove("root").unwrap();
    renamed["start"] = trigger;
    put(renamed).await;
    let (status, reason, answer) = refused(&app, &run, &body).await;
    assert_eq!(
        (status, reason.as_str()),
        (409, "definition_incompatible"),
        "{answer}"
    );
    app.stop().await;
}
