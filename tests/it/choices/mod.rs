//! The choices in the body of a retry: each does what it says, and the plan says so beforehand.

mod effects;
mod history;
mod loops;
mod places;

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    promise_6_what_is_planned_is_what_is_done,
    a_node_and_what_is_below_it_run_from_where_it_is_named,
    a_node_can_be_named_only_where_the_run_came_to,
    mode_all_runs_everything_but_the_trigger,
    a_partial_source_is_retried_only_if_the_request_says_so,
    given_results_stand_for_nodes_that_failed,
    changed_values_reach_what_executes_and_go_over_to_later_retries,
    a_branch_of_the_chain_is_made_on_purpose_only,
    a_plan_that_has_changed_since_it_was_shown_is_refused,
    a_retry_with_a_later_start_waits_for_it,
    wrong_choices_are_refused_and_change_nothing,
    the_chain_shows_every_retry_and_the_effective_outcome,
];

pub(super) fn post(target: &Target, path: &str, children: &[&str]) -> Value {
    let payload = json!({ "url": target.url(path), "method": "POST", "body": { "of": path } });
    json!({ "type": "http-request", "payload": payload, "children": children })
}

/// root -> a -> b -> c -> d, all calls.
fn line(target: &Target) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["a"] },
        "a": post(target, "/a", &["b"]),
        "b": post(target, "/b", &["c"]),
        "c": post(target, "/c", &["d"]),
        "d": post(target, "/d", &[])
    } })
}

async fn failed_line(app: &TestApp, target: &Target) -> String {
    target.answer_with("/c", [503]);
    let run = app.start_run(&line(target), &json!({})).await;
    assert_eq!(app.ended(&run).await["status"], "failure");
    run
}

pub(super) fn retry_path(run: &str) -> String {
    format!("/v1/runs/{run}/retry")
}

pub(super) async fn retry(app: &TestApp, run: &str, body: &Value) -> Value {
    let accepted = app.post(&retry_path(run), body).await;
    app.ended(accepted["id"].as_str().unwrap()).await
}

pub(super) async fn plan(app: &TestApp, run: &str, body: &Value) -> Value {
    app.post(&format!("/v1/runs/{run}/retry-plan"), body).await
}

/// `path=verdict:reason` of each line, with `?` where it is conditional.
pub(super) fn told(answer: &Value) -> Vec<String> {
    let lines = answer["plan"]["nodes"].as_array().unwrap().iter();
    let told = lines.map(|line| {
        let word = |name: &str| line[name].as_str().unwrap().to_owned();
        let mark = if line["conditional"] == true { "?" } else { "" };
        format!(
            "{}={}:{}{mark}",
            word("path"),
            word("verdict"),
            word("reason")
        )
    });
    told.collect()
}

pub(super) fn paths(target: &Target, from: usize) -> Vec<String> {
    let calls = target.calls().split_off(from);
    calls.into_iter().map(|call| call.path).collect()
}

pub(super) async fn refused(app: &TestApp, run: &str, body: &Value) -> (u16, String, Value) {
    let (status, answer) = app
        .call("POST", &retry_path(run), Some(&body.to_string()))
        .await;
    let reason = answer["error"]["reason"].as_str().unwrap_or_default();
    (status, reason.to_owned(), answer)
}

async fn promise_6_what_is_planned_is_what_is_done(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    let shown = plan(&app, &source, &json!({})).await;
    assert_eq!(
        told(&shown),
        [
            "root=reuse:trigger",
            "a=reuse:succeeded",
            "b=reuse:succeeded",
            "c=execute:failed",
            "d=execute:never_started"
        ]
    );
    assert_eq!(shown["refusal"], Value::Null);
    assert_eq!(
        plan(&app, &source, &json!({})).await,
        shown,
        "it changes nothing"
    );
    let before = target.calls().len();
    let body = json!({ "planHash": shown["planHash"] });
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success");
    assert_eq!(paths(&target, before), ["/c", "/d"]);
    let after = plan(&app, &source, &json!({})).await;
    assert_eq!(after["plan"], shown["plan"]);
    assert_eq!(after["refusal"]["reason"], "already_retried");
    assert_eq!(after["refusal"]["retriedByRunId"], retried["id"]);
    app.stop().await;
}

