//! PostgreSQL is stopped.

use serde_json::json;

use super::{definition, exists, import, is_unavailable, start};
use crate::support::{app::TestApp, ledger::Ledger, raw::Request, server::Server};
use redrive::app::Role;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_postgres_is_stopped_every_call_is_told_to_come_back_and_nothing_is_stored() {
    let server = Server::postgres().await;
    let ledger = Ledger::postgres_at(server.url.clone()).await;
    let app = TestApp::start_as(&[Role::Api], ledger, |config| {
        config.database.acquire_timeout_ms = 300;
    })
    .await;
    let before = import("run_before", 10).send_authorized(&app).await;
    before.assert_success("before");

    server.tell("stop-postgres", &["fast"]).await;
    let put = json!({ "name": "w", "definition": definition() }).to_string();
    let calls = [
        start("run_away"),
        import("run_away", 10),
        Request::json("POST", "/v1/runs/run_before/retry", "{}"),
        Request::json("POST", "/v1/runs/run_before/retry", "{}").header("idempotency-key", "k"),
        Request::json("POST", "/v1/runs/run_before/retry-plan", "{}"),
        Request::json("POST", "/v1/runs/run_before/cancel", "{}"),
        Request::json("PUT", "/v1/workflows/w", put),
        Request::new("GET", "/v1/runs/run_before"),
        Request::new("GET", "/v1/retries"),
    ];
    for call in calls {
        let what = call.to_string();
        is_unavailable(&call.send_authorized(&app).await, &what);
    }

    server.tell("start-postgres", &[]).await;
    let stored = app.get("/v1/runs").await;
    assert_eq!(stored["items"].as_array().unwrap().len(), 1, "{stored}");
    assert_eq!(app.get("/v1/retries").await["items"], json!([]));
    assert_eq!(app.get("/v1/workflows").await["items"], json!([]));
    let again = start("run_away").send_authorized(&app).await;
    again.assert_success("again");
    assert!(exists(&app, "run_away").await);
    app.retry("run_before").await;
    app.stop().await;
}
