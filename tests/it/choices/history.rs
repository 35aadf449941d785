//! What is known of a node's effect, of its input and of its secrets lasts over the line of retries.

use serde_json::{Value, json};

use super::{plan, post, retry, told};
use crate::support::{
    app::TestApp,
    elsewhere::{each, imported},
    ledger::Ledger,
    on_both_engines,
    target::Target,
};

on_both_engines![
    an_input_that_is_to_be_resolved_again_is_so_in_a_later_retry_too,
    a_given_result_does_not_forget_the_keys_that_were_used,
    a_given_result_of_a_loop_does_not_forget_the_keys_in_it,
    a_loop_that_is_skipped_does_not_forget_the_keys_in_it,
    a_loop_without_a_stored_array_has_new_keys_when_it_is_named,
    secrets_stay_masked_when_a_result_is_given_or_a_loop_is_named,
    an_imported_success_that_is_named_is_another_effect,
    imported_attempts_say_what_became_of_the_key,
    imported_attempts_count_however_they_are_written,
    what_was_never_sent_is_not_compared,
    a_call_that_was_not_sent_leaves_the_one_before_it_as_it_was,
    variables_of_an_import_win_over_those_of_an_older_retry,
];

const NODE: &str = "http-request";

fn id(run: &Value) -> String {
    run["id"].as_str().unwrap().to_owned()
}

fn keys(target: &Target, path: &str) -> Vec<String> {
    let calls = target.calls_of(path);
    calls.into_iter().map(|call| call.key.unwrap()).collect()
}

fn input(target: &Target, path: &str, body: &Value) -> Value {
    json!({ "url": target.url(path), "method": "POST", "body": body })
}

/// A run that stopped, with the trigger's record added.
fn stopped(id: &str, nodes: &Value, mut state: Value) -> Value {
    state["root"] = json!({ "type": "manual", "status": "success", "result": {} });
    json!({
        "id": id, "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": { "nodes": nodes }, "executionState": state
    })
}

async fn an_input_that_is_to_be_resolved_again_is_so_in_a_later_retry_too(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["payload"]["body"] = json!({ "v": "{{$props.v}}" });
    let nodes = json!({
        "root": { "type": "manual", "children": ["a", "pay"] },
        "a": post(&target, "/a", &[]), "pay": pay
    });
    let state = json!({
        "a": { "type": NODE, "status": "failure" },
        "pay": { "type": NODE, "status": "running", "input": input(&target, "/pay", &json!({ "v": 1 })) }
    });
    let mut import = stopped("run_a", &nodes, state);
    import["propValues"] = json!({ "v": 1 });
    app.post("/v1/runs/import", &import).await;
    target.answer_with("/a", [503]);
    let first = retry(&app, "run_a", &json!({ "propValues": { "v": 2 } })).await;
    assert_eq!(target.calls_of("/pay").len(), 0);
    let second = retry(&app, &id(&first), &json!({})).await;
    assert_eq!(second["status"], "success", "{second:#}");
    assert_eq!(target.calls_of("/pay")[0].body, r#"{"v":2}"#);
    assert_eq!(
        keys(&target, "/pay"),
        [format!("run_a/pay/2@{}", id(&second))]
    );
    app.stop().await;
}

async fn a_given_result_does_not_forget_the_keys_that_were_used(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["pay"] },
        "pay": post(&target, "/pay", &["b"]), "b": post(&target, "/b", &[])
    } });
    target.answer_with("/pay", [400]);
    target.answer_with("/b", [503]);
    let run = app.start_run(&definition, &json!({})).await;
    app.ended(&run).await;
    let given = json!({ "nodeResults": { "pay": { "x": 1 } } });
    let first = retry(&app, &run, &given).await;
    assert_eq!(first["status"], "failure", "{first:#}");
    let second = retry(&app, &id(&first), &json!({ "fromNodeId": "pay" })).await;
    let expected = [
        format!("{run}/pay/1"),
        format!("{run}/pay/2@{}", id(&second)),
    ];
    assert_eq!(keys(&target, "/pay"), expected);
    app.stop().await;
}

