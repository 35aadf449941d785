//! Flows that share a transaction: nobody takes anybody along, and everybody keeps what was said.

use std::time::Duration;

use futures_util::future::join_all;
use redrive::store::{AcceptedStart, Earlier, Fence, IdempotencyKey, Store, StoreError};
use sqlx::{Connection, PgConnection};
use tokio::time::timeout;

use crate::support::{
    dice::Dice,
    ledger::Ledger,
    rows::{DONE, acme, checkpoint, claim, id, import, new_retry, new_start, start},
};

/// More than a round has room for.
const MANY: usize = 200;

async fn starts(store: &Store, runs: impl Iterator<Item = String>) -> Vec<AcceptedStart> {
    let starts = runs.map(|run| async move {
        let accepted = store.accept_start(&new_start(&run), None, None).await;
        accepted.unwrap().unwrap()
    });
    join_all(starts).await
}

#[tokio::test]
async fn flows_that_come_at_once_share_transactions() {
    let ledger = Ledger::postgres().await;
    let accepted = starts(&ledger.store, (0..MANY).map(|i| format!("run_{i}"))).await;
    assert!(accepted.iter().all(|one| *one == AcceptedStart::Accepted));
    let complete = "select count(*) from runs join outbox on outbox.run_id = runs.id
                      join nodes on nodes.run_id = runs.id";
    assert_eq!(ledger.count(complete).await, 200);
    let transactions = "select count(distinct xmin::text) from runs";
    let transactions = ledger.count(transactions).await;
    assert!(transactions < 20, "{transactions} transactions");
    ledger.remove().await;
}

#[tokio::test]
async fn promise_2_one_retry_of_each_source_is_accepted_whoever_shares_its_round() {
    let ledger = Ledger::postgres().await;
    for source in 0..10 {
        let source = format!("run_{source}");
        import(&ledger.store, &source, None).await;
    }
    let store = &ledger.store;
    let retries = (0..MANY).map(|i| async move {
        let new = new_retry(&format!("run_{}", i % 10), &format!("run_new_{i}"));
        store.accept_retry(&new, None).await.unwrap().unwrap()
    });
    let answers = join_all(retries).await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, 10);
    let live = "select count(*) from retries where live";
    assert_eq!(ledger.count(live).await, 10);
    assert_eq!(ledger.count("select count(*) from outbox").await, 10);
    ledger.remove().await;
}

#[tokio::test]
async fn a_flow_that_fails_takes_nobody_along() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let starts = (0..MANY).map(|i| async move {
        let mut new = new_start(&format!("run_{i}"));
        if i % 50 == 7 {
            // The schema refuses it.
            new.run.waiting_for = None;
        }
        store.accept_start(&new, None, None).await
    });
    let answers = join_all(starts).await;
    for (i, answer) in answers.iter().enumerate() {
        match answer {
            Ok(Ok(AcceptedStart::Accepted)) => assert_ne!(i % 50, 7, "{i}"),
            Err(StoreError::Driver(_)) => assert_eq!(i % 50, 7, "{i}"),
            other => panic!("{i}: {other:?}"),
        }
    }
    assert_eq!(ledger.count("select count(*) from runs").await, 196);
    ledger.remove().await;
}

#[tokio::test]
async fn a_flow_that_is_dropped_half_way_takes_nobody_along() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let mut dice = Dice(7);
    for round in 0..20 {
        let starts = (0..50).map(|i| {
            let patience = (i % 3 == 0).then(|| dice.up_to(Duration::from_millis(20)));
            async move {
                let new = new_start(&format!("run_{round}_{i}"));
                let accepting = store.accept_start(&new, None, None);
                match patience {
                    Some(patience) => timeout(patience, accepting).await.ok(),
                    None => Some(accepting.await),
                }
            }
        });
        for answer in join_all(starts.collect::<Vec<_>>())
            .await
            .into_iter()
            .flatten()
        {
            assert_eq!(answer.unwrap().unwrap(), AcceptedStart::Accepted);
        }
    }
    let whole = ledger.count("select count(*) from runs").await;
    assert!(whole >= 20 * 33, "{whole}");
    let halves = "select count(*) from runs
                   where id not in (select run_id from outbox)
                      or id not in (select run_id from nodes)";
    assert_eq!(ledger.count(halves).await, 0);
    // Nothing is held: the next one finds everything free.
    starts(store, std::iter::once("run_last".to_owned())).await;
    ledger.remove().await;
}

#[tokio::test]
async fn the_last_places_of_an_organisation_are_given_once() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let starts = (0..MANY).map(|i| async move {
        let new = new_start(&format!("run_{i}"));
        store.accept_start(&new, None, Some(10)).await.unwrap()
    });
    let answers = join_all(starts).await;
    let accepted = answers
        .iter()
        .filter(|answer| matches!(answer, Ok(AcceptedStart::Accepted)))
        .count();
    assert_eq!(accepted, 10);
    assert_eq!(ledger.count("select count(*) from runs").await, 10);
    ledger.remove().await;
}

