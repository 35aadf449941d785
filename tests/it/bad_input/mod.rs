//! Requests that are wrong: each is refused with its reason, in the envelope, and leaves nothing
//! behind; the process lives on.

mod access;
mod bodies;
mod definitions;
mod members;
mod mutations;

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    ledger::Ledger,
    raw::{Answer, Request},
};

/// What a refusal has to say: status, code, reason, and words that its message holds.
#[derive(Debug, Clone, Copy)]
struct Expected(u16, u32, &'static str);

const INVALID_REQUEST: Expected = Expected(400, 400_000, "invalid_request");
const INVALID_DEFINITION: Expected = Expected(400, 400_228, "invalid_definition");
const NOT_MANUAL: Expected = Expected(400, 400_229, "not_manual_trigger");
const INVALID_RUN_ID: Expected = Expected(400, 400_078, "invalid_run_id");
const START_EXISTS: Expected = Expected(400, 400_079, "run_exists");
const UNAUTHORIZED: Expected = Expected(401, 401_000, "unauthorized");
const FORBIDDEN: Expected = Expected(403, 403_000, "forbidden");
const NO_RUN: Expected = Expected(404, 404_000, "run_not_found");
const NO_RETRY: Expected = Expected(404, 404_000, "retry_not_found");
const NO_ROUTE: Expected = Expected(404, 404_000, "route_not_found");
const NO_METHOD: Expected = Expected(405, 405_000, "method_not_allowed");
const IMPORT_EXISTS: Expected = Expected(409, 409_009, "run_exists");
const TOO_LARGE: Expected = Expected(413, 413_000, "payload_too_large");
const NOT_JSON: Expected = Expected(415, 415_000, "unsupported_media_type");

/// An application with one failed run, `run_failed`, and one of another organisation, `run_other`.
struct World {
    app: TestApp,
    other: String,
}

impl World {
    async fn new(ledger: Ledger) -> Self {
        let app = TestApp::start(ledger).await;
        app.post("/v1/runs/import", &failed("run_failed")).await;
        let other = app.token_of("org_other", "read retry write").await;
        let body = failed("run_other").to_string();
        let (status, answer) = app
            .call_as(&other, "POST", "/v1/runs/import", Some(&body))
            .await;
        assert_eq!(status, 200, "{answer}");
        Self { app, other }
    }

    /// Sends a request with a good token; it must be refused as expected, naming `words`.
    async fn refuses(&self, request: Request, expected: Expected, words: &str) -> Answer {
        let what = short(&request);
        let answer = request.send_authorized(&self.app).await;
        self.refused(answer, expected, words, &what).await
    }

    /// Checks an answer, and that the ledger is as before.
    async fn refused(&self, answer: Answer, expected: Expected, words: &str, what: &str) -> Answer {
        answer.assert_refusal(what);
        let Expected(status, code, reason) = expected;
        let body = &answer.body;
        assert_eq!(answer.status, status, "{what}: {body}");
        assert_eq!(body["code"], code, "{what}: {body}");
        assert_eq!(body["error"]["reason"], reason, "{what}: {body}");
        let message = body["message"].as_str().unwrap();
        assert!(message.contains(words), "{what}: {words:?} not in {body}");
        assert!(message.len() < 1_000, "{what}: {} bytes", message.len());
        self.assert_nothing_stored(what).await;
        answer
    }

    async fn assert_nothing_stored(&self, what: &str) {
        let ids = |list: &Value| -> Vec<Value> {
            let items = list["items"].as_array().unwrap();
            items.iter().map(|item| item["id"].clone()).collect()
        };
        let runs = self.app.get("/v1/runs?limit=100").await;
        assert_eq!(ids(&runs), ["run_failed"], "{what}");
        let retries = self.app.get("/v1/retries?limit=100").await;
        assert_eq!(retries["items"], json!([]), "{what}");
        let (_, other) = self.app.call_as(&self.other, "GET", "/v1/runs", None).await;
        assert_eq!(ids(&other["data"]), ["run_other"], "{what}");
    }

    /// The process is alive: a start and the retry of the failed run work.
    async fn still_works(self) {
        let run = self.app.start_run(&definition(), &json!({})).await;
        assert_eq!(self.app.ended(&run).await["status"], "success");
        let retried = self.app.ended(&self.app.retry("run_failed").await).await;
        assert_eq!(retried["status"], "success", "{retried}");
        self.app.stop().await;
    }
}

/// A request in a line, for the message of a failed test.
fn short(request: &Request) -> String {
    let text = request.to_string();
    text.chars().take(400).collect()
}

/// A definition that works.
fn definition() -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["a"] },
        "a": { "type": "log", "payload": { "message": "a" } }
    }})
}

/// The body of a start that works.
fn start() -> Value {
    json!({ "definition": definition(), "payload": {}, "propValues": {} })
}

/// A failed run of elsewhere that can be imported.
fn failed(id: &str) -> Value {
    json!({
        "id": id,
        "status": "failure",
        "workflowDefinition": definition(),
        "triggerNodeId": "root",
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "a": { "type": "log", "status": "failure", "error": { "class": "internal" } }
        }
    })
}

/// `value` with the member at `pointer` replaced or added.
fn with(mut value: Value, pointer: &str, member: Value) -> Value {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    let parent = value.pointer_mut(parent).unwrap();
    parent
        .as_object_mut()
        .unwrap()
        .insert(name.to_owned(), member);
    value
}

fn post(path: &str, body: &Value) -> Request {
    Request::json("POST", path, body.to_string())
}
