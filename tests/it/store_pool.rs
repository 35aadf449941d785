//! What the pools promise, and who may serve from a file.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use redrive::store::{SqliteStore, Store, StoreError};
use sqlx::{Connection, PgConnection};
use tokio::{io::AsyncReadExt, net::TcpListener};

use crate::support::{
    ledger::{Ledger, config},
    proxy::{Proxy, server_of},
    rows::{MINUTE, acme, claim, id, import, new_retry, new_start, now, start},
};

/// A future that is dropped while it waits for BEGIN must not swallow the next borrower's write.
#[tokio::test]
async fn promise_1_a_dropped_begin_loses_no_later_write() {
    let ledger = Ledger::postgres().await;
    let one = redrive::config::DatabaseConfig {
        max_connections: 1,
        ..config(&ledger.url)
    };
    let store = Store::connect(&one).await.unwrap();
    let mut observer = PgConnection::connect(&ledger.url).await.unwrap();
    let began = Instant::now();
    let mut round = 0_u64;
    while began.elapsed() < Duration::from_secs(2) || round <= 60 {
        let patience = Duration::from_micros(10 + (round % 30) * 20);
        let (organization, run) = (acme(), id(&format!("run_{round}")));
        let dropped = store.request_cancel(&organization, &run, now());
        drop(tokio::time::timeout(patience, dropped).await);
        // One statement outside any transaction, as a token's is.
        let token = redrive::store::NewToken {
            id: id(&format!("tok_{round}")),
            organization_id: acme(),
            name: None,
            secret_hash: String::new(),
            scopes: String::new(),
            created_at: now(),
        };
        store.insert_token(&token).await.unwrap();
        let seen: i64 = sqlx::query_scalar("select count(*) from tokens where id = $1")
            .bind(token.id.as_str())
            .fetch_one(&mut observer)
            .await
            .unwrap();
        assert_eq!(seen, 1, "acknowledged write {round} was never committed");
        round += 1;
    }
    drop(observer);
    ledger.remove().await;
}

/// A checkpoint on a slow wire keeps its run locked for as long as it takes.
#[tokio::test]
async fn a_run_that_is_locked_holds_up_no_renewal() {
    let ledger = Ledger::postgres().await;
    for run in ["run_locked", "run_free"] {
        start(&ledger.store, run).await;
    }
    let locked = claim(&ledger.store, "run_locked").await.unwrap().fence;
    let free = claim(&ledger.store, "run_free").await.unwrap().fence;
    let mut other = PgConnection::connect(&ledger.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    let lock = "select id from runs where id = 'run_locked' for update";
    sqlx::query(lock).execute(&mut *tx).await.unwrap();

    let fences = [locked, free];
    let renewed = ledger.store.renew(&fences, MINUTE).await.unwrap();
    let mut renewed: Vec<_> = renewed
        .iter()
        .map(|lease| (lease.run_id.as_str(), lease.extended))
        .collect();
    renewed.sort_unstable();
    assert_eq!(renewed, [("run_free", true), ("run_locked", false)]);
    tx.rollback().await.unwrap();
    let renewed = ledger.store.renew(&fences, MINUTE).await.unwrap();
    assert!(renewed.iter().all(|lease| lease.extended), "{renewed:?}");
    drop(other);
    ledger.remove().await;
}

/// A wire that carries nothing any more does not say so, and its statement has no end.
#[tokio::test]
async fn a_wire_that_went_silent_is_given_up() {
    let ledger = Ledger::postgres().await;
    let proxy = Proxy::to(server_of(&ledger.url));
    let through = config(&proxy.instead_of_server(&ledger.url));
    let store = Store::connect(&through).await.unwrap();
    import(&store, "run_a", None).await;
    let (organization, id) = (acme(), id("run_a"));
    let runs = join_all((0..2).map(|_| store.run(&organization, &id))).await;
    assert!(runs.into_iter().all(|run| run.unwrap().is_some()));

    proxy.forget();
    let began = Instant::now();
    // Until no connection is left of those that there were.
    while let Err(error) = store.run(&organization, &id).await {
        assert!(error.is_unavailable(), "{error:?}");
    }
    println!("{:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_mins(1));
    let new = new_retry("run_a", "run_b");
    store
        .accept_retry(&new, None)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    proxy.cut();
    ledger.remove().await;
}

#[tokio::test]
async fn dropped_writes_leave_an_embedded_ledger_usable() {
    let ledger = Ledger::sqlite().await;
    for round in 0..200_u64 {
        let patience = Duration::from_micros(10 + (round % 30) * 20);
        let start = new_start(&format!("run_{round}"));
        drop(tokio::time::timeout(patience, ledger.store.accept_start(&start, None, None)).await);
    }
    let start = new_start("run_last");
    ledger
        .store
        .accept_start(&start, None, None)
        .await
        .unwrap()
        .unwrap();
    let halves = "select count(*) from runs where id not in (select run_id from outbox)";
    assert_eq!(ledger.count(halves).await, 0);
}

#[tokio::test]
async fn one_process_serves_from_a_file() {
    let ledger = Ledger::sqlite().await;
    let open = async || SqliteStore::connect(&config(&ledger.url)).await.unwrap();
    let (one, other) = (open().await, open().await);
    let held = one.lock_for_serving().unwrap();
    let refused = other.lock_for_serving().unwrap_err();
    assert!(matches!(refused, StoreError::Locked { .. }), "{refused}");
    // What does not serve works beside it.
    assert_eq!(ledger.store.backlog().await.unwrap().due, 0);
    drop(held);
    other.lock_for_serving().unwrap();
}

#[tokio::test]
async fn a_server_that_is_away_is_unavailable() {
    let nobody = redrive::config::DatabaseConfig {
        acquire_timeout_ms: 200,
        ..config("postgres://nobody@127.0.0.1:1/none")
    };
    let refused = Store::connect(&nobody).await.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    let unknown = Store::connect(&config("mysql://x")).await.unwrap_err();
    assert!(matches!(unknown, StoreError::UnknownScheme));
}

/// A server that goes down, or a balancer in front of one, takes connections and hangs up.
#[tokio::test]
async fn a_server_that_hangs_up_is_unavailable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let hanging_up = tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            // The end and not a reset, as with a server that has heard the request.
            let _ = client.read(&mut [0; 64]).await;
        }
    });
    let refused = Store::connect(&config(&format!("postgres://nobody@{address}/none"))).await;
    let refused = refused.unwrap_err();
    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused:?}");
    hanging_up.abort();
}

#[tokio::test]
async fn a_store_is_printed_without_its_password() {
    let ledger = Ledger::postgres().await;
    let printed = format!("{:?}", ledger.store);
    assert!(!printed.contains("password"), "{printed}");
    assert!(!printed.contains(&ledger.url), "{printed}");
    ledger.remove().await;
}
