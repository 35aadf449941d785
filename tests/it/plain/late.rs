//! What was given up may still be on its way.

use std::time::Duration;

use redrive::{config::DatabaseConfig, domain::NodeStatus, store::Store};

use crate::support::{
    ledger::{Ledger, config},
    proxy::{Proxy, server_of},
    rows::{DONE, checkpoint, claim, creation, id, import, node, try_retry},
};

const CONNECTIONS: &str = "
    select count(*) from pg_stat_activity
     where datname = current_database() and pid <> pg_backend_pid()";

/// Between a worker and its database, what one says takes a while: the worker hears that the wire is
/// broken, and writes over another one, before all that it said on the first has come.
#[tokio::test]
async fn promise_4_a_checkpoint_that_comes_late_undoes_nothing() {
    const EACH_WAY: Duration = Duration::from_millis(100);
    const ROUNDS: u32 = 12;
    let ledger = Ledger::postgres().await;
    let proxy = Proxy::to(server_of(&ledger.url));
    let one = DatabaseConfig {
        max_connections: 1,
        ..config(&proxy.instead_of_server(&ledger.url))
    };
    for round in 0..ROUNDS {
        let (source, run) = (format!("run_a{round}"), format!("run_b{round}"));
        import(&ledger.store, &source, None).await;
        try_retry(&ledger.store, &source, &run).await.unwrap();
        let fence = claim(&ledger.store, &run).await.unwrap().fence;
        let plan = creation(&["trigger"]);
        assert_eq!(ledger.store.create(&fence, &plan).await.unwrap(), DONE);
        let before = ledger.count(CONNECTIONS).await;
        let slow = Store::connect(&one).await.unwrap();

        // So that nothing but the statement is under way.
        let running = checkpoint(vec![node("pay", NodeStatus::Running)]);
        assert_eq!(slow.checkpoint(&fence, &running).await.unwrap(), DONE);
        // The pool looks at its connection again when it comes back.
        tokio::time::sleep(EACH_WAY).await;

        proxy.delay(EACH_WAY);
        proxy.half_close();
        tokio::time::sleep(EACH_WAY * round / ROUNDS).await;
        let first = slow.checkpoint(&fence, &running).await;
        proxy.delay(Duration::ZERO);
        if let Err(error) = first {
            assert!(error.is_unavailable(), "{error:?}");
        }
        let success = checkpoint(vec![node("pay", NodeStatus::Success)]);
        assert_eq!(
            ledger.store.checkpoint(&fence, &success).await.unwrap(),
            DONE
        );
        drop(slow);
        // What was said has come once its connections are gone.
        while ledger.count(CONNECTIONS).await > before {
            tokio::task::yield_now().await;
        }
        let nodes = ledger
            .store
            .nodes(&id(&run), Some(&[id("pay")]))
            .await
            .unwrap();
        assert_eq!(nodes[0].status, NodeStatus::Success, "round {round}");
    }
    ledger.remove().await;
}