async fn a_given_result_of_a_loop_does_not_forget_the_keys_in_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": {
            "type": "for-each", "payload": { "array": [0, 1] },
            "loopBody": ["pay"], "children": ["b"]
        },
        "pay": post(&target, "/pay", &[]), "b": post(&target, "/b", &[])
    } });
    target.answer_with("/pay", [500, 500]);
    target.answer_with("/b", [503]);
    let run = app.start_run(&definition, &json!({})).await;
    app.ended(&run).await;
    let given = json!({ "nodeResults": { "each": {} } });
    let first = retry(&app, &run, &given).await;
    assert_eq!(first["status"], "failure", "{first:#}");
    let second = retry(&app, &id(&first), &json!({ "fromNodeId": "each" })).await;
    let by = id(&second);
    let expected = [
        format!("{run}/each[0].pay/2@{by}"),
        format!("{run}/each[1].pay/2@{by}"),
    ];
    assert_eq!(keys(&target, "/pay")[2..], expected);
    app.stop().await;
}

async fn a_loop_that_is_skipped_does_not_forget_the_keys_in_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let condition = json!({ "$and": [{ "{{root.a}}": { "$eq": 1 } }] });
    let mut each = each(&json!([0]), &["pay"], &[]);
    each["branch"] = json!("then");
    let mut other = post(&target, "/other", &[]);
    other["branch"] = json!("else");
    let nodes = json!({
        "root": { "children": ["if"] },
        "if": { "type": "if", "payload": { "condition": condition }, "children": ["each", "other"] },
        "each": each, "pay": post(&target, "/pay", &[]), "other": other
    });
    let pay = json!({ "type": NODE, "status": "failure", "attempts": [{
        "number": 1, "effectKey": "run_elsewhere/each[0].pay/1", "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:01Z", "error": { "class": "transient", "code": "http_503", "message": "x" }
    }] });
    let state = json!({
        "if": { "type": "if", "status": "failure" },
        "each": {
            "type": "for-each", "status": "failure", "input": { "array": [0] },
            "iterations": [{ "pay": pay }]
        }
    });
    let run = imported(&app, nodes, state, json!({})).await;
    target.answer_with("/other", [503]);
    let aside = json!({ "nodeResults": { "if": { "branch": "else" } } });
    let first = retry(&app, &run, &aside).await;
    assert_eq!(first["status"], "failure", "{first:#}");
    let second = retry(&app, &id(&first), &json!({ "fromNodeId": "if" })).await;
    assert_eq!(second["status"], "success", "{second:#}");
    let sent = keys(&target, "/pay");
    assert!(
        sent[0].starts_with(&format!("{run}/each[0].pay/")),
        "{sent:?}"
    );
    assert_ne!(sent[0], format!("{run}/each[0].pay/1"));
    app.stop().await;
}

/// root -> each [pay] over `$vars.list`, which is `[1]`.
fn paying(target: &Target) -> Value {
    json!({
        "root": { "type": "manual", "children": ["each"] },
        "each": { "type": "for-each", "payload": { "array": [1] }, "loopBody": ["pay"] },
        "pay": post(target, "/pay", &[])
    })
}

async fn a_loop_without_a_stored_array_has_new_keys_when_it_is_named(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let state = json!({ "each": { "type": "for-each", "status": "failure", "iterations": [
        { "pay": { "type": NODE, "status": "running", "input": input(&target, "/pay", &json!(0)) } }
    ] } });
    app.post(
        "/v1/runs/import",
        &stopped("run_a", &paying(&target), state),
    )
    .await;
    let first = retry(&app, "run_a", &json!({ "fromNodeId": "each" })).await;
    let expected = [format!("run_a/each[0].pay/2@{}", id(&first))];
    assert_eq!(keys(&target, "/pay"), expected);
    app.stop().await;
}

async fn secrets_stay_masked_when_a_result_is_given_or_a_loop_is_named(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut nodes = paying(&target);
    nodes["root"]["children"] = json!(["p", "each"]);
    nodes["each"]["children"] = json!(["end"]);
    nodes["each"]["payload"]["array"] = json!([1, 2]);
    nodes["p"] = post(&target, "/p", &[]);
    nodes["end"] = post(&target, "/end", &[]);
    let secret = json!({
        "type": NODE, "status": "failure", "secretKeys": ["body"],
        "input": input(&target, "/p", &json!("***"))
    });
    let each = json!({
        "type": "for-each", "status": "failure", "input": { "array": [1, 2] },
        "iterations": [{ "pay": secret }]
    });
    let state = json!({ "p": secret, "each": each });
    app.post("/v1/runs/import", &stopped("run_a", &nodes, state))
        .await;
    target.answer_with("/end", [503, 503]);
    let check = |run: &Value| {
        for pay in run["executionState"]["each"]["iterations"]
            .as_array()
            .unwrap()
        {
            assert_eq!(pay["pay"]["input"]["body"], "***", "{run:#}");
        }
    };
    // The second iteration never started before.
    let given = json!({ "nodeResults": { "p": 1 } });
    let first = retry(&app, "run_a", &given).await;
    check(&first);
    let second = retry(&app, &id(&first), &json!({ "fromNodeId": "each" })).await;
    check(&second);
    let third = retry(&app, &id(&second), &json!({ "mode": "all" })).await;
    assert_eq!(third["status"], "success", "{third:#}");
    check(&third);
    assert_eq!(third["executionState"]["p"]["input"]["body"], "***");
    app.stop().await;
}