async fn a_node_and_what_is_below_it_run_from_where_it_is_named(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    let body = json!({ "fromNodeId": "b" });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[1..],
        [
            "a=reuse:succeeded",
            "b=execute:named",
            "c=execute:named",
            "d=execute:named"
        ]
    );
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success");
    let calls = target.calls();
    let keys: Vec<_> = calls[3..]
        .iter()
        .map(|call| call.key.clone().unwrap())
        .collect();
    let id = retried["id"].as_str().unwrap();
    let expected = [
        // A success that is repeated on somebody's word is another effect.
        format!("{source}/b/2@{id}"),
        format!("{source}/c/1"),
        format!("{source}/d/1"),
    ];
    assert_eq!(keys, expected);
    app.stop().await;
}

async fn a_node_can_be_named_only_where_the_run_came_to(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    for (from, part) in [
        ("root", "is a trigger"),
        ("none", "no node"),
        ("d", "`c` above it has not settled"),
        ("a[0].b", "no node"),
    ] {
        let (status, reason, answer) = refused(&app, &source, &json!({ "fromNodeId": from })).await;
        assert_eq!(
            (status, reason.as_str()),
            (400, "invalid_request"),
            "{answer}"
        );
        let message = answer["message"].as_str().unwrap();
        assert!(
            message.contains("fromNodeId") && message.contains(part),
            "{message}"
        );
    }
    let branches = json!({ "nodes": {
        "root": { "type": "manual", "children": ["if"] },
        "if": {
            "type": "if", "children": ["yes", "no", "end"],
            "payload": { "condition": { "$and": [{ "{{root.x}}": { "$eq": 1 } }] } }
        },
        "yes": { "type": "log", "branch": "then", "payload": { "message": "x" } },
        "no": { "type": "log", "branch": "else", "payload": { "message": "x" } },
        "end": post(&target, "/end", &[])
    } });
    target.answer_with("/end", [503]);
    let source = app.start_run(&branches, &json!({ "x": 1 })).await;
    app.ended(&source).await;
    let (status, _, answer) = refused(&app, &source, &json!({ "fromNodeId": "no" })).await;
    assert_eq!(status, 400);
    assert!(
        answer["message"]
            .as_str()
            .unwrap()
            .contains("branch was not taken"),
        "{answer}"
    );
    // Named from above, the branches are decided anew.
    let body = json!({ "fromNodeId": "if" });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[1..],
        [
            "if=execute:named",
            "yes=execute:named?",
            "no=execute:named?",
            "end=execute:named"
        ]
    );
    app.stop().await;
}

async fn mode_all_runs_everything_but_the_trigger(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    let retried = retry(&app, &source, &json!({ "mode": "all" })).await;
    assert_eq!(retried["status"], "success");
    assert_eq!(paths(&target, 3), ["/a", "/b", "/c", "/d"]);
    assert_eq!(
        retried["executionState"]["root"]["originRunId"],
        source.as_str()
    );
    app.stop().await;
}

async fn a_partial_source_is_retried_only_if_the_request_says_so(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut pay = post(&target, "/pay", &[]);
    pay["payload"]["body"] = json!("{{$item}}");
    let definition = json!({ "nodes": {
        "root": { "type": "manual", "children": ["each"] },
        "each": { "type": "for-each", "payload": { "array": [1, 2] }, "loopBody": ["pay"] },
        "pay": pay
    } });
    target.answer_with("/pay", [200, 503]);
    let source = app.start_run(&definition, &json!({})).await;
    assert_eq!(app.ended(&source).await["status"], "partial");
    let (status, reason, _) = refused(&app, &source, &json!({})).await;
    assert_eq!((status, reason.as_str()), (409, "run_not_retryable"));
    let shown = plan(&app, &source, &json!({})).await;
    assert_eq!(shown["refusal"]["reason"], "run_not_retryable");
    let retried = retry(&app, &source, &json!({ "includePartial": true })).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    assert_eq!(target.calls_of("/pay").len(), 3);
    let (status, reason, _) = refused(
        &app,
        retried["id"].as_str().unwrap(),
        &json!({ "includePartial": true }),
    )
    .await;
    assert_eq!((status, reason.as_str()), (409, "run_not_retryable"));
    app.stop().await;
}

