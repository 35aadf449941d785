//! Many at once, of which some are not plain: each has its own answer, and none waits for another.

use futures_util::future::join_all;
use redrive::{
    domain::{NodeStatus, Refusal, RefusalReason, Retry, Run, RunStatus},
    store::{
        Claim, Earlier, Fence, Finished, IdempotencyKey, NewRetry, Store, StoreError, Written,
    },
};
use sqlx::{Connection, PgConnection, Postgres, Transaction};

use crate::support::{
    ledger::Ledger,
    rows::{
        DONE, MINUTE, acme, checkpoint, claim, creation, finish, id, import, new_import, new_retry,
        node, run, try_retry,
    },
};

const MANY: usize = 8;

fn source(number: usize) -> String {
    format!("run_a{number}")
}

fn retried(number: usize) -> String {
    format!("run_b{number}")
}

async fn sources(store: &Store) {
    for number in 0..MANY {
        import(store, &source(number), None).await;
    }
}

async fn accept_all(
    store: &Store,
    new: &[NewRetry],
) -> Vec<Result<Result<(Run, Retry), Refusal>, StoreError>> {
    let accepted = join_all(new.iter().map(|new| store.accept_retry(new, None))).await;
    accepted
        .into_iter()
        .map(|done| done.map(Result::unwrap))
        .collect()
}

fn retries() -> Vec<NewRetry> {
    (0..MANY)
        .map(|n| new_retry(&source(n), &retried(n)))
        .collect()
}

async fn claimed(store: &Store) -> Vec<Claim> {
    let names: Vec<_> = (0..MANY).map(|n| id(&retried(n))).collect();
    let claims = join_all(names.iter().map(|run| store.claim_first(run, "w", MINUTE))).await;
    claims
        .into_iter()
        .map(|claim| claim.unwrap().unwrap())
        .collect()
}

async fn created(store: &Store) -> Vec<Fence> {
    sources(store).await;
    for accepted in accept_all(store, &retries()).await {
        accepted.unwrap().unwrap();
    }
    let claims = claimed(store).await;
    let plan = creation(&["trigger"]);
    let done = join_all(claims.iter().map(|claim| store.create(&claim.fence, &plan))).await;
    assert!(done.into_iter().all(|done| done.unwrap() == DONE));
    claims.into_iter().map(|claim| claim.fence).collect()
}

async fn transactions(ledger: &Ledger, table: &str) -> i64 {
    ledger
        .count(&format!("select count(distinct xmin::text) from {table}"))
        .await
}

async fn locked<'a>(db: &'a mut PgConnection, run: &'static str) -> Transaction<'a, Postgres> {
    let mut tx = db.begin().await.unwrap();
    let lock = "select id from runs where id = $1 for no key update";
    sqlx::query(lock).bind(run).execute(&mut *tx).await.unwrap();
    tx
}

/// All of them are asked for before the first is answered.
#[tokio::test]
async fn steps_that_are_taken_at_once_are_one_transaction_each() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let fences = created(store).await;
    assert_eq!(transactions(&ledger, "retries").await, 1);
    let own = "nodes where path = 'pay' and run_id like 'run_b%'";
    let write = checkpoint(vec![node("pay", NodeStatus::Running)]);
    let written = join_all(fences.iter().map(|fence| store.checkpoint(fence, &write))).await;
    assert!(written.into_iter().all(|written| written.unwrap() == DONE));
    assert_eq!(transactions(&ledger, own).await, 1);
    let end = finish(RunStatus::Success);
    let ended = join_all(fences.iter().map(|fence| store.finish(fence, &end))).await;
    assert!(
        ended
            .into_iter()
            .all(|ended| ended.unwrap() == Finished::Ended)
    );
    assert_eq!(
        transactions(&ledger, "runs where source_run_id is not null").await,
        1
    );
    assert_eq!(
        ledger
            .count("select count(*) from retries where live")
            .await,
        0
    );
    ledger.remove().await;
}