async fn an_imported_success_that_is_named_is_another_effect(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let nodes = json!({
        "root": { "type": "manual", "children": ["p"] },
        "p": post(&target, "/p", &["q"]), "q": post(&target, "/q", &[])
    });
    let state = json!({
        "p": { "type": NODE, "status": "success", "result": {} },
        "q": { "type": NODE, "status": "failure" }
    });
    app.post("/v1/runs/import", &stopped("run_a", &nodes, state))
        .await;
    let run = retry(&app, "run_a", &json!({ "fromNodeId": "p" })).await;
    assert_eq!(keys(&target, "/p"), [format!("run_a/p/2@{}", id(&run))]);
    assert_eq!(keys(&target, "/q"), ["run_a/q/1"]);
    app.stop().await;
}

fn attempt(number: u32, key: &str, class: &str, code: &str) -> Value {
    json!({
        "number": number, "effectKey": key, "startedAt": "2026-01-01T00:00:00Z",
        "finishedAt": "2026-01-01T00:00:01Z",
        "error": { "class": class, "code": code, "message": "m" }
    })
}

async fn imported_attempts_say_what_became_of_the_key(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let nodes = json!({
        "root": { "type": "manual", "children": ["rejected", "raised"] },
        "rejected": post(&target, "/rejected", &[]), "raised": post(&target, "/raised", &[])
    });
    let rejected = json!([attempt(1, "run_0/rejected/1", "permanent", "http_400")]);
    let raised = json!([
        attempt(1, "run_0/raised/1", "in_doubt", "timed_out"),
        attempt(2, "run_0/raised/2@run_1", "transient", "http_503"),
    ]);
    let failed = |path: &str, attempts: Value| {
        let input = input(&target, path, &json!({ "of": path }));
        json!({ "type": NODE, "status": "failure", "input": input, "attempts": attempts })
    };
    let state = json!({
        "rejected": failed("/rejected", rejected), "raised": failed("/raised", raised)
    });
    app.post("/v1/runs/import", &stopped("run_a", &nodes, state))
        .await;
    let shown = told(&plan(&app, "run_a", &json!({})).await);
    assert_eq!(
        shown[1..],
        ["rejected=execute:failed", "raised=execute:failed"]
    );
    let run = retry(&app, "run_a", &json!({})).await;
    assert_eq!(
        keys(&target, "/rejected"),
        [format!("run_a/rejected/2@{}", id(&run))]
    );
    assert_eq!(keys(&target, "/raised"), ["run_a/raised/2@run_1"]);
    app.stop().await;
}

/// An address where nobody listens.
async fn nowhere() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    format!("http://{}/", listener.local_addr().unwrap())
}

/// root -> pay, a POST to `$props.url`.
fn to_given_url() -> Value {
    json!({
        "root": { "type": "manual", "children": ["pay"] },
        "pay": { "type": NODE, "payload": { "url": "{{$props.url}}", "method": "POST", "body": "x" } }
    })
}

