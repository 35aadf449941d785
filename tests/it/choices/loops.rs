//! Naming what is in a loop, or the loop.

use serde_json::{Value, json};

use super::{plan, post, refused, retry, told};
use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    naming_a_node_in_an_iteration_names_what_is_below_it_there_and_what_follows_the_loop,
    a_node_is_named_in_an_iteration_of_a_loop_that_succeeded,
    a_loop_that_is_named_resolves_its_array_again_and_has_new_keys,
    an_iteration_has_a_verdict_of_its_own,
    a_given_result_stands_in_one_iteration,
];

/// root -> each [pay -> note] -> after, over `root.result.list`.
fn paying(target: &Target) -> Value {
    let mut pay = post(target, "/pay", &["note"]);
    pay["payload"]["body"] = json!("{{$item}}");
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": {
            "type": "for-each", "payload": { "array": "{{$vars.list}}" },
            "loopBody": ["pay", "note"], "children": ["after"]
        },
        "pay": pay,
        "note": post(target, "/note", &[]),
        "after": post(target, "/after", &[])
    }, "variableDefs": [{ "name": "list", "default": ["a", "b", "c"] }] })
}

async fn failed(app: &TestApp, target: &Target) -> String {
    target.answer_with("/note", [200, 503]);
    target.answer_with("/after", [503]);
    let run = app.start_run(&paying(target), &json!({})).await;
    let ended = app.ended(&run).await;
    assert_eq!(ended["status"], "failure", "{ended:#}");
    run
}

fn keys(target: &Target, path: &str) -> Vec<String> {
    let calls = target.calls_of(path);
    calls.into_iter().map(|call| call.key.unwrap()).collect()
}

async fn naming_a_node_in_an_iteration_names_what_is_below_it_there_and_what_follows_the_loop(
    ledger: Ledger,
) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed(&app, &target).await;
    let body = json!({ "fromNodeId": "each[2].pay" });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[1..],
        [
            "each=execute:failed",
            "each[0].pay=reuse:succeeded",
            "each[0].note=reuse:succeeded",
            "each[1].pay=reuse:succeeded",
            "each[1].note=execute:failed",
            "each[2].pay=execute:named",
            "each[2].note=execute:named",
            "after=execute:named",
        ]
    );
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let id = retried["id"].as_str().unwrap();
    assert_eq!(
        keys(&target, "/pay")[3..],
        [format!("{source}/each[2].pay/2@{id}")]
    );
    let notes = [
        format!("{source}/each[1].note/1"),
        format!("{source}/each[2].note/2@{id}"),
    ];
    assert_eq!(keys(&target, "/note")[3..], notes);
    for from in ["each[3].pay", "each[1].none"] {
        let (status, _, answer) = refused(&app, id, &json!({ "fromNodeId": from })).await;
        assert_ne!(status, 200, "{answer}");
    }
    app.stop().await;
}

async fn a_node_is_named_in_an_iteration_of_a_loop_that_succeeded(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/after", [503]);
    let source = app.start_run(&paying(&target), &json!({})).await;
    assert_eq!(app.ended(&source).await["status"], "failure");
    let body = json!({ "fromNodeId": "each[1].note" });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[1..],
        [
            "each=execute:iteration_named",
            "each[0].pay=reuse:succeeded",
            "each[0].note=reuse:succeeded",
            "each[1].pay=reuse:succeeded",
            "each[1].note=execute:named",
            "each[2].pay=reuse:succeeded",
            "each[2].note=reuse:succeeded",
            "after=execute:named",
        ]
    );
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let id = retried["id"].as_str().unwrap();
    assert_eq!(target.calls_of("/pay").len(), 3);
    assert_eq!(
        keys(&target, "/note")[3..],
        [format!("{source}/each[1].note/2@{id}")]
    );
    app.stop().await;
}

async fn a_loop_that_is_named_resolves_its_array_again_and_has_new_keys(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed(&app, &target).await;
    let body = json!({ "fromNodeId": "each", "variables": { "list": ["x"] } });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[1..],
        [
            "each=execute:named",
            "each[*].pay=execute:never_started?",
            "each[*].note=execute:never_started?",
            "after=execute:named",
        ]
    );
    target.answer_with("/after", [503]);
    let second = retry(&app, &source, &body).await;
    assert_eq!(second["status"], "failure", "{second:#}");
    let by = second["id"].as_str().unwrap();
    assert_eq!(
        keys(&target, "/pay")[3..],
        [format!("{source}/each[0].pay/2@{by}")]
    );
    assert_eq!(target.calls_of("/pay")[3].body, "x");
    // Iterations that are there again had keys of their own before: none is used twice.
    let body = json!({ "fromNodeId": "each", "variables": { "list": ["x", "y"] } });
    let third = retry(&app, by, &body).await;
    assert_eq!(third["status"], "success", "{third:#}");
    let id = third["id"].as_str().unwrap();
    let expected = [0, 1].map(|n| format!("{source}/each[{n}].pay/3@{id}"));
    assert_eq!(keys(&target, "/pay")[4..], expected);
    app.stop().await;
}

async fn an_iteration_has_a_verdict_of_its_own(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed(&app, &target).await;
    let shown = plan(&app, &source, &json!({})).await;
    assert_eq!(
        shown["plan"]["nodes"][1]["iterations"],
        json!([
            { "index": 0, "verdict": "reuse", "reason": "succeeded" },
            { "index": 1, "verdict": "execute", "reason": "failed" },
            { "index": 2, "verdict": "reuse", "reason": "succeeded" }
        ])
    );
    app.stop().await;
}

async fn a_given_result_stands_in_one_iteration(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed(&app, &target).await;
    let body = json!({ "nodeResults": { "each[1].note": "by hand" } });
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let each = &retried["executionState"]["each"];
    assert_eq!(each["status"], "success");
    assert_eq!(each["iterations"][1]["note"]["result"], "by hand");
    assert_eq!(target.calls_of("/note").len(), 3);
    app.stop().await;
}