#[tokio::test]
async fn who_is_refused_or_in_the_way_leaves_the_others_accepted() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    sources(store).await;
    let mut new = retries();
    let succeeded = new_import("run_s", None, RunStatus::Success);
    store.import(&succeeded, None).await.unwrap().unwrap();
    new[2] = new_retry("run_s", "run_b2");
    new[4] = new_retry("run_a4", "run_a0"); // taken
    try_retry(store, "run_a6", "run_c6").await.unwrap();

    let accepted = accept_all(store, &new).await;
    for (number, accepted) in accepted.iter().enumerate() {
        match number {
            2 => assert_refused(accepted, RefusalReason::RunNotRetryable),
            4 => assert!(
                matches!(accepted, Err(StoreError::Inconsistent { .. })),
                "{accepted:?}"
            ),
            6 => assert_refused(accepted, RefusalReason::RetryInProgress),
            _ => assert_eq!(
                accepted.as_ref().unwrap().as_ref().unwrap().1.ordinal,
                Some(1)
            ),
        }
    }
    assert_eq!(ledger.count("select count(*) from retries").await, 6);
    ledger.remove().await;
}

fn assert_refused(
    accepted: &Result<Result<(Run, Retry), Refusal>, StoreError>,
    reason: RefusalReason,
) {
    let refusal = accepted.as_ref().unwrap().as_ref().unwrap_err();
    assert_eq!(refusal.reason, reason, "{refusal:?}");
}

#[tokio::test]
async fn of_many_for_one_run_one_is_accepted() {
    let ledger = Ledger::postgres().await;
    import(&ledger.store, "run_a", None).await;
    let others = [ledger.another().await, ledger.another().await];
    let new: Vec<_> = (0..90).map(|n| new_retry("run_a", &retried(n))).collect();
    let stores = [&ledger.store, &others[0], &others[1]];
    let accepted = join_all(
        new.chunks(30)
            .zip(stores)
            .map(|(new, store)| accept_all(store, new)),
    )
    .await;
    let accepted: Vec<_> = accepted.into_iter().flatten().map(Result::unwrap).collect();
    assert_eq!(accepted.iter().filter(|done| done.is_ok()).count(), 1);
    assert_eq!(ledger.count("select count(*) from retries").await, 1);
    ledger.remove().await;
}

/// Whoever has the chain may be frozen.
#[tokio::test]
async fn a_chain_that_is_locked_holds_up_no_other() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    sources(store).await;
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let tx = locked(&mut db, "run_a3").await;
    let new = retries();
    let behind = store.accept_retry(&new[3], None);
    let others = async {
        let others: Vec<_> = new
            .iter()
            .filter(|new| new.run.id != id("run_b3"))
            .cloned()
            .collect();
        for accepted in accept_all(store, &others).await {
            accepted.unwrap().unwrap();
        }
        tx.rollback().await.unwrap();
    };
    let (behind, ()) = tokio::join!(behind, others);
    behind.unwrap().unwrap().unwrap();
    assert_eq!(transactions(&ledger, "retries").await, 2);
    drop(db);
    ledger.remove().await;
}

#[tokio::test]
async fn promise_4_a_worker_that_lost_its_lease_writes_nothing_among_others() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let mut fences = created(store).await;
    fences[1].epoch += 1;
    fences[5].epoch -= 1;
    let is_fenced = |number| number == 1 || number == 5;
    let write = checkpoint(vec![node("pay", NodeStatus::Running)]);
    let written = join_all(fences.iter().map(|fence| store.checkpoint(fence, &write))).await;
    for (number, written) in written.into_iter().enumerate() {
        let expected = if is_fenced(number) {
            Written::LeaseLost
        } else {
            DONE
        };
        assert_eq!(written.unwrap(), expected, "{number}");
    }
    let end = finish(RunStatus::Success);
    let ended = join_all(fences.iter().map(|fence| store.finish(fence, &end))).await;
    for (number, ended) in ended.into_iter().enumerate() {
        let expected = if is_fenced(number) {
            Finished::LeaseLost
        } else {
            Finished::Ended
        };
        assert_eq!(ended.unwrap(), expected, "{number}");
    }
    let pays = "select count(*) from nodes where path = 'pay' and run_id like 'run_b%'";
    assert_eq!(ledger.count(pays).await, 6);
    ledger.remove().await;
}