async fn imported_attempts_count_however_they_are_written(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["sideEffects"] = json!("unsafe");
    let nodes = json!({ "root": { "children": ["pay"] }, "pay": pay });
    let open = json!({ "number": 1, "startedAt": "2026-01-01T00:00:00Z" });
    for (attempts, verdict) in [
        (json!([{ "error": { "class": "in_doubt" } }]), "in_doubt"),
        (
            json!([{ "number": "1", "startedAt": 1_700_000_000 }]),
            "in_doubt",
        ),
        (
            json!([open, { "finishedAt": "x", "error": "reset" }]),
            "in_doubt",
        ),
        (json!([{ "error": "connection reset" }]), "execute"),
        // A known outcome, though nobody wrote down when.
        (
            json!([{ "error": { "class": "permanent", "code": "http_400" } }]),
            "execute",
        ),
    ] {
        let state = json!({ "pay": { "type": NODE, "status": "failure", "attempts": attempts } });
        let run = imported(&app, nodes.clone(), state, json!({})).await;
        let shown = plan(&app, &run, &json!({})).await;
        assert_eq!(shown["plan"]["nodes"][1]["verdict"], verdict, "{attempts}");
        let refusal = &shown["refusal"]["reason"];
        assert_eq!(
            refusal == "confirmation_required",
            verdict == "in_doubt",
            "{attempts}"
        );
        let seen = app.get(&format!("/v1/runs/{run}")).await;
        assert!(
            seen["executionState"]["pay"]["attempts"].is_array(),
            "{seen:#}"
        );
    }
    app.stop().await;
}

async fn what_was_never_sent_is_not_compared(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    for (number, url) in [nowhere().await, "no url".into(), "http://10.0.0.1/".into()]
        .into_iter()
        .enumerate()
    {
        let path = format!("/pay/{number}");
        let body = json!({
            "definition": { "nodes": to_given_url() }, "propValues": { "url": url }
        });
        let run = app.post("/v1/runs", &body).await["runId"].clone();
        let run = run.as_str().unwrap();
        let ended = app.ended(run).await;
        let pay = &ended["executionState"]["pay"];
        assert_eq!(pay["effect"]["last"], "unsent", "{pay:#}");
        let body = json!({ "propValues": { "url": target.url(&path) } });
        let retried = retry(&app, run, &body).await;
        assert_eq!(retried["status"], "success", "{retried:#}");
        assert_eq!(keys(&target, &path), [format!("{run}/pay/1")]);
    }
    app.stop().await;
}

async fn a_call_that_was_not_sent_leaves_the_one_before_it_as_it_was(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let sent = json!({ "url": target.url("/pay"), "method": "POST", "body": "x" });
    let state = json!({
        "pay": { "type": NODE, "status": "running", "input": sent, "secretKeys": ["body"] }
    });
    let mut import = stopped("run_a", &to_given_url(), state);
    import["propValues"] = json!({ "url": target.url("/pay") });
    app.post("/v1/runs/import", &import).await;
    let url = nowhere().await;
    let body = json!({ "propValues": { "url": url } });
    let first = retry(&app, "run_a", &body).await;
    let pay = &first["executionState"]["pay"];
    assert_eq!(pay["input"]["url"], url, "{pay:#}");
    assert_eq!(pay["effect"]["last"], "in_doubt", "{pay:#}");
    let known = &pay["effect"]["sentInput"];
    assert_eq!(known["url"], target.url("/pay"), "{pay:#}");
    assert_eq!(known["body"], "***", "secrets are masked here too");
    // The call in doubt is the first one: with its input its key is good.
    let body = json!({ "propValues": { "url": target.url("/pay") } });
    let second = retry(&app, &id(&first), &body).await;
    assert_eq!(second["status"], "success", "{second:#}");
    assert_eq!(keys(&target, "/pay"), ["run_a/pay/1"]);
    assert_eq!(
        second["executionState"]["pay"]["effect"].get("sentInput"),
        None
    );
    app.stop().await;
}

async fn variables_of_an_import_win_over_those_of_an_older_retry(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["payload"]["body"] = json!("{{$vars.r}}");
    let nodes = json!({ "root": { "type": "manual", "children": ["pay"] }, "pay": pay });
    let state = json!({ "pay": { "type": NODE, "status": "failure" } });
    let mut import = stopped("run_a", &nodes, state);
    import["workflowDefinition"]["variableDefs"] = json!([{ "name": "r", "default": 1 }]);
    app.post("/v1/runs/import", &import).await;
    target.answer_with("/pay", [503]);
    let first = retry(&app, "run_a", &json!({ "variables": { "r": 40 } })).await;
    import["id"] = "run_b".into();
    import["sourceRunId"] = first["id"].clone();
    import["variables"] = json!({ "r": 41 });
    app.post("/v1/runs/import", &import).await;
    retry(&app, "run_b", &json!({})).await;
    let calls = target.calls_of("/pay").into_iter();
    let bodies: Vec<_> = calls.map(|call| call.body).collect();
    assert_eq!(bodies, ["40", "41"]);
    app.stop().await;
}
