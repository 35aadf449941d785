//! Members of the wrong type, members that nobody knows, runs that exist.

use serde_json::{Value, json};

use super::{
    IMPORT_EXISTS, INVALID_DEFINITION, INVALID_REQUEST, INVALID_RUN_ID, START_EXISTS, World,
    failed, post, start, with,
};
use crate::support::{ledger::Ledger, on_both_engines, raw::Request};

on_both_engines![
    members_of_a_start,
    members_of_a_retry,
    members_of_a_cancel,
    members_of_an_import,
    values_of_an_import,
    garbage_in_the_state,
    runs_that_exist,
];

/// One value of every type but those named.
fn others(than: &[&str]) -> Vec<Value> {
    let all = [
        ("boolean", json!(true)),
        ("number", json!(7)),
        ("number", json!(1.5)),
        ("string", json!("text")),
        ("array", json!([])),
        ("array", json!([{ "a": 1 }])),
        ("object", json!({})),
        ("object", json!({ "a": [] })),
    ];
    let wanted = all.into_iter().filter(|(kind, _)| !than.contains(kind));
    wanted.map(|(_, value)| value).collect()
}

async fn members_of_a_start(ledger: Ledger) {
    let world = World::new(ledger).await;
    let start_with = |pointer: &str, value: Value| post("/v1/runs", &with(start(), pointer, value));
    for name in ["payload", "propValues"] {
        for value in others(&["object"]) {
            let request = start_with(&format!("/{name}"), value);
            world.refuses(request, INVALID_REQUEST, name).await;
        }
    }
    for value in others(&["string"]) {
        let request = start_with("/runId", value);
        world.refuses(request, INVALID_REQUEST, "runId").await;
    }
    let long = "x".repeat(129);
    for id in ["", " ", "a b", "a\n", "\u{2028}", "\u{7f}", &long] {
        let request = start_with("/runId", json!(id));
        world.refuses(request, INVALID_RUN_ID, "runId").await;
    }
    for value in others(&["object"]).into_iter().chain([Value::Null]) {
        let request = start_with("/definition", value);
        world
            .refuses(request, INVALID_DEFINITION, "definition")
            .await;
    }
    let nothing = post("/v1/runs", &json!({}));
    world.refuses(nothing, INVALID_REQUEST, "definition").await;
    for name in [
        "payloads",
        "workflowId",
        "Definition",
        "idempotencyKey",
        "simulate",
        "dustTest",
        "version",
        "triggerNodeId",
        "",
        "__proto__",
        "\u{10348}",
    ] {
        let request = start_with(&format!("/{name}"), Value::Null);
        world.refuses(request, INVALID_REQUEST, name).await;
    }
    world.still_works().await;
}

async fn members_of_a_retry(ledger: Ledger) {
    let world = World::new(ledger).await;
    let path = "/v1/runs/run_failed/retry";
    let choices: [(&str, &[&str]); 13] = [
        ("fromNodeId", &["string"]),
        ("mode", &[]),
        ("includePartial", &["boolean"]),
        ("definition", &[]),
        ("propValues", &["object"]),
        ("variables", &["object"]),
        ("nodeResults", &["object"]),
        ("acknowledge", &["array"]),
        ("newEffectKey", &["array"]),
        ("allowAgain", &["boolean"]),
        ("planHash", &["string"]),
        ("notBefore", &[]),
        ("lane", &[]),
    ];
    for (name, types) in choices {
        for value in others(types) {
            let alone = post(path, &json!({ name: value }));
            world.refuses(alone, INVALID_REQUEST, name).await;
            let beside = post(path, &json!({ "reason": "a", name: value }));
            world.refuses(beside, INVALID_REQUEST, name).await;
        }
    }
    for name in ["Reason", "reasons", "runId", "force", "", "__proto__"] {
        let unknown = post(path, &json!({ name: "x" }));
        world.refuses(unknown, INVALID_REQUEST, name).await;
    }
    for value in others(&["string"]) {
        let request = post(path, &json!({ "reason": value }));
        world.refuses(request, INVALID_REQUEST, "reason").await;
    }
    let long = post(path, &json!({ "reason": "\u{10348}".repeat(1_001) }));
    world.refuses(long, INVALID_REQUEST, "reason").await;
    world.still_works().await;
}

async fn members_of_a_cancel(ledger: Ledger) {
    let world = World::new(ledger).await;
    let path = "/v1/runs/run_failed/cancel";
    for name in ["force", "Reason", "mode", ""] {
        let unknown = post(path, &json!({ name: "x" }));
        world.refuses(unknown, INVALID_REQUEST, name).await;
    }
    for value in others(&["string"]) {
        let request = post(path, &json!({ "reason": value }));
        world.refuses(request, INVALID_REQUEST, "reason").await;
    }
    world.still_works().await;
}

