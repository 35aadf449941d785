//! Runs that stopped elsewhere: the shortest way to any state.

use redrive::domain::{Clock, RunId, SystemClock};
use serde_json::{Value, json};

use super::app::TestApp;

/// A run that failed elsewhere; its trigger `root` succeeded.
pub(crate) async fn imported(app: &TestApp, nodes: Value, mut state: Value, more: Value) -> String {
    state["root"] = json!({ "type": "manual", "status": "success", "result": { "a": 1 } });
    let mut definition = json!({ "nodes": nodes });
    definition["nodes"]["root"]["type"] = json!("manual");
    let mut run = json!({
        "id": RunId::generate(SystemClock.now()), "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": definition, "executionState": state
    });
    for (name, value) in more.as_object().unwrap() {
        run[name] = value.clone();
    }
    let run = app.post("/v1/runs/import", &run).await;
    run["id"].as_str().unwrap().to_owned()
}

pub(crate) fn log(message: &str, children: &[&str]) -> Value {
    json!({ "type": "log", "payload": { "message": message }, "children": children })
}

pub(crate) fn done(result: &Value) -> Value {
    json!({ "type": "log", "status": "success", "result": result })
}

pub(crate) fn failed() -> Value {
    json!({ "type": "log", "status": "failure", "error": "x" })
}

pub(crate) fn each(array: &Value, body: &[&str], children: &[&str]) -> Value {
    json!({
        "type": "for-each", "payload": { "array": array }, "loopBody": body, "children": children
    })
}
