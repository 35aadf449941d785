//! Keys, acknowledgements and what is sent again.

use serde_json::{Value, json};

use super::{paths, plan, post, refused, retry, told};
use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    an_unsafe_call_in_doubt_is_repeated_only_on_somebodys_word,
    a_call_in_doubt_repeats_what_it_sent_unless_values_change,
    a_new_key_can_be_forced,
    the_effect_of_a_node_that_is_not_reached_is_not_forgotten,
];

/// root -> a -> pay (reads a and $vars.v), stopped with `pay` in doubt.
fn in_doubt(target: &Target, declared: &str) -> Value {
    let mut pay = post(target, "/pay", &[]);
    pay["payload"]["body"] = json!({ "a": "{{a.result.status}}", "v": "{{$vars.v}}" });
    pay["sideEffects"] = declared.into();
    let sent = json!({ "url": target.url("/pay"), "method": "POST", "body": "as it was sent" });
    json!({
        "id": format!("run_{declared}"), "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": {
            "variableDefs": [{ "name": "v", "default": 1 }],
            "nodes": {
                "root": { "type": "manual", "children": ["a"] },
                "a": post(target, "/a", &["pay"]),
                "pay": pay
            }
        },
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "a": { "type": "http-request", "status": "success", "result": { "status": 200 } },
            "pay": { "type": "http-request", "status": "running", "input": sent }
        }
    })
}

async fn an_unsafe_call_in_doubt_is_repeated_only_on_somebodys_word(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    app.post("/v1/runs/import", &in_doubt(&target, "unsafe"))
        .await;
    let (status, reason, answer) = refused(&app, "run_unsafe", &json!({})).await;
    assert_eq!((status, reason.as_str()), (409, "confirmation_required"));
    assert_eq!(answer["error"]["paths"], json!(["pay"]));
    let shown = plan(&app, "run_unsafe", &json!({})).await;
    assert_eq!(shown["refusal"]["paths"], json!(["pay"]));
    assert_eq!(shown["plan"]["nodes"][2]["needsAcknowledge"], true);
    let (_, reason, _) = refused(&app, "run_unsafe", &json!({ "acknowledge": ["a"] })).await;
    assert_eq!(reason, "confirmation_required");
    let retried = retry(&app, "run_unsafe", &json!({ "acknowledge": ["pay"] })).await;
    assert_eq!(retried["status"], "success");
    assert_eq!(target.calls_of("/pay")[0].body, "as it was sent");
    app.stop().await;
}

async fn a_call_in_doubt_repeats_what_it_sent_unless_values_change(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    for (declared, body, sent, key) in [
        ("assumed", json!({}), json!("as it was sent"), "1"),
        (
            "idempotent",
            json!({ "fromNodeId": "pay" }),
            json!("as it was sent"),
            "1",
        ),
    ] {
        app.post("/v1/runs/import", &in_doubt(&target, declared))
            .await;
        let id = format!("run_{declared}");
        assert_eq!(
            told(&plan(&app, &id, &body).await)[2],
            "pay=in_doubt:outcome_unknown"
        );
        retry(&app, &id, &body).await;
        let call = target.calls_of("/pay").pop().unwrap();
        assert_eq!(call.body, sent.as_str().unwrap());
        assert_eq!(call.key.unwrap(), format!("{id}/pay/{key}"));
    }
    for (number, body) in [
        json!({ "variables": { "v": 2 } }),
        json!({ "fromNodeId": "a" }),
    ]
    .into_iter()
    .enumerate()
    {
        let mut import = in_doubt(&target, "assumed");
        let id = format!("run_changed_{number}");
        import["id"] = id.clone().into();
        app.post("/v1/runs/import", &import).await;
        let retried = retry(&app, &id, &body).await;
        let call = target.calls_of("/pay").pop().unwrap();
        assert!(call.body.starts_with("{\"a\":200,"), "{}", call.body);
        let run = retried["id"].as_str().unwrap();
        assert_eq!(
            call.key.unwrap(),
            format!("{id}/pay/2@{run}"),
            "another input, another effect"
        );
    }
    app.stop().await;
}

async fn a_new_key_can_be_forced(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    app.post("/v1/runs/import", &in_doubt(&target, "assumed"))
        .await;
    let retried = retry(&app, "run_assumed", &json!({ "newEffectKey": ["pay"] })).await;
    let call = target.calls_of("/pay").pop().unwrap();
    let run = retried["id"].as_str().unwrap();
    assert_eq!(call.key.unwrap(), format!("run_assumed/pay/2@{run}"));
    assert_eq!(call.body, "{\"a\":200,\"v\":1}");
    app.stop().await;
}

async fn the_effect_of_a_node_that_is_not_reached_is_not_forgotten(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut import = in_doubt(&target, "assumed");
    let nodes = &mut import["workflowDefinition"]["nodes"];
    nodes["root"]["children"] = json!(["if"]);
    let condition = json!({ "$and": [{ "{{$vars.v}}": { "$eq": 1 } }] });
    nodes["if"] = json!({ "type": "if", "payload": { "condition": condition }, "children": ["a", "pay", "end"] });
    nodes["pay"]["branch"] = "else".into();
    nodes["a"] = json!({ "type": "log", "payload": { "message": "x" }, "branch": "then" });
    nodes["pay"]["payload"]["body"] = json!("anew");
    nodes["end"] = post(&target, "/end", &[]);
    import["executionState"]["if"] = json!({
        "type": "if", "status": "success", "result": { "branch": "then" }
    });
    target.answer_with("/end", [503]);
    app.post("/v1/runs/import", &import).await;
    let second = retry(&app, "run_assumed", &json!({})).await;
    assert_eq!(second["status"], "failure", "{second:#}");
    assert_eq!(second["executionState"]["pay"]["status"], "skipped");
    assert_eq!(paths(&target, 0), ["/end"]);
    // Decided anew, the other branch is taken, and the call of long ago is still in doubt.
    let id = second["id"].as_str().unwrap();
    let body = json!({ "fromNodeId": "if", "variables": { "v": 2 } });
    assert!(
        told(&plan(&app, id, &body).await).contains(&"pay=in_doubt:outcome_unknown?".to_owned())
    );
    let third = retry(&app, id, &body).await;
    assert_eq!(third["status"], "success", "{third:#}");
    let call = target.calls_of("/pay").pop().unwrap();
    assert_eq!(
        call.key.unwrap(),
        format!("run_assumed/pay/2@{}", third["id"].as_str().unwrap())
    );
    app.stop().await;
}
