//! `Idempotency-Key` over HTTP: whoever lost an answer asks again, and nothing is done twice.

use serde_json::{Value, json};

use crate::support::{
    app::TestApp,
    elsewhere::{failed, imported, log},
    ledger::Ledger,
    on_both_engines,
};

on_both_engines![
    promise_2_the_same_request_again_has_the_same_answer,
    a_key_of_another_request_is_refused,
    a_refusal_is_decided_anew,
    every_call_that_makes_a_run_takes_a_key,
    a_key_has_its_form,
    promise_2_five_hundred_clients_with_one_key_make_one_retry,
];

async fn send(app: &TestApp, path: &str, key: &str, body: &str) -> (u16, Value) {
    let request = app.http().post(format!("{}{path}", app.base()));
    let request = request
        .bearer_auth(app.token())
        .header("idempotency-key", key);
    let request = request.header("content-type", "application/json");
    let response = request.body(body.to_owned()).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap())
}

async fn stopped(app: &TestApp) -> String {
    let nodes = json!({ "root": { "children": ["n"] }, "n": log("{{root.a}}", &[]) });
    imported(app, nodes, json!({ "n": failed() }), json!({})).await
}

async fn promise_2_the_same_request_again_has_the_same_answer(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let source = stopped(&app).await;
    let path = format!("/v1/runs/{source}/retry");
    let (status, first) = send(&app, &path, "\"key-1\"", "").await;
    assert_eq!(status, 200, "{first}");
    app.ended(first["data"]["id"].as_str().unwrap()).await;
    // The run has ended, and another retry would be refused: the answer is what it was.
    for (key, body) in [("key-1", ""), ("\"key-1\"", "{}"), ("key-1", " { } ")] {
        let (status, again) = send(&app, &path, key, body).await;
        assert_eq!(
            (status, &again["data"]),
            (200, &first["data"]),
            "{key} {body}"
        );
    }
    let (status, other) = send(&app, &path, "key-2", "").await;
    assert_eq!(
        (status, &other["error"]["reason"]),
        (409, &json!("already_retried"))
    );
    assert_eq!(
        app.get("/v1/retries").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    app.stop().await;
}

async fn a_key_of_another_request_is_refused(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let (one, two) = (stopped(&app).await, stopped(&app).await);
    let path = format!("/v1/runs/{one}/retry");
    assert_eq!(send(&app, &path, "k", "{}").await.0, 200);
    for (path, body) in [
        (path.clone(), r#"{"mode":"all"}"#),
        (format!("/v1/runs/{two}/retry"), "{}"),
        ("/v1/runs".to_owned(), r#"{"definition":{}}"#),
        // Before any other check: this one would be refused for its body.
        (path, r#"{"mode":7}"#),
    ] {
        let (status, answer) = send(&app, &path, "k", body).await;
        assert_eq!(
            (status, &answer["code"]),
            (422, &json!(422_000)),
            "{path} {body}"
        );
        assert_eq!(answer["error"]["reason"], "idempotency_key_reused");
    }
    // The key of one organisation is nothing to another.
    let foreign = app.token_of("org_other", "read retry write").await;
    let request = app
        .http()
        .post(format!("{}/v1/runs/{one}/retry", app.base()));
    let request = request.bearer_auth(foreign).header("idempotency-key", "k");
    assert_eq!(request.send().await.unwrap().status(), 404);
    app.stop().await;
}

async fn a_refusal_is_decided_anew(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let source = stopped(&app).await;
    let path = format!("/v1/runs/{source}/retry");
    let wrong = r#"{"fromNodeId":"none"}"#;
    assert_eq!(send(&app, &path, "k", wrong).await.0, 400);
    assert_eq!(send(&app, &path, "k", wrong).await.0, 400);
    let (status, answer) = send(&app, &path, "k", "{}").await;
    assert_eq!(status, 200, "{answer}");
    app.stop().await;
}

async fn every_call_that_makes_a_run_takes_a_key(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let nodes = json!({ "root": { "type": "manual", "children": ["n"] }, "n": log("x", &[]) });
    let definition = json!({ "nodes": nodes });
    let workflow = json!({ "definition": definition }).to_string();
    assert_eq!(
        app.call("PUT", "/v1/workflows/wf", Some(&workflow)).await.0,
        200
    );
    let start = json!({ "definition": definition, "payload": { "x": 1 } });
    let import = json!({ "id": "run_imported", "status": "failure", "executionState": {} });
    for (number, (path, body)) in [
        ("/v1/runs", &start),
        ("/v1/runs/sync", &start),
        ("/v1/runs/import", &import),
        ("/v1/workflows/wf/run", &json!({ "payload": {} })),
    ]
    .into_iter()
    .enumerate()
    {
        let key = format!("key-{number}");
        let (status, first) = send(&app, path, &key, &body.to_string()).await;
        assert_eq!(status, 200, "{path}: {first}");
        let run = first["data"]["runId"].as_str().unwrap();
        app.ended(run).await;
        let (status, again) = send(&app, path, &key, &body.to_string()).await;
        assert_eq!(
            (status, &again["data"]["runId"]),
            (200, &json!(run)),
            "{path}"
        );
        assert_eq!(again["data"]["status"], first["data"]["status"], "{path}");
    }
    assert_eq!(
        app.get("/v1/runs").await["items"].as_array().unwrap().len(),
        4
    );
    app.stop().await;
}

async fn a_key_has_its_form(ledger: Ledger) {
    let app = TestApp::start(ledger).await;
    let source = stopped(&app).await;
    let path = format!("/v1/runs/{source}/retry");
    for key in ["", "\"\"", "\"open", "\"a\"b", &"k".repeat(256)] {
        let (status, answer) = send(&app, &path, key, "").await;
        assert_eq!((status, &answer["code"]), (400, &json!(400_000)), "{key:?}");
        assert!(
            answer["message"]
                .as_str()
                .unwrap()
                .contains("Idempotency-Key"),
            "{answer}"
        );
    }
    assert_eq!(send(&app, &path, &"k".repeat(255), "").await.0, 200);
    app.stop().await;
}

async fn promise_2_five_hundred_clients_with_one_key_make_one_retry(ledger: Ledger) {
    let app = std::sync::Arc::new(TestApp::start(ledger).await);
    let source = stopped(&app).await;
    let path = format!("/v1/runs/{source}/retry");
    let calls = (0..500).map(|_| {
        let (app, path) = (app.clone(), path.clone());
        tokio::spawn(async move { send(&app, &path, "one", "{}").await })
    });
    let calls: Vec<_> = calls.collect();
    let mut runs = std::collections::BTreeSet::new();
    for call in calls {
        let (status, answer) = call.await.unwrap();
        match (status, answer["error"]["reason"].as_str()) {
            (200, _) => {
                runs.insert(answer["data"]["id"].as_str().unwrap().to_owned());
            }
            (409, Some("idempotency_in_flight")) => {}
            other => panic!("{other:?}: {answer}"),
        }
    }
    assert_eq!(runs.len(), 1);
    assert_eq!(
        app.get("/v1/retries").await["items"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    std::sync::Arc::into_inner(app).unwrap().stop().await;
}
