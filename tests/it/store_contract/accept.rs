//! What comes in.

use redrive::{
    domain::{Lane, Refusal, RefusalReason, RetryId, RetryState, RunStatus},
    store::{AcceptedStart, CancelOutcome, ImportOutcome, RunFilter, WorkKind},
};

use crate::support::{
    ledger::Ledger,
    rows::{
        MINUTE, acme, claim, end, failed_chain, id, import, lease_due, new_import, new_retry,
        new_start, now, retry_of, run, start, try_retry,
    },
};

pub(super) async fn a_start_is_stored_once(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let stored = run(store, "run_a").await;
    assert_eq!(stored.status, RunStatus::Waiting);
    let again = store
        .accept_start(&new_start("run_a"), None, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, AcceptedStart::RunExists);
    let mut foreign = new_start("run_a");
    foreign.run.organization_id = id("other");
    let again = store
        .accept_start(&foreign, None, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(again, AcceptedStart::RunExists);
    let due = lease_due(store, 10, MINUTE).await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].kind, WorkKind::Run);
    assert_eq!(due[0].retry_id, None);
    assert_eq!(due[0].traceparent.as_deref(), Some("00-trace"));
    let nodes = store.nodes(&id("run_a"), None).await.unwrap();
    assert_eq!(nodes, [new_start("run_a").trigger]);
}

pub(super) async fn migrations_may_run_any_number_of_times(ledger: &Ledger) {
    let stores = [ledger.another().await, ledger.another().await];
    let (a, b) = tokio::join!(stores[0].migrate(), stores[1].migrate());
    a.unwrap();
    b.unwrap();
    assert_eq!(ledger.store.missing_migrations().await.unwrap(), 0);
    ledger.store.ping().await.unwrap();
    ledger.execute("drop table _sqlx_migrations").await;
    assert!(ledger.store.missing_migrations().await.unwrap() > 0);
}

pub(super) async fn promise_1_an_accepted_retry_is_reserved_and_due(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    let (new, retry) = try_retry(store, "run_a", "run_b").await.unwrap();
    assert_eq!((retry.ordinal, retry.state), (Some(1), RetryState::Queued));
    // What was answered is what another process reads.
    let other = ledger.another().await;
    assert_eq!(run(&other, "run_b").await, new);
    assert_eq!(retry_of(&other, "run_b").await, retry);
    let found = other.retry(&acme(), &retry.id).await.unwrap();
    assert_eq!(found, Some(retry.clone()));
    let due = lease_due(&other, 10, MINUTE).await;
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].kind, WorkKind::Retry);
    assert_eq!(due[0].retry_id, Some(retry.id));
    assert_eq!(due[0].lane, Lane::Bulk);
}

pub(super) async fn promise_2_one_retry_one_new_run(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    let calls = (0..100).map(|n| {
        let store = store.clone();
        let new = new_retry("run_a", &format!("run_b{n}"));
        tokio::spawn(async move { store.accept_retry(&new, None).await.unwrap().unwrap() })
    });
    let calls: Vec<_> = calls.collect();
    let (mut accepted, mut refused) = (Vec::new(), Vec::new());
    for call in calls {
        match call.await.unwrap() {
            Ok((run, _)) => accepted.push(run),
            Err(refusal) => refused.push(refusal),
        }
    }
    assert_eq!((accepted.len(), refused.len()), (1, 99));
    for refusal in refused {
        assert_eq!(refusal.reason, RefusalReason::RetryInProgress);
        assert_eq!(refusal.run_id.as_ref(), Some(&accepted[0].id));
    }
    assert_eq!(ledger.count("select count(*) from runs").await, 2);
    assert_eq!(ledger.count("select count(*) from outbox").await, 1);
}

pub(super) async fn promise_2_the_schema_itself_keeps_one_line(ledger: &Ledger) {
    failed_chain(&ledger.store, &["run_a", "run_b", "run_c"]).await;
    for forbidden in [
        "update retries set live = true",
        "update retries set source_run_id = 'run_a', ordinal = 1",
        "update retries set run_id = 'run_c'",
        "update retries set state = 'refused'",
        "update retries set organization_id = 'other'",
        "update runs set status = 'running', finished_at = null where id = 'run_c'",
        "update runs set status = 'waiting', finished_at = null where id = 'run_c'",
        "update runs set lease_owner = 'nobody' where id = 'run_c'",
        "insert into outbox (run_id, due_at) values ('run_none', '2026-01-01')",
    ] {
        let refused = ledger.try_execute(forbidden).await;
        let error = refused.expect_err(forbidden);
        assert!(error.as_database_error().is_some(), "{error}");
    }
}

pub(super) async fn what_is_not_retryable_is_refused(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_live").await;
    let refused = try_retry(store, "run_live", "run_x").await.unwrap_err();
    let live = Refusal::still_active(&id("run_live"), RunStatus::Waiting);
    assert_eq!(refused, live);
    for status in [RunStatus::Success, RunStatus::Partial] {
        let name = format!("run_{}", status.as_str());
        let import = new_import(&name, None, status);
        store.import(&import, None).await.unwrap().unwrap();
        let refused = try_retry(store, &name, "run_x").await.unwrap_err();
        assert_eq!(refused, Refusal::not_retryable(&id(&name), status));
    }
    let refused = try_retry(store, "run_none", "run_x").await.unwrap_err();
    assert_eq!(refused.reason, RefusalReason::MissingState);
    assert_eq!(store.run(&acme(), &id("run_x")).await.unwrap(), None);
}

