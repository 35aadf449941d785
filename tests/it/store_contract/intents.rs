//! Retries that somebody else published.

use redrive::{
    domain::{JsonText, Refusal, RefusalReason, Retry, RetryState},
    store::{AcceptedIntent, NewRetry, RetryFilter, Store},
};

use crate::support::{
    ledger::Ledger,
    rows::{MINUTE, acme, id, import, json, lease_due, new_retry, retry_of, start, try_retry},
};

const INTENT: &str = r#"{"schema":"redrive.intent.v1","n":1.50}"#;

/// A retry whose id is chosen by its publisher.
fn published(source: &str, run: &str, retry: &str) -> NewRetry {
    let mut new = new_retry(source, run);
    new.retry.id = id(retry);
    new
}

async fn accept(store: &Store, new: &NewRetry) -> AcceptedIntent {
    store.accept_intent(new, &json(INTENT)).await.unwrap()
}

async fn refusal(store: &Store, new: &NewRetry) -> Refusal {
    match accept(store, new).await {
        AcceptedIntent::Refused(refusal) => refusal,
        other @ (AcceptedIntent::Accepted(_) | AcceptedIntent::Exists(_)) => panic!("{other:?}"),
    }
}

/// The intent behind a retry of `acme`.
async fn intent(store: &Store, retry: &str) -> Option<Option<JsonText>> {
    store.intent(&acme(), &id(retry)).await.unwrap()
}

pub(super) async fn an_intent_is_accepted_like_a_retry(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    assert_eq!(intent(store, "their-1").await, None);
    let AcceptedIntent::Accepted(accepted) =
        accept(store, &published("run_a", "run_b", "their-1")).await
    else {
        panic!("it can be accepted");
    };
    let (run, retry) = *accepted;
    assert_eq!((run.root_run_id, run.created), (id("run_a"), false));
    assert_eq!(retry.state, RetryState::Queued);
    assert_eq!(retry_of(store, "run_b").await, retry);
    assert_eq!(intent(store, "their-1").await, Some(Some(json(INTENT))));
    let due = lease_due(store, 9, MINUTE).await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].retry_id, Some(retry.id));
}

pub(super) async fn promise_2_an_intent_that_comes_often_is_one_retry(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    let calls = (0..20).map(|n| {
        let store = store.clone();
        // Without an id of its publisher's, each delivery chooses another run.
        let new = published("run_a", &format!("run_b{n}"), "their-1");
        tokio::spawn(async move { accept(&store, &new).await })
    });
    let calls: Vec<_> = calls.collect();
    let (mut accepted, mut earlier) = (0, Vec::new());
    for call in calls {
        match call.await.unwrap() {
            AcceptedIntent::Accepted(_) => accepted += 1,
            AcceptedIntent::Exists(intent) => earlier.push(intent),
            AcceptedIntent::Refused(refusal) => panic!("{refusal:?}"),
        }
    }
    assert_eq!((accepted, earlier.len()), (1, 19));
    // Whether the content is the same, the caller sees.
    assert!(earlier.iter().all(|text| *text == Some(json(INTENT))));
    let other = store
        .accept_intent(&published("run_a", "run_x", "their-1"), &json("{}"))
        .await;
    let Ok(AcceptedIntent::Exists(first)) = other else {
        panic!("{other:?}");
    };
    assert_eq!(first, Some(json(INTENT)), "the first one stays");
    assert_eq!(ledger.count("select count(*) from runs").await, 2);
    // A retry that was requested has no intent.
    import(store, "run_s", None).await;
    try_retry(store, "run_s", "run_t").await.unwrap();
    let requested = retry_of(store, "run_t").await.id;
    assert_eq!(intent(store, requested.as_str()).await, Some(None));
    let taken = accept(store, &published("run_s", "run_u", requested.as_str())).await;
    assert!(matches!(taken, AcceptedIntent::Exists(None)), "{taken:?}");
}

pub(super) async fn an_intent_may_not_take_the_id_of_a_run(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    start(store, "run_b").await;
    for taken in ["run_a", "run_b"] {
        let refused = refusal(store, &published("run_a", taken, "their-1")).await;
        assert_eq!(refused, Refusal::run_exists(&id(taken)));
    }
    assert_eq!(intent(store, "their-1").await, None, "nothing is stored");
    assert_eq!(ledger.count("select count(*) from retries").await, 0);
    let unknown = refusal(store, &published("run_none", "run_c", "their-1")).await;
    assert_eq!(unknown.reason, RefusalReason::MissingState);
    let live = refusal(store, &published("run_b", "run_c", "their-1")).await;
    assert_eq!(live.reason, RefusalReason::RunStillActive);
}

/// The record of a refused intent.
fn refused(source: &str, retry: &str) -> Retry {
    Retry {
        run_id: None,
        root_run_id: None,
        state: RetryState::Refused,
        refusal: Some(Refusal::run_not_found(&id(source))),
        ..published(source, "run_unused", retry).retry
    }
}

pub(super) async fn a_refused_intent_is_a_retry_without_a_run(ledger: &Ledger) {
    let store = &ledger.store;
    let record = refused("run_none", "their-1");
    assert!(store.refuse_intent(&record, &json(INTENT)).await.unwrap());
    let found = store.retry(&acme(), &record.id).await.unwrap().unwrap();
    assert_eq!((&found.run_id, &found.root_run_id), (&None, &None));
    assert_eq!(found.refusal, record.refusal);
    assert_eq!(found.state, RetryState::Refused);
    // Once more changes nothing, and says so.
    let again = store.refuse_intent(&record, &json("{}")).await.unwrap();
    assert!(!again);
    assert_eq!(intent(store, "their-1").await, Some(Some(json(INTENT))));
    let filter = RetryFilter {
        state: Some(RetryState::Refused),
        limit: 9,
        ..RetryFilter::default()
    };
    let listed = store.retries(&acme(), &filter).await.unwrap();
    assert_eq!(listed, [found]);
    // The id is taken for good: the same intent is not accepted later.
    import(store, "run_none", None).await;
    let late = accept(store, &published("run_none", "run_b", "their-1")).await;
    assert!(matches!(late, AcceptedIntent::Exists(Some(_))), "{late:?}");
    // It does not stand in the way of others.
    let other = accept(store, &published("run_none", "run_b", "their-2")).await;
    assert!(matches!(other, AcceptedIntent::Accepted(_)), "{other:?}");
    let lost = refused("run_gone", "their-2");
    assert!(!store.refuse_intent(&lost, &json(INTENT)).await.unwrap());
}

pub(super) async fn the_ids_of_intents_belong_to_their_organisation(ledger: &Ledger) {
    let store = &ledger.store;
    let mine = refused("run_none", "their-1");
    assert!(store.refuse_intent(&mine, &json(INTENT)).await.unwrap());
    let mut others = mine.clone();
    others.organization_id = id("other");
    assert!(store.refuse_intent(&others, &json("{}")).await.unwrap());
    assert_eq!(intent(store, "their-1").await, Some(Some(json(INTENT))));
    let theirs = store.intent(&id("other"), &mine.id).await.unwrap();
    assert_eq!(theirs, Some(Some(json("{}"))));
    let third = store.intent(&id("third"), &mine.id).await.unwrap();
    assert_eq!(third, None);
}
