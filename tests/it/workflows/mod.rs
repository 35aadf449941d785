//! Registered workflows: versions, starts, the variables that live on them, the latest definition.

use serde_json::{Value, json};

use crate::support::{app::TestApp, ledger::Ledger, on_both_engines, target::Target};

on_both_engines![
    another_definition_is_another_version,
    a_workflow_is_started_by_any_of_its_triggers,
    a_lasting_variable_lives_on_the_workflow,
    the_next_run_begins_with_the_value_that_was_committed_last,
    a_node_starts_a_run_of_another_workflow_and_goes_on,
    runs_that_start_each_other_go_only_so_deep,
    a_retry_reads_the_capture_of_its_root_and_its_lines_writes,
    a_retry_can_take_the_latest_definition,
    a_small_run_is_answered_when_it_has_ended,
    unknown_and_foreign_workflows_are_not_found,
];

async fn put(app: &TestApp, id: &str, body: &Value) -> Value {
    let path = format!("/v1/workflows/{id}");
    let (status, answer) = app.call("PUT", &path, Some(&body.to_string())).await;
    assert_eq!(status, 200, "{answer}");
    answer["data"].clone()
}

fn saying(message: &str) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["say"] },
        "say": { "type": "log", "payload": { "message": message } }
    } })
}

async fn another_definition_is_another_version(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let first = put(
        &app,
        "wf_1",
        &json!({ "name": "one", "definition": saying("a") }),
    )
    .await;
    assert_eq!(
        (&first["version"], &first["name"]),
        (&json!(1), &json!("one"))
    );
    let same = put(&app, "wf_1", &json!({ "definition": saying("a") })).await;
    assert_eq!(
        (&same["version"], &same["name"]),
        (&json!(1), &json!("one"))
    );
    let variables = json!([{ "name": "v", "default": 1.50 }]);
    let body = json!({ "definition": saying("{{$vars.v}}"), "variableDefs": variables });
    let second = put(&app, "wf_1", &body).await;
    assert_eq!(
        (&second["version"], &second["variableDefs"]),
        (&json!(2), &variables)
    );
    assert_eq!(app.get("/v1/workflows/wf_1").await, second);
    put(&app, "wf_2", &json!({ "definition": saying("x") })).await;
    let list = app.get("/v1/workflows").await;
    assert_eq!(list["items"].as_array().unwrap().len(), 2);

    let run = app
        .post("/v1/workflows/wf_1/run", &json!({ "version": 1 }))
        .await;
    let ended = app.ended(run["runId"].as_str().unwrap()).await;
    assert_eq!(ended["executionState"]["say"]["input"]["message"], "a");
    assert_eq!(
        (&ended["workflowId"], &ended["workflowVersion"]),
        (&json!("wf_1"), &json!(1))
    );
    let run = app.post("/v1/workflows/wf_1/run", &json!({})).await;
    let ended = app.ended(run["runId"].as_str().unwrap()).await;
    assert_eq!(ended["executionState"]["say"]["input"]["message"], 1.5);
    assert_eq!(ended["workflowDefinition"]["variableDefs"], variables);
    let runs = app.get("/v1/workflows/wf_1/runs").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 2);
    assert_eq!(app.get("/v1/workflows/wf_2/runs").await["items"], json!([]));
    for body in [
        json!({}),
        json!({ "definition": {} }),
        json!({ "definition": saying("{{$vars.none}}") }),
        json!({ "definition": saying("a"), "more": 1 }),
    ] {
        let (status, _) = app
            .call("PUT", "/v1/workflows/wf_3", Some(&body.to_string()))
            .await;
        assert_eq!(status, 400, "{body}");
    }
    app.stop().await;
}