/// An import with one member changed.
fn import(name: &str, value: Value) -> Request {
    let body = with(failed("run_new"), &format!("/{name}"), value);
    post("/v1/runs/import", &body)
}

async fn members_of_an_import(ledger: Ledger) {
    let world = World::new(ledger).await;
    for (name, kind) in [
        ("id", "string"),
        ("runId", "string"),
        ("status", "string"),
        ("executionState", "object"),
        ("propValues", "object"),
        ("variables", "object"),
        ("simulationForks", "array"),
        ("simulationMode", "string"),
        ("isSimulation", "boolean"),
        ("isDustTest", "boolean"),
        ("sourceRunId", "string"),
        ("startedAt", "string"),
        ("finishedAt", "string"),
        ("summary", "string"),
        ("totalCu", "number"),
        ("triggerNodeId", "string"),
        ("triggerSource", "string"),
        ("triggeredBy", "string"),
        ("workflowId", "string"),
        ("workflowOwnerUserId", "string"),
    ] {
        for value in others(&[kind]) {
            world
                .refuses(import(name, value), INVALID_REQUEST, name)
                .await;
        }
    }
    for value in others(&["object"]) {
        let request = import("workflowDefinition", value);
        world
            .refuses(request, INVALID_DEFINITION, "definition")
            .await;
    }
    world.still_works().await;
}

async fn values_of_an_import(ledger: Ledger) {
    let world = World::new(ledger).await;
    let versions = [json!(1.5), json!("7"), json!([]), json!(true)];
    let huge = serde_json::from_str("9223372036854775808").unwrap();
    for value in versions.into_iter().chain([huge]) {
        let request = import("workflowVersion", value);
        world
            .refuses(request, INVALID_REQUEST, "workflowVersion")
            .await;
    }
    for status in [
        "running", "waiting", "queued", "pending", "", "Failure", "failed",
    ] {
        let request = import("status", json!(status));
        world.refuses(request, INVALID_REQUEST, "status").await;
    }
    let long = "x".repeat(129);
    for id in ["", "a b", "a\u{85}b", &long] {
        world
            .refuses(import("id", json!(id)), INVALID_RUN_ID, "id")
            .await;
    }
    for name in ["sourceRunId", "triggerNodeId"] {
        for id in ["a b", &long] {
            world
                .refuses(import(name, json!(id)), INVALID_REQUEST, name)
                .await;
        }
    }
    let other = import("runId", json!("run_differs"));
    world.refuses(other, INVALID_REQUEST, "same").await;
    for nothing in [
        json!({}),
        json!({ "code": 200, "data": {} }),
        json!({ "data": failed("x") }),
    ] {
        let request = post("/v1/runs/import", &nothing);
        world.refuses(request, INVALID_REQUEST, "").await;
    }
    world.still_works().await;
}

async fn garbage_in_the_state(ledger: Ledger) {
    let world = World::new(ledger).await;
    let import = |pointer: &str, value: Value| {
        let pointer = format!("/executionState/{pointer}");
        post("/v1/runs/import", &with(failed("run_new"), &pointer, value))
    };
    for value in others(&["object"]).into_iter().chain([Value::Null]) {
        world
            .refuses(import("a", value), INVALID_REQUEST, "executionState")
            .await;
    }
    for id in ["", " ", "a b", "a\n", &"x".repeat(129)] {
        let record = json!({ "type": "log", "status": "success" });
        world
            .refuses(import(id, record), INVALID_REQUEST, "executionState")
            .await;
    }
    for name in ["type", "status", "startedAt", "finishedAt"] {
        for value in others(&["string"]) {
            let request = import(&format!("a/{name}"), value);
            world.refuses(request, INVALID_REQUEST, name).await;
        }
    }
    for status in ["done", "", "SUCCESS", "ok"] {
        let request = import("a/status", json!(status));
        world.refuses(request, INVALID_REQUEST, "status").await;
    }
    world
        .refuses(import("new", json!({})), INVALID_REQUEST, "status")
        .await;
    world.still_works().await;
}

async fn runs_that_exist(ledger: Ledger) {
    let world = World::new(ledger).await;
    // Another organisation's id is as taken as one's own: ids are unique in the ledger.
    for id in ["run_failed", "run_other"] {
        let again = post("/v1/runs/import", &failed(id));
        world.refuses(again, IMPORT_EXISTS, id).await;
        let start = post("/v1/runs", &with(start(), "/runId", json!(id)));
        world.refuses(start, START_EXISTS, id).await;
    }
    world.still_works().await;
}
