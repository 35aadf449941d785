//! What goes wrong between us and `RabbitMQ`, and that nothing comes of it.

mod giving_up;
mod reconnecting;
mod sending;
mod trouble;

use serde_json::{Value, json};

use crate::support::app::TestApp;

/// A run that has failed elsewhere and has one call left to do.
async fn import_failed(app: &TestApp, run: &str, url: &str) {
    let body = json!({
        "id": run,
        "status": "failure",
        "triggerNodeId": "root",
        "workflowDefinition": definition(url),
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "call": { "type": "http-request", "status": "failure", "error": { "message": "503" } }
        }
    });
    app.post("/v1/runs/import", &body).await;
}

fn definition(url: &str) -> Value {
    json!({
        "nodes": {
            "root": { "type": "manual", "payload": {}, "children": ["call"] },
            "call": { "type": "http-request", "payload": { "url": url, "method": "POST" } }
        }
    })
}