async fn given_results_stand_for_nodes_that_failed(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut definition = line(&target);
    definition["nodes"]["d"]["payload"]["body"] = json!("{{c.result.id}}");
    target.answer_with("/c", [400]);
    let source = app.start_run(&definition, &json!({})).await;
    app.ended(&source).await;
    let body = json!({ "nodeResults": { "c": { "id": "by hand" } } });
    assert_eq!(
        told(&plan(&app, &source, &body).await)[3..],
        ["c=reuse:pinned", "d=execute:never_started"]
    );
    let retried = retry(&app, &source, &body).await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    let c = &retried["executionState"]["c"];
    assert_eq!(
        (&c["status"], &c["pinned"]),
        (&json!("success"), &json!(true))
    );
    assert_eq!(target.calls_of("/c").len(), 1);
    assert_eq!(target.calls_of("/d")[0].body, "by hand");

    for (results, part) in [
        (json!({ "a": 1 }), "`a` is a success already"),
        (json!({ "root": 1 }), "trigger"),
        (json!({ "none": 1 }), "no node of this run"),
    ] {
        target.answer_with("/c", [503]);
        let source = failed_line(&app, &target).await;
        let (status, _, answer) = refused(&app, &source, &json!({ "nodeResults": results })).await;
        assert_eq!(status, 400, "{answer}");
        assert!(
            answer["message"].as_str().unwrap().contains(part),
            "{answer}"
        );
    }

    // Nothing is left to run: the run ends at once.
    let source = failed_line(&app, &target).await;
    let before = target.calls().len();
    let body = json!({ "nodeResults": { "c": null, "d": [1] } });
    let retried = retry(&app, &source, &body).await;
    assert_eq!(
        (&retried["status"], &retried["totalCu"]),
        (&json!("success"), &json!(0))
    );
    assert_eq!(target.calls().len(), before);
    app.stop().await;
}

/// root -> a (reads v) -> set -> b (reads v and p)
fn valued(target: &Target) -> Value {
    let mut a = post(target, "/a", &["set"]);
    a["payload"]["body"] = json!("{{$vars.v}}");
    let mut b = post(target, "/b", &["c"]);
    b["payload"]["body"] = json!({ "v": "{{$vars.v}}", "w": "{{$vars.w}}", "p": "{{$props.p}}" });
    json!({
        "variableDefs": [
            { "name": "v", "type": "text", "default": "first", "lifetime": "reset" },
            { "name": "w", "type": "text", "default": "w", "lifetime": "reset" }
        ],
        "nodes": {
            "root": { "type": "manual", "children": ["a"] },
            "a": a,
            "set": { "type": "set-variable", "payload": { "name": "v", "value": "set" }, "children": ["b"] },
            "b": b,
            "c": post(target, "/c", &[])
        }
    })
}