pub(super) async fn a_second_retry_names_the_head_of_the_chain(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b", "run_c"]).await;
    for source in ["run_a", "run_b"] {
        let refused = try_retry(store, source, "run_x").await.unwrap_err();
        let expected = Refusal::already_retried(&id(source), &id("run_c"));
        assert_eq!(refused, expected);
    }
    let (new, retry) = try_retry(store, "run_c", "run_d").await.unwrap();
    assert_eq!(new.root_run_id, id("run_a"));
    assert_eq!(retry.root_run_id, Some(id("run_a")));
}

pub(super) async fn a_chain_has_one_live_retry(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b"]).await;
    let (_, retry) = try_retry(store, "run_b", "run_c").await.unwrap();
    let expected = Refusal::in_progress(&id("run_a"), &retry.id, &id("run_c"));
    let refused = try_retry(store, "run_a", "run_x").await.unwrap_err();
    assert_eq!(refused, expected);
    // It lives until its run has ended, not until it was created.
    end(store, "run_c", RunStatus::Success).await;
    let refused = try_retry(store, "run_b", "run_x").await.unwrap_err();
    assert_eq!(refused.reason, RefusalReason::AlreadyRetried);
    assert_eq!(retry_of(store, "run_c").await.state, RetryState::Created);
}

pub(super) async fn a_retry_that_came_to_nothing_does_not_count(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let cancelled = store.request_cancel(&acme(), &id("run_b"), now()).await;
    assert!(matches!(cancelled.unwrap(), CancelOutcome::Cancelled(_)));
    let retry = retry_of(store, "run_b").await;
    assert_eq!((retry.state, retry.ordinal), (RetryState::Cancelled, None));
    // Its run is no source, and its source can be retried.
    let refused = try_retry(store, "run_b", "run_x").await.unwrap_err();
    assert_eq!(refused, Refusal::never_created(&id("run_b"), &id("run_a")));
    let (_, retry) = try_retry(store, "run_a", "run_c").await.unwrap();
    assert_eq!(retry.ordinal, Some(1));
}

pub(super) async fn a_chain_has_a_longest(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b", "run_c"]).await;
    let mut new = new_retry("run_c", "run_d");
    new.terms.chain_limit = 3;
    let refused = store
        .accept_retry(&new, None)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(refused, Refusal::chain_too_long(&id("run_c"), 3));
    new.terms.chain_limit = 4;
    store
        .accept_retry(&new, None)
        .await
        .unwrap()
        .unwrap()
        .unwrap();
}

pub(super) async fn imports_join_the_chain_of_their_source(ledger: &Ledger) {
    let store = &ledger.store;
    let lone = import(store, "run_b", Some("run_elsewhere")).await;
    assert_eq!(lone.root_run_id, id("run_b"));
    assert_eq!(lone.source_run_id, Some(id("run_elsewhere")));
    assert_eq!(store.retry_of_run(&id("run_b")).await.unwrap(), None);
    let child = import(store, "run_c", Some("run_b")).await;
    assert_eq!(child.root_run_id, id("run_b"));
    assert_eq!(run(store, "run_c").await, child);
    let retry = retry_of(store, "run_c").await;
    assert_eq!((retry.state, retry.ordinal), (RetryState::Created, Some(1)));
    // Elsewhere a run may have been retried twice.
    import(store, "run_c2", Some("run_b")).await;
    assert_eq!(retry_of(store, "run_c2").await.ordinal, Some(2));
    let refused = try_retry(store, "run_b", "run_x").await.unwrap_err();
    let expected = Refusal::already_retried(&id("run_b"), &id("run_c2"));
    assert_eq!(refused, expected);
    try_retry(store, "run_c2", "run_d").await.unwrap();
    let again = new_import("run_c", None, RunStatus::Failure);
    let again = store.import(&again, None).await.unwrap().unwrap();
    assert_eq!(again, ImportOutcome::RunExists);
    assert!(claim(store, "run_c").await.is_none(), "it has ended");
}

pub(super) async fn other_organisations_see_nothing(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b"]).await;
    let other = id("other");
    let retry: RetryId = retry_of(store, "run_b").await.id;
    assert_eq!(store.run(&other, &id("run_a")).await.unwrap(), None);
    assert_eq!(store.retry(&other, &retry).await.unwrap(), None);
    let filter = RunFilter {
        limit: 9,
        ..RunFilter::default()
    };
    assert_eq!(store.runs(&other, &filter).await.unwrap(), []);
    let cancelled = store.request_cancel(&other, &id("run_b"), now()).await;
    assert_eq!(cancelled.unwrap(), CancelOutcome::NotFound);
    let mut foreign = new_retry("run_b", "run_c");
    foreign.retry.organization_id = other.clone();
    foreign.run.organization_id = other.clone();
    let refused = store
        .accept_retry(&foreign, None)
        .await
        .unwrap()
        .unwrap()
        .unwrap_err();
    assert_eq!(refused.reason, RefusalReason::MissingState);
    // An import that names another organisation's run is its own root.
    let mut foreign = new_import("run_f", Some("run_b"), RunStatus::Failure);
    foreign.run.organization_id = other;
    match store.import(&foreign, None).await.unwrap().unwrap() {
        ImportOutcome::Imported(run) => assert_eq!(run.root_run_id, id("run_f")),
        ImportOutcome::RunExists => panic!("run_f is new"),
    }
}
