//! Keys of requests, and how many runs an organisation has under way.

use redrive::{
    domain::RunStatus,
    store::{AcceptedStart, Earlier, IdempotencyKey, ImportOutcome, NewStart},
};

use crate::support::{
    ledger::Ledger,
    rows::{end, id, import, new_import, new_retry, new_start, run},
};

fn key(of: &str, key: &str, fingerprint: &str) -> IdempotencyKey {
    IdempotencyKey {
        organization_id: id(of),
        key: key.into(),
        fingerprint: fingerprint.into(),
    }
}

fn accepted(run: &str, fingerprint: &str) -> Earlier {
    Earlier::Accepted {
        run_id: id(run),
        fingerprint: fingerprint.into(),
    }
}

pub(super) async fn a_key_leads_to_what_was_accepted_under_it(ledger: &Ledger) {
    let store = &ledger.store;
    let start = key("acme", "start", "s");
    assert_eq!(store.earlier(&start).await.unwrap(), None);
    let first = store
        .accept_start(&new_start("run_a"), Some(&start), None)
        .await;
    assert_eq!(first.unwrap(), Ok(AcceptedStart::Accepted));
    let earlier = accepted("run_a", "s");
    assert_eq!(store.earlier(&start).await.unwrap(), Some(earlier.clone()));
    // Whatever the request is by now: the key comes first.
    let other = key("acme", "start", "x");
    let again = store
        .accept_start(&new_start("run_b"), Some(&other), None)
        .await;
    assert_eq!(again.unwrap(), Err(earlier));

    let of_import = key("acme", "import", "i");
    let new = new_import("run_c", None, RunStatus::Failure);
    let first = store.import(&new, Some(&of_import)).await.unwrap().unwrap();
    assert!(matches!(first, ImportOutcome::Imported(_)));
    let again = store.import(&new, Some(&of_import)).await.unwrap();
    assert_eq!(again, Err(accepted("run_c", "i")));

    let of_retry = key("acme", "retry", "r");
    let new = new_retry("run_c", "run_d");
    store
        .accept_retry(&new, Some(&of_retry))
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let again = store
        .accept_retry(&new_retry("run_c", "run_e"), Some(&of_retry))
        .await;
    assert_eq!(again.unwrap(), Err(accepted("run_d", "r")));
    assert_eq!(ledger.count("select count(*) from runs").await, 3);
}

pub(super) async fn a_refusal_keeps_no_key(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    store
        .accept_retry(&new_retry("run_a", "run_b"), None)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let again = key("acme", "k", "r");
    let refused = store
        .accept_retry(&new_retry("run_a", "run_c"), Some(&again))
        .await;
    assert!(refused.unwrap().unwrap().is_err());
    assert_eq!(store.earlier(&again).await.unwrap(), None);
    end(store, "run_b", RunStatus::Failure).await;
    let accepted = store
        .accept_retry(&new_retry("run_b", "run_c"), Some(&again))
        .await;
    assert!(accepted.unwrap().unwrap().is_ok());
}

pub(super) async fn keys_of_organisations_are_apart(ledger: &Ledger) {
    let store = &ledger.store;
    let ours = key("acme", "k", "s");
    let start = new_start("run_a");
    store
        .accept_start(&start, Some(&ours), None)
        .await
        .unwrap()
        .unwrap();
    let theirs = key("other", "k", "s");
    assert_eq!(store.earlier(&theirs).await.unwrap(), None);
    let mut start = new_start("run_b");
    start.run.organization_id = id("other");
    let accepted = store
        .accept_start(&start, Some(&theirs), None)
        .await
        .unwrap();
    assert_eq!(accepted, Ok(AcceptedStart::Accepted));
}

pub(super) async fn a_key_is_forgotten_after_a_day(ledger: &Ledger) {
    let store = &ledger.store;
    for (name, run) in [("old", "run_a"), ("new", "run_b")] {
        let (key, start) = (key("acme", name, "s"), new_start(run));
        store
            .accept_start(&start, Some(&key), None)
            .await
            .unwrap()
            .unwrap();
    }
    ledger
        .execute("update idempotency_keys set created_at = '2026-01-01T00:00:00.000000Z' where key = 'old'")
        .await;
    let old = key("acme", "old", "s");
    assert_eq!(store.earlier(&old).await.unwrap(), None);
    let again = store
        .accept_start(&new_start("run_c"), Some(&old), None)
        .await;
    assert_eq!(
        again.unwrap(),
        Ok(AcceptedStart::Accepted),
        "it may be used anew"
    );
    assert_eq!(
        store.earlier(&old).await.unwrap(),
        Some(accepted("run_c", "s"))
    );
    assert_eq!(store.forget_keys(10).await.unwrap(), 0);
    ledger
        .execute("update idempotency_keys set created_at = '2026-01-01T00:00:00.000000Z'")
        .await;
    assert_eq!(store.forget_keys(1).await.unwrap(), 1);
    assert_eq!(store.forget_keys(10).await.unwrap(), 1);
    assert_eq!(
        ledger.count("select count(*) from idempotency_keys").await,
        0
    );
}

pub(super) async fn promise_2_one_key_makes_one_run(ledger: &Ledger) {
    let calls = (0..50).map(|number| {
        let store = ledger.store.clone();
        let start = new_start(&format!("run_{number}"));
        tokio::spawn(async move {
            let key = key("acme", "k", "s");
            store.accept_start(&start, Some(&key), None).await.unwrap()
        })
    });
    let calls: Vec<_> = calls.collect();
    let mut made = 0;
    for call in calls {
        match call.await.unwrap() {
            Ok(AcceptedStart::Accepted) => made += 1,
            Ok(other) => panic!("{other:?}"),
            Err(Earlier::InFlight | Earlier::Accepted { .. }) => {}
        }
    }
    assert_eq!(made, 1);
    assert_eq!(ledger.count("select count(*) from runs").await, 1);
}

pub(super) async fn only_so_many_runs_of_an_organisation_are_under_way(ledger: &Ledger) {
    let store = &ledger.store;
    let calls = (0..20).map(|number| {
        let store = store.clone();
        let start = new_start(&format!("run_{number}"));
        tokio::spawn(async move { store.accept_start(&start, None, Some(3)).await.unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    let mut accepted = Vec::new();
    for (number, call) in calls.into_iter().enumerate() {
        match call.await.unwrap().unwrap() {
            AcceptedStart::Accepted => accepted.push(format!("run_{number}")),
            AcceptedStart::TooManyLive => {}
            AcceptedStart::RunExists => panic!("run_{number} exists"),
        }
    }
    assert_eq!(accepted.len(), 3);
    let mut others: NewStart = new_start("run_other");
    others.run.organization_id = id("other");
    let of_others = store.accept_start(&others, None, Some(3)).await.unwrap();
    assert_eq!(of_others, Ok(AcceptedStart::Accepted));

    import(store, "run_failed", None).await;
    let mut retry = new_retry("run_failed", "run_retry");
    retry.terms.live_limit = Some(3);
    let refused = store
        .accept_retry(&retry, None)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.reason.as_str(), "rate_limited");
    end(store, &accepted[0], RunStatus::Success).await;
    assert_eq!(run(store, &accepted[0]).await.status, RunStatus::Success);
    assert!(
        store
            .accept_retry(&retry, None)
            .await
            .unwrap()
            .unwrap()
            .is_ok()
    );
}
