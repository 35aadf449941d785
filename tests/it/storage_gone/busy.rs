//! All connections are in use.

use std::time::{Duration, Instant};

use redrive::app::Role;
use sqlx::{Connection, Executor, PgConnection};

use super::{exists, import, is_unavailable};
use crate::support::{app::TestApp, ledger::Ledger, raw::Request};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_free_connection_a_call_is_told_to_come_back_and_nothing_is_stored() {
    let ledger = Ledger::postgres().await;
    let app = TestApp::start_as(&[Role::Api], ledger, |config| {
        config.database.max_connections = 1;
        config.database.acquire_timeout_ms = 300;
    })
    .await;
    let mut holder = PgConnection::connect(&app.ledger.url).await.unwrap();
    holder.execute("begin").await.unwrap();
    holder.execute("lock table runs").await.unwrap();
    // It has the one connection and waits for the table.
    let holding = import("run_holding", 10).send_authorized(&app);
    let refused = async {
        let waiting = "select count(*) from pg_locks where not granted";
        while app.ledger.count(waiting).await == 0 {
            tokio::task::yield_now().await;
        }
        for call in [
            import("run_refused", 10),
            Request::new("GET", "/v1/retries"),
        ] {
            let (what, asked) = (call.to_string(), Instant::now());
            is_unavailable(&call.send_authorized(&app).await, &what);
            assert!(asked.elapsed() < Duration::from_secs(3), "{what}");
        }
        holder.execute("rollback").await.unwrap();
    };
    let (holding, ()) = tokio::join!(holding, refused);
    holding.assert_success("the one with the connection");
    assert!(exists(&app, "run_holding").await);
    assert!(!exists(&app, "run_refused").await);
    let again = import("run_refused", 10).send_authorized(&app).await;
    again.assert_success("again");
    app.stop().await.remove().await;
}