async fn changed_values_reach_what_executes_and_go_over_to_later_retries(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/b", [503, 503]);
    let body =
        json!({ "definition": valued(&target), "payload": {}, "propValues": { "p": 1, "q": 2 } });
    let source = app.post("/v1/runs", &body).await["runId"]
        .as_str()
        .unwrap()
        .to_owned();
    app.ended(&source).await;
    let body = json!({ "propValues": { "p": 3 }, "variables": { "w": [null] } });
    let shown = plan(&app, &source, &body).await;
    let stale = |name: &str| {
        let lines = shown["plan"]["nodes"].as_array().unwrap();
        lines.iter().find(|line| line["path"] == name).unwrap()["stale"].clone()
    };
    assert_eq!(stale("a"), Value::Null);
    let second = retry(&app, &source, &body).await;
    assert_eq!(second["status"], "failure");
    assert_eq!(second["propValues"], json!({ "p": 3, "q": 2 }));
    let third = retry(&app, second["id"].as_str().unwrap(), &json!({})).await;
    assert_eq!(third["status"], "success");
    assert_eq!(third["propValues"], json!({ "p": 3, "q": 2 }));
    let sent: Vec<Value> = target
        .calls_of("/b")
        .iter()
        .map(|call| serde_json::from_str(&call.body).unwrap())
        .collect();
    let (old, new) = (
        json!({ "v": "set", "w": "w", "p": 1 }),
        json!({ "v": "set", "w": [null], "p": 3 }),
    );
    assert_eq!(sent, [old, new.clone(), new]);
    // Another input under a key that was sent is another effect.
    let keys: Vec<_> = target
        .calls_of("/b")
        .iter()
        .map(|call| call.key.clone().unwrap())
        .collect();
    let id = second["id"].as_str().unwrap();
    let raised = format!("{source}/b/2@{id}");
    assert_eq!(keys, [format!("{source}/b/1"), raised.clone(), raised]);

    // What is reused and reads a changed value is marked.
    target.answer_with("/c", [503]);
    let source = app.start_run(&valued(&target), &json!({})).await;
    let ended = app.ended(&source).await;
    assert_eq!(
        ended["executionState"]["b"]["error"]["code"], "missing_value",
        "{ended:#}"
    );
    let shown = plan(&app, &source, &json!({ "variables": { "v": 1 } })).await;
    let a = shown["plan"]["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .find(|line| line["path"] == "a");
    assert_eq!(a.unwrap()["stale"], json!(["$vars.v"]));
    app.stop().await;
}

async fn a_branch_of_the_chain_is_made_on_purpose_only(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/c", [503, 503, 503]);
    let source = app.start_run(&line(&target), &json!({})).await;
    app.ended(&source).await;
    let second = retry(&app, &source, &json!({})).await;
    let id = second["id"].as_str().unwrap();
    let (status, reason, answer) = refused(&app, &source, &json!({})).await;
    assert_eq!((status, reason.as_str()), (409, "already_retried"));
    assert_eq!(answer["error"]["retriedByRunId"], id);
    let branch = retry(&app, &source, &json!({ "allowAgain": true })).await;
    assert_eq!(branch["status"], "failure");
    assert_eq!(branch["sourceRunId"], source.as_str());
    let (_, reason, answer) = refused(&app, &source, &json!({})).await;
    assert_eq!(reason, "already_retried");
    assert_eq!(
        answer["error"]["retriedByRunId"], branch["id"],
        "the newest branch is the head"
    );
    assert_eq!(retry(&app, id, &json!({})).await["status"], "success");
    app.stop().await;
}

async fn a_plan_that_has_changed_since_it_was_shown_is_refused(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    let shown = plan(&app, &source, &json!({})).await["planHash"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({ "planHash": shown, "fromNodeId": "b" });
    let (status, reason, answer) = refused(&app, &source, &body).await;
    assert_eq!((status, reason.as_str()), (409, "plan_changed"), "{answer}");
    assert_eq!(answer["error"]["differences"], json!(["request", "plan"]));
    let now = answer["error"]["planHash"].clone();
    let body = json!({ "planHash": now, "fromNodeId": "b", "reason": "as shown" });
    assert_eq!(retry(&app, &source, &body).await["status"], "success");
    app.stop().await;
}

async fn a_retry_with_a_later_start_waits_for_it(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    let later = now() + chrono::TimeDelta::milliseconds(1_500);
    let body = json!({ "notBefore": later.to_rfc3339(), "lane": "bulk" });
    let accepted = app.post(&retry_path(&source), &body).await;
    assert_eq!(accepted["waitingFor"], "schedule");
    assert_eq!(accepted["retry"]["state"], "scheduled");
    let (status, reason, _) = refused(&app, &source, &json!({})).await;
    assert_eq!((status, reason.as_str()), (409, "retry_in_progress"));
    let ended = app.ended(accepted["id"].as_str().unwrap()).await;
    assert_eq!(ended["status"], "success");
    let started: chrono::DateTime<chrono::Utc> =
        ended["startedAt"].as_str().unwrap().parse().unwrap();
    assert!(started >= later, "{started} before {later}");
    let id = accepted["retry"]["id"].as_str().unwrap();
    let retry = app.get(&format!("/v1/retries/{id}")).await;
    assert_eq!(
        (&retry["lane"], &retry["state"]),
        (&json!("bulk"), &json!("created"))
    );

    let source = failed_line(&app, &target).await;
    let far = now() + chrono::TimeDelta::days(300);
    let body = json!({ "notBefore": far.to_rfc3339() });
    let accepted = app.post(&retry_path(&source), &body).await;
    let path = format!("/v1/runs/{}/cancel", accepted["id"].as_str().unwrap());
    assert_eq!(app.post(&path, &json!({})).await["status"], "cancelled");
    assert_eq!(
        app.ended(&app.retry(&source).await).await["status"],
        "success"
    );
    let beyond = now() + chrono::TimeDelta::days(367);
    let body = json!({ "notBefore": beyond.to_rfc3339() });
    assert_eq!(refused(&app, &source, &body).await.0, 400);
    app.stop().await;
}

async fn wrong_choices_are_refused_and_change_nothing(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let source = failed_line(&app, &target).await;
    for body in [
        json!({ "variables": { "undeclared": 1 } }),
        json!({ "acknowledge": ["none"] }),
        json!({ "newEffectKey": ["a"] }),
        json!({ "newEffectKey": ["none"] }),
        json!({ "fromNodeId": "b", "nodeResults": { "b": 1 } }),
        json!({ "mode": "everything" }),
        json!({ "dryRun": true }),
    ] {
        let (status, reason, answer) = refused(&app, &source, &body).await;
        assert_eq!(
            (status, reason.as_str()),
            (400, "invalid_request"),
            "{body}: {answer}"
        );
        let path = format!("/v1/runs/{source}/retry-plan");
        let (status, _) = app.call("POST", &path, Some(&body.to_string())).await;
        assert_eq!(status, 400, "{body}");
    }
    let (status, reason, _) = refused(&app, &source, &json!({ "definition": "latest" })).await;
    assert_eq!((status, reason.as_str()), (404, "workflow_not_found"));
    let (status, _) = app
        .call("POST", "/v1/runs/run_none/retry-plan", Some("{}"))
        .await;
    assert_eq!(status, 404);
    assert_eq!(app.get("/v1/retries").await["items"], json!([]));
    app.stop().await;
}

async fn the_chain_shows_every_retry_and_the_effective_outcome(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    target.answer_with("/c", [503, 503]);
    let first = app.start_run(&line(&target), &json!({})).await;
    app.ended(&first).await;
    let second = retry(&app, &first, &json!({ "reason": "again" })).await;
    let second = second["id"].as_str().unwrap().to_owned();
    let third = retry(&app, &second, &json!({})).await["id"]
        .as_str()
        .unwrap()
        .to_owned();
    for id in [&first, &second, &third] {
        let chain = app.get(&format!("/v1/runs/{id}/chain")).await;
        assert_eq!(chain["rootRunId"], first.as_str());
        assert_eq!(chain["root"]["status"], "failure");
        let retries = chain["retries"].as_array().unwrap();
        let line: Vec<_> = retries
            .iter()
            .map(|line| {
                (
                    line["sourceRunId"].clone(),
                    line["runId"].clone(),
                    line["status"].clone(),
                )
            })
            .collect();
        let expected = [
            (json!(first), json!(second), json!("failure")),
            (json!(second), json!(third), json!("success")),
        ];
        assert_eq!(line, expected);
        assert_eq!(retries[0]["reason"], "again");
        assert_eq!(
            chain["effective"],
            json!({ "runId": third, "status": "success" })
        );
    }
    let (status, _) = app.call("GET", "/v1/runs/run_none/chain", None).await;
    assert_eq!(status, 404);
    app.stop().await;
}

fn now() -> chrono::DateTime<chrono::Utc> {
    redrive::domain::Clock::now(&redrive::domain::SystemClock)
}