async fn a_workflow_is_started_by_any_of_its_triggers(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let definition = json!({
        "triggerNodeIds": ["hook", "timer"],
        "nodes": {
            "hook": { "type": "webhook", "children": ["say"] },
            "timer": { "type": "schedule", "children": ["tick"] },
            "say": { "type": "log", "payload": { "message": "{{root.result.n}} {{$workflowId}}" } },
            "tick": { "type": "log", "payload": { "message": "x" } }
        }
    });
    put(
        &app,
        "wf_t",
        &json!({ "definition": definition, "ownerUserId": "user_1" }),
    )
    .await;
    let body = json!({
        "triggerNodeId": "hook", "payload": { "n": 7 }, "runId": "run_mine", "dustTest": true
    });
    let run = app.post("/v1/workflows/wf_t/run", &body).await;
    assert_eq!(run["runId"], "run_mine");
    let ended = app.ended("run_mine").await;
    assert_eq!(ended["executionState"]["say"]["input"]["message"], "7 wf_t");
    assert_eq!(ended["executionState"]["tick"]["status"], "skipped");
    assert_eq!(ended["executionState"]["timer"]["status"], "skipped");
    assert_eq!(
        (&ended["isDustTest"], &ended["isSimulation"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(ended["workflowOwnerUserId"], "user_1");
    for body in [
        json!({}),
        json!({ "triggerNodeId": "say" }),
        json!({ "triggerNodeId": "hook", "version": 2 }),
        json!({ "triggerNodeId": "hook", "simulate": true, "dustTest": true }),
        json!({ "triggerNodeId": "hook", "runId": "run_mine" }),
    ] {
        let path = "/v1/workflows/wf_t/run";
        assert_eq!(
            app.call("POST", path, Some(&body.to_string())).await.0,
            400,
            "{body}"
        );
    }
    app.stop().await;
}

/// root -> set (count := payload.to) -> call
fn counting(target: &Target) -> Value {
    json!({
        "definition": { "nodes": {
            "root": { "type": "manual", "children": ["set"] },
            "set": {
                "type": "set-variable", "children": ["call"],
                "payload": { "name": "count", "value": "{{root.to}}" }
            },
            "call": {
                "type": "http-request",
                "payload": { "url": target.url("/call"), "method": "POST", "body": "{{$vars.count}}/{{$vars.other}}" }
            }
        } },
        "variableDefs": [
            { "name": "count", "default": 0, "lifetime": "persist" },
            { "name": "other", "default": "d", "lifetime": "persist" },
            { "name": "mine", "default": 1, "lifetime": "reset" }
        ]
    })
}

async fn run_of(app: &TestApp, body: &Value) -> Value {
    let run = app.post("/v1/workflows/wf_c/run", body).await;
    app.ended(run["runId"].as_str().unwrap()).await
}

async fn a_lasting_variable_lives_on_the_workflow(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    put(&app, "wf_c", &counting(&target)).await;
    let variables = app.get("/v1/workflows/wf_c/variables").await;
    let names: Vec<_> = variables["items"]
        .as_array()
        .unwrap()
        .iter()
        .map(|v| v["name"].clone())
        .collect();
    assert_eq!(names, ["count", "other"]);
    let path = "/v1/workflows/wf_c/variables/count";
    assert_eq!(app.get(path).await["isDefault"], true);

    // What was written stays, whatever becomes of the run.
    target.answer_with("/call", [500]);
    let failed = run_of(&app, &json!({ "payload": { "to": [1, null] } })).await;
    assert_eq!(failed["status"], "failure");
    let count = app.get(path).await;
    assert_eq!(
        (&count["value"], &count["updatedByRunId"]),
        (&json!([1, null]), &failed["id"])
    );
    let writes = app
        .get(&format!(
            "/v1/runs/{}/variable-writes",
            failed["id"].as_str().unwrap()
        ))
        .await;
    let write = &writes["items"][0];
    assert_eq!(
        (&write["scope"], &write["op"]),
        (&json!("workflow"), &json!("set"))
    );
    assert_eq!(
        (&write["oldValue"], &write["newValue"]),
        (&json!(0), &json!([1, null]))
    );
    assert_eq!(
        (&write["writtenByNode"], &write["workflowId"]),
        (&json!("set"), &json!("wf_c"))
    );

    app.stop().await;
}

async fn the_next_run_begins_with_the_value_that_was_committed_last(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    put(&app, "wf_c", &counting(&target)).await;
    let path = "/v1/workflows/wf_c/variables/count";
    run_of(&app, &json!({ "payload": { "to": [1, null] } })).await;
    let next = run_of(&app, &json!({ "payload": { "to": 2 } })).await;
    assert_eq!(
        next["executionState"]["set"]["result"]["oldValue"],
        json!([1, null])
    );
    assert_eq!(app.get(path).await["value"], 2);
    let (status, answer) = app.call("PUT", path, Some(r#"{"value":{"a":1.0}}"#)).await;
    assert_eq!(
        (status, answer["data"]["value"].to_string()),
        (200, r#"{"a":1.0}"#.to_owned())
    );
    let next = run_of(&app, &json!({ "payload": { "to": 3 } })).await;
    assert_eq!(
        next["executionState"]["set"]["result"]["oldValue"].to_string(),
        r#"{"a":1.0}"#
    );
    assert_eq!(app.call("DELETE", path, None).await.0, 200);
    assert_eq!(
        (
            &app.get(path).await["value"],
            &app.get(path).await["isDefault"]
        ),
        (&json!(0), &json!(true))
    );
    for path in [
        "/v1/workflows/wf_c/variables/mine",
        "/v1/workflows/wf_c/variables/none",
    ] {
        assert_eq!(app.call("GET", path, None).await.0, 404, "{path}");
        assert_eq!(
            app.call("PUT", path, Some(r#"{"value":1}"#)).await.0,
            404,
            "{path}"
        );
    }
    assert_eq!(app.call("PUT", path, Some("{}")).await.0, 400);
    app.stop().await;
}

async fn a_retry_reads_the_capture_of_its_root_and_its_lines_writes(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    put(&app, "wf_c", &counting(&target)).await;
    target.answer_with("/call", [500]);
    let failed = run_of(&app, &json!({ "payload": { "to": "mine" } })).await;
    // Others write meanwhile.
    for (name, value) in [("count", "theirs"), ("other", "theirs")] {
        let path = format!("/v1/workflows/wf_c/variables/{name}");
        let body = json!({ "value": value }).to_string();
        assert_eq!(app.call("PUT", &path, Some(&body)).await.0, 200);
    }
    let retried = app
        .ended(&app.retry(failed["id"].as_str().unwrap()).await)
        .await;
    assert_eq!(retried["status"], "success", "{retried:#}");
    assert_eq!(target.calls()[1].body, "mine/d");
    // What is reused is not written again.
    assert_eq!(
        app.get("/v1/workflows/wf_c/variables/count").await["value"],
        "theirs"
    );
    app.stop().await;
}

async fn a_retry_can_take_the_latest_definition(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    put(&app, "wf_c", &counting(&target)).await;
    target.answer_with("/call", [500, 500]);
    let source = run_of(&app, &json!({ "payload": { "to": 1 } })).await;
    let id = source["id"].as_str().unwrap();
    let mut latest = counting(&target);
    latest["definition"]["nodes"]["set"]["payload"]["value"] = json!("other");
    latest["definition"]["nodes"]["call"]["payload"]["url"] = json!(target.url("/new"));
    put(&app, "wf_c", &latest).await;
    let path = format!("/v1/runs/{id}/retry-plan");
    let shown = app.post(&path, &json!({ "definition": "latest" })).await;
    assert_eq!(shown["refusal"], Value::Null, "{shown:#}");
    let warnings = shown["report"]["warnings"].as_array().unwrap();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(
        warnings[0].as_str().unwrap().contains("`set`"),
        "{warnings:?}"
    );
    let path = format!("/v1/runs/{id}/retry");
    let accepted = app.post(&path, &json!({ "definition": "latest" })).await;
    let ended = app.ended(accepted["id"].as_str().unwrap()).await;
    assert_eq!(
        (&ended["status"], &ended["workflowVersion"]),
        (&json!("success"), &json!(2))
    );
    assert_eq!(target.calls()[1].path, "/new");
    assert_eq!(
        target.calls()[1].body,
        "1/d",
        "what is reused stays as it was"
    );

    target.answer_with("/new", [500]);
    let source = run_of(&app, &json!({ "payload": { "to": 1 } })).await;
    let mut other = latest.clone();
    other["definition"]["nodes"]["set"] =
        json!({ "type": "log", "payload": { "message": "x" }, "children": ["call"] });
    put(&app, "wf_c", &other).await;
    let path = format!("/v1/runs/{}/retry", source["id"].as_str().unwrap());
    let body = json!({ "definition": "latest" }).to_string();
    let (status, answer) = app.call("POST", &path, Some(&body)).await;
    assert_eq!(
        (status, &answer["error"]["reason"]),
        (409, &json!("definition_incompatible"))
    );
    assert!(
        answer["error"]["differences"][0]
            .as_str()
            .unwrap()
            .contains("`set`"),
        "{answer}"
    );
    app.stop().await;
}

async fn a_small_run_is_answered_when_it_has_ended(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let body = json!({ "definition": saying("{{root.n}}"), "payload": { "n": 1.50 } });
    let answer = app.post("/v1/runs/sync", &body).await;
    assert_eq!(answer["status"], "success");
    assert_eq!(answer["executionState"]["say"]["input"]["message"], 1.5);
    assert!(
        answer["durationMs"].is_u64() && answer["runId"].is_string(),
        "{answer}"
    );
    let mut long = saying("x");
    for number in 0..20 {
        long["nodes"][format!("n{number}")] = json!({ "type": "log", "payload": {} });
    }
    let body = json!({ "definition": long, "payload": {} }).to_string();
    assert_eq!(app.call("POST", "/v1/runs/sync", Some(&body)).await.0, 400);
    app.stop().await;
}

async fn unknown_and_foreign_workflows_are_not_found(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    put(&app, "wf_1", &json!({ "definition": saying("a") })).await;
    let foreign = app.token_of("org_other", "read retry write").await;
    let calls = [
        ("GET", "/v1/workflows/ID", None),
        ("POST", "/v1/workflows/ID/run", Some("{}")),
        ("GET", "/v1/workflows/ID/runs", None),
        ("GET", "/v1/workflows/ID/variables", None),
        ("GET", "/v1/workflows/ID/variables/v", None),
        (
            "PUT",
            "/v1/workflows/ID/variables/v",
            Some(r#"{"value":1}"#),
        ),
        ("DELETE", "/v1/workflows/ID/variables/v", None),
    ];
    for (method, path, body) in calls {
        let (status, mut unknown) = app.call(method, &path.replace("ID", "wf_none"), body).await;
        assert_eq!(status, 404, "{method} {path}");
        let of = path.replace("ID", "wf_1");
        let (status, mut theirs) = app.call_as(&foreign, method, &of, body).await;
        assert_eq!(status, 404, "{method} {path}");
        unknown["requestId"] = Value::Null;
        theirs["requestId"] = Value::Null;
        assert_eq!(unknown, theirs, "{method} {path}");
    }
    app.stop().await;
}

fn starting(workflow: &str, payload: &Value) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["start"] },
        "start": {
            "type": "trigger-workflow", "children": ["say"],
            "payload": { "workflowId": workflow, "payload": payload }
        },
        "say": { "type": "log", "payload": { "message": "{{start.result.runStatus}}" } }
    } })
}

async fn a_node_starts_a_run_of_another_workflow_and_goes_on(ledger: Ledger) {
    let (target, app) = (Target::start().await, TestApp::start(ledger).await);
    let mut child = counting(&target);
    child["name"] = json!("counts");
    put(&app, "wf_c", &child).await;
    let mut definition = starting("wf_c", &json!({ "to": "{{root.n}}" }));
    definition["nodes"]["say"]["children"] = json!(["end"]);
    definition["nodes"]["end"] =
        json!({ "type": "http-request", "payload": { "url": target.url("/end") } });
    target.answer_with("/end", [500]);
    let run = app.start_run(&definition, &json!({ "n": 7 })).await;
    let ended = app.ended(&run).await;
    assert_eq!(
        ended["executionState"]["say"]["status"], "success",
        "{ended:#}"
    );
    let result = &ended["executionState"]["start"]["result"];
    assert_eq!(
        (
            &result["triggeredWorkflowId"],
            &result["triggeredWorkflowName"],
            &result["runStatus"]
        ),
        (&json!("wf_c"), &json!("counts"), &json!("waiting"))
    );
    let child = app.ended(result["runId"].as_str().unwrap()).await;
    assert_eq!(
        (&child["status"], &child["workflowId"]),
        (&json!("success"), &json!("wf_c"))
    );
    assert_eq!(
        (&child["triggerSource"], &child["triggeredBy"]),
        (&json!("workflow"), &json!(run))
    );
    assert_eq!(target.calls_of("/call")[0].body, "7/d");

    // What succeeded starts nothing again.
    assert_eq!(app.ended(&app.retry(&run).await).await["status"], "success");
    let runs = app.get("/v1/workflows/wf_c/runs").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 1);

    let missing = app
        .start_run(&starting("wf_none", &json!({})), &json!({}))
        .await;
    let ended = app.ended(&missing).await;
    assert_eq!(
        ended["executionState"]["start"]["error"]["code"],
        "workflow_not_found"
    );
    put(&app, "wf_none", &json!({ "definition": saying("x") })).await;
    assert_eq!(
        app.ended(&app.retry(&missing).await).await["status"],
        "success"
    );
    app.stop().await;
}

async fn runs_that_start_each_other_go_only_so_deep(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    put(
        &app,
        "wf_self",
        &json!({ "definition": starting("wf_self", &json!({})) }),
    )
    .await;
    let mut run = app.post("/v1/workflows/wf_self/run", &json!({})).await["runId"].clone();
    for depth in 0..=10 {
        let ended = app.ended(run.as_str().unwrap()).await;
        let start = &ended["executionState"]["start"];
        if depth == 10 {
            assert_eq!(start["error"]["code"], "too_deep", "{ended:#}");
        }
        run = start["result"]["runId"].clone();
    }
    let runs = app.get("/v1/workflows/wf_self/runs").await;
    assert_eq!(runs["items"].as_array().unwrap().len(), 11);
    app.stop().await;
}