#[tokio::test]
async fn a_run_that_is_locked_holds_up_no_other_holder() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let fences = created(store).await;
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let tx = locked(&mut db, "run_b2").await;
    let write = checkpoint(vec![node("pay", NodeStatus::Running)]);
    let behind = store.checkpoint(&fences[2], &write);
    let others = async {
        let others = fences.iter().filter(|fence| fence.run_id != id("run_b2"));
        for written in join_all(others.map(|fence| store.checkpoint(fence, &write))).await {
            assert_eq!(written.unwrap(), DONE);
        }
        tx.rollback().await.unwrap();
    };
    let (behind, ()) = tokio::join!(behind, others);
    assert_eq!(behind.unwrap(), DONE);
    drop(db);
    ledger.remove().await;
}

#[tokio::test]
async fn promise_2_one_key_for_two_runs_at_once_makes_one_run() {
    let ledger = Ledger::postgres().await;
    let other = ledger.another().await;
    for round in 0..20 {
        let sources = [format!("run_x{round}"), format!("run_y{round}")];
        for source in &sources {
            import(&ledger.store, source, None).await;
        }
        let new = sources
            .each_ref()
            .map(|source| new_retry(source, &format!("{source}_b")));
        let keys = ["f", "g"].map(|fingerprint| IdempotencyKey {
            organization_id: acme(),
            key: format!("k{round}"),
            fingerprint: fingerprint.into(),
        });
        // In one statement, and in those of two processes.
        let second = if round % 2 == 0 {
            &ledger.store
        } else {
            &other
        };
        let (a, b) = tokio::join!(
            ledger.store.accept_retry(&new[0], Some(&keys[0])),
            second.accept_retry(&new[1], Some(&keys[1])),
        );
        let done = [a.unwrap(), b.unwrap()];
        let accepted = done.iter().filter(|done| matches!(done, Ok(Ok(_)))).count();
        let earlier = done
            .iter()
            .filter(|done| matches!(done, Err(Earlier::Accepted { .. } | Earlier::InFlight)))
            .count();
        assert_eq!((accepted, earlier), (1, 1), "{done:?}");
    }
    assert_eq!(
        ledger.count("select count(*) from idempotency_keys").await,
        20
    );
    assert_eq!(ledger.count("select count(*) from retries").await, 20);
    ledger.remove().await;
}

#[tokio::test]
async fn what_was_asked_for_is_done_when_nobody_waits_any_more() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    import(store, "run_a", None).await;
    let new = new_retry("run_a", "run_b");
    tokio::select! {
        biased;
        _ = store.accept_retry(&new, None) => panic!("answered before it was asked"),
        () = std::future::ready(()) => {}
    }
    // Behind it in the same queue: refused once the first is there.
    let refused = try_retry(store, "run_a", "run_c").await.unwrap_err();
    assert_eq!(refused.reason, RefusalReason::RetryInProgress);
    assert_eq!(run(store, "run_b").await.status, RunStatus::Waiting);
    ledger.remove().await;
}

/// The server is gone in the middle of a statement: nobody knows what became of it.
#[tokio::test]
async fn a_statement_whose_answer_is_lost_is_in_doubt_for_all() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    sources(store).await;
    let mut db = PgConnection::connect(&ledger.url).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    sqlx::query("lock table outbox in exclusive mode")
        .execute(&mut *tx)
        .await
        .unwrap();
    let end_whoever_waits = async {
        let kill = "select count(pg_terminate_backend(pid)) from pg_stat_activity
                     where datname = current_database() and wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(kill)
            .fetch_one(&mut *tx)
            .await
            .unwrap()
            == 0
        {
            tokio::task::yield_now().await;
        }
        tx.rollback().await.unwrap();
    };
    let new = retries();
    let (accepted, ()) = tokio::join!(accept_all(store, &new), end_whoever_waits);
    for accepted in accepted {
        assert!(
            matches!(accepted, Err(StoreError::InDoubt(_))),
            "{accepted:?}"
        );
    }
    assert_eq!(ledger.count("select count(*) from retries").await, 0);
    assert!(claim(store, "run_b0").await.is_none());
    drop(db);
    ledger.remove().await;
}
