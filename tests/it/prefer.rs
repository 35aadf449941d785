//! `Prefer`: an answer that waits for the end of the run, or one that waits for nothing.

use std::time::{Duration, Instant};

use redrive::app::Role;
use reqwest::{Response, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    app::{TestApp, process},
    broker::Place,
    ledger::Ledger,
    on_both_engines,
    target::Target,
};

on_both_engines![
    an_answer_waits_for_the_end_of_the_run,
    an_answer_that_waits_too_long_shows_the_run_as_it_stands,
    an_answer_that_waits_for_nothing_says_where_to_look,
    a_refusal_waits_for_nothing,
];

async fn post(app: &TestApp, path: &str, prefer: &str, body: &Value) -> Response {
    let request = app.http().post(format!("{}{path}", app.base()));
    let request = request.bearer_auth(app.token()).header("prefer", prefer);
    let request = request.header("content-type", "application/json");
    request.body(body.to_string()).send().await.unwrap()
}

fn applied(response: &Response) -> &str {
    response.headers()["preference-applied"].to_str().unwrap()
}

async fn data(response: Response) -> Value {
    let mut body: Value = serde_json::from_str(&response.text().await.unwrap()).unwrap();
    body["data"].take()
}

fn definition(target: &Target) -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "payload": {}, "children": ["call"] },
        "call": { "type": "http-request", "payload": { "url": target.url("/work"), "method": "POST" } }
    }})
}

async fn import_failed(app: &TestApp, target: &Target) {
    let body = json!({
        "id": "run_source",
        "status": "failure",
        "triggerNodeId": "root",
        "workflowDefinition": definition(target),
        "executionState": {
            "root": { "type": "manual", "status": "success", "result": {} },
            "call": { "type": "http-request", "status": "failure", "error": { "message": "503" } }
        }
    });
    app.post("/v1/runs/import", &body).await;
}

const RETRY: &str = "/v1/runs/run_source/retry";

async fn an_answer_waits_for_the_end_of_the_run(ledger: Ledger) {
    let target = Target::start().await;
    let app = TestApp::start(ledger).await;
    import_failed(&app, &target).await;
    let response = post(&app, RETRY, "wait=30", &json!({})).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(applied(&response), "wait=30");
    let run = data(response).await;
    assert_eq!(run["status"], "success", "{run:#}");
    assert_eq!(run["executionState"]["call"]["status"], "success");
    assert_eq!(run["retry"]["state"], "created");

    let start = json!({ "definition": definition(&target) });
    let run = data(post(&app, "/v1/runs", "respond-async, wait=30", &start).await).await;
    assert_eq!(run["status"], "success", "{run:#}");
    app.stop().await.remove().await;
}

async fn an_answer_that_waits_too_long_shows_the_run_as_it_stands(ledger: Ledger) {
    let target = Target::start().await;
    let app = TestApp::start(ledger).await;
    import_failed(&app, &target).await;
    let gate = target.hold("/work");
    let began = Instant::now();
    let response = post(&app, RETRY, "wait=1", &json!({})).await;
    assert!(began.elapsed() >= Duration::from_secs(1));
    assert_eq!(response.status(), StatusCode::OK);
    let run = data(response).await;
    assert_eq!(run["status"], "running", "{run:#}");
    gate.notify_one();
    app.ended(run["id"].as_str().unwrap()).await;
    app.stop().await.remove().await;
}

async fn an_answer_that_waits_for_nothing_says_where_to_look(ledger: Ledger) {
    let target = Target::start().await;
    let app = TestApp::start(ledger).await;
    import_failed(&app, &target).await;
    let response = post(&app, RETRY, "respond-async", &json!({})).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    assert_eq!(applied(&response), "respond-async");
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let run = data(response).await;
    assert_eq!(run["status"], "waiting");
    let (status, found) = app.call("GET", &location, None).await;
    assert_eq!((status, &found["data"]["id"]), (200, &run["id"]));
    app.ended(run["id"].as_str().unwrap()).await;

    let start = json!({ "definition": definition(&target), "runId": "run/ä" });
    let response = post(&app, "/v1/runs", "respond-async", &start).await;
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    let location = response.headers()["location"].to_str().unwrap().to_owned();
    let (status, found) = app.call("GET", &location, None).await;
    assert_eq!(
        (status, &found["data"]["id"]),
        (200, &json!("run/ä")),
        "{location}"
    );
    app.stop().await.remove().await;
}

async fn a_refusal_waits_for_nothing(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let began = Instant::now();
    let response = post(&app, RETRY, "wait=30, respond-async", &json!({})).await;
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
    assert!(response.headers().get("preference-applied").is_none());
    assert!(began.elapsed() < Duration::from_secs(20));
    app.stop().await.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_waits_for_the_worker_of_another_process() {
    let (place, target) = (Place::shared().await, Target::start().await);
    let app = TestApp::start_as(&[Role::Api], Ledger::postgres().await, |c| {
        c.broker = place.config();
    })
    .await;
    let others = process(&[Role::Relay, Role::Worker], &app.ledger.url, |c| {
        c.broker = place.config();
    })
    .await;
    import_failed(&app, &target).await;
    let run = data(post(&app, RETRY, "wait=30", &json!({})).await).await;
    assert_eq!(run["status"], "success", "{run:#}");
    others.stop().await;
    app.stop().await.remove().await;
    place.remove().await;
}
