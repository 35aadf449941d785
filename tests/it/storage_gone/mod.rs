//! The ledger is away, has no room, or no connection left: who asks is told to try again, nothing is
//! half stored, and it goes on by itself.

mod away;
mod busy;
mod full;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    raw::{Answer, Request},
};

/// A refusal that says to come back.
fn is_unavailable(answer: &Answer, what: &str) {
    let body = &answer.body;
    assert_eq!(
        (answer.status, &body["code"]),
        (503, &json!(503_000)),
        "{what}: {body}"
    );
    assert_eq!(body["error"]["reason"], "unavailable", "{what}");
    let seconds = answer.headers.get("retry-after").unwrap().to_str().unwrap();
    assert!(seconds.parse::<u32>().unwrap() > 0, "{what}: {seconds}");
}

fn definition() -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["n"] },
        "n": { "type": "log", "payload": { "message": "x" } }
    } })
}

/// The import of a failed run whose result has so many bytes.
fn import(id: &str, bytes: usize) -> Request {
    let run = json!({
        "id": id, "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": definition(),
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": { "x": noise(bytes) } },
            "n": { "type": "log", "status": "failure" }
        }
    });
    Request::json("POST", "/v1/runs/import", run.to_string())
}

/// Text that no engine can make shorter.
fn noise(bytes: usize) -> String {
    let mut dice = crate::support::dice::Dice(7);
    (0..bytes)
        .map(|_| char::from(b'a' + u8::try_from(dice.below(26)).unwrap()))
        .collect()
}

fn start(id: &str) -> Request {
    let body = json!({ "runId": id, "definition": definition(), "payload": {} });
    Request::json("POST", "/v1/runs", body.to_string())
}

/// Whether a run is there.
async fn exists(app: &TestApp, id: &str) -> bool {
    let (status, answer) = app.call("GET", &format!("/v1/runs/{id}"), None).await;
    assert!(matches!(status, 200 | 404), "{id}: {answer}");
    status == 200
}