#[tokio::test]
async fn promise_2_a_key_makes_one_run_whoever_shares_its_round() {
    let ledger = Ledger::postgres().await;
    let store = &ledger.store;
    let starts = (0..MANY).map(|i| async move {
        let key = IdempotencyKey {
            organization_id: acme(),
            key: format!("key-{}", i % 20),
            fingerprint: "same".into(),
        };
        let new = new_start(&format!("run_{i}"));
        store.accept_start(&new, Some(&key), None).await.unwrap()
    });
    let answers = join_all(starts).await;
    let accepted = answers.iter().filter(|answer| answer.is_ok()).count();
    assert_eq!(accepted, 20);
    for answer in &answers {
        if let Err(earlier) = answer {
            let is_known = matches!(earlier, Earlier::InFlight | Earlier::Accepted { .. });
            assert!(is_known, "{earlier:?}");
        }
    }
    assert_eq!(ledger.count("select count(*) from runs").await, 20);
    ledger.remove().await;
}

/// A round never waits for a lock: whoever would have to does so alone.
#[tokio::test]
async fn a_run_that_is_locked_holds_up_no_other_flow() {
    let ledger = Ledger::postgres().await;
    let mut fences: Vec<Fence> = Vec::new();
    for i in 0..30 {
        let run = format!("run_{i}");
        start(&ledger.store, &run).await;
        fences.push(claim(&ledger.store, &run).await.unwrap().fence);
    }
    let mut other = PgConnection::connect(&ledger.url).await.unwrap();
    let mut tx = other.begin().await.unwrap();
    sqlx::query("select id from runs where id = 'run_0' for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    let store = &ledger.store;
    let write = |fence: &Fence| {
        let (fence, checkpoint) = (fence.clone(), checkpoint(Vec::new()));
        async move { store.checkpoint(&fence, &checkpoint).await.unwrap() }
    };
    let locked = write(&fences[0]);
    let free = timeout(
        Duration::from_secs(2),
        join_all(fences[1..].iter().map(write)),
    );
    let unlock = async {
        let written = free.await.expect("nobody waits for somebody else's run");
        assert!(written.iter().all(|one| *one == DONE), "{written:?}");
        tx.rollback().await.unwrap();
    };
    let (written, ()) = tokio::join!(locked, unlock);
    assert_eq!(written, DONE);
    drop(other);
    ledger.remove().await;
}

#[tokio::test]
async fn reads_that_come_at_once_get_each_their_own_answer() {
    let ledger = Ledger::postgres().await;
    for i in 0..20 {
        start(&ledger.store, &format!("run_{i}")).await;
    }
    let store = &ledger.store;
    let reads = (0..MANY).map(|i| async move {
        // Every third is nobody's, every third another's.
        let run = if i % 3 == 0 {
            format!("run_none_{i}")
        } else {
            format!("run_{}", i % 20)
        };
        let organization = if i % 3 == 1 { id("other") } else { acme() };
        let found = store.run(&organization, &id(&run)).await.unwrap();
        let nodes = store.nodes(&id(&run), None).await.unwrap();
        let line = store.line(&id(&run)).await.unwrap();
        (i, run, found, nodes, line)
    });
    for (i, run, found, nodes, line) in join_all(reads).await {
        let found = found.map(|found| found.id.to_string());
        assert_eq!(found, (i % 3 == 2).then(|| run.clone()), "{i}");
        assert_eq!(nodes.len(), usize::from(i % 3 != 0), "{i}");
        assert_eq!(line, [id(&run)], "{i}");
    }
    ledger.remove().await;
}

#[tokio::test]
async fn one_row_that_nobody_can_read_fails_its_own_reader_only() {
    let ledger = Ledger::postgres().await;
    for i in 0..20 {
        start(&ledger.store, &format!("run_{i}")).await;
    }
    ledger
        .execute("update nodes set attempts = 'no list' where run_id = 'run_7'")
        .await;
    let store = &ledger.store;
    let reads = (0..MANY).map(|i| async move {
        let run = format!("run_{}", i % 20);
        (i % 20, store.nodes(&id(&run), None).await)
    });
    for (i, nodes) in join_all(reads).await {
        match nodes {
            Ok(nodes) => assert!(i != 7 && nodes.len() == 1, "{i}"),
            Err(StoreError::Inconsistent { .. }) => assert_eq!(i, 7),
            Err(error) => panic!("{i}: {error}"),
        }
    }
    ledger.remove().await;
}
