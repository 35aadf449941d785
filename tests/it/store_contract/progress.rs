//! What the holder of a lease writes.

use chrono::TimeDelta;
use redrive::{
    domain::{
        Attempt, NodeRecord, NodeStatus, Refusal, RetryState, RunStatus, Timestamp, VariableWrite,
        WaitingFor,
    },
    store::{Finished, Parking, StoreError, Written},
};

use crate::support::{
    ledger::Ledger,
    rows::{
        DONE, MINUTE, checkpoint, claim, creation, finish, id, import, json, lease_due, new_import,
        node, now, retry_of, run, start, try_retry,
    },
};

/// Waits for a delay until `due_at`.
pub(super) fn parking(due_at: Timestamp) -> Parking {
    Parking {
        checkpoint: checkpoint(vec![node("pause", NodeStatus::Scheduled)]),
        waiting_for: WaitingFor::Delay,
        due_at: Some(due_at),
        children: Vec::new(),
    }
}

fn paths(records: &[NodeRecord]) -> Vec<String> {
    records.iter().map(|r| r.path.to_string()).collect()
}

pub(super) async fn promise_5_the_source_run_is_never_changed(ledger: &Ledger) {
    let store = &ledger.store;
    let before = import(store, "run_a", None).await;
    let nodes = store.nodes(&id("run_a"), None).await.unwrap();
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    store
        .create(&held.fence, &creation(&["trigger"]))
        .await
        .unwrap();
    let write = checkpoint(vec![
        node("trigger", NodeStatus::Failure),
        node("pay", NodeStatus::Success),
    ]);
    store.checkpoint(&held.fence, &write).await.unwrap();
    store
        .finish(&held.fence, &finish(RunStatus::Success))
        .await
        .unwrap();
    assert_eq!(run(store, "run_a").await, before);
    assert_eq!(store.nodes(&id("run_a"), None).await.unwrap(), nodes);
    assert_eq!(run(store, "run_b").await.source_run_id, Some(id("run_a")));
}

pub(super) async fn reused_records_keep_their_order_and_their_origin(ledger: &Ledger) {
    let store = &ledger.store;
    let mut source = new_import("run_a", None, RunStatus::Failure);
    let mut paid = node("loop[0].pay", NodeStatus::Success);
    paid.result = Some(json(r#"{"b":1,"a":[1.10]}"#));
    paid.attempts = vec![Attempt {
        number: 1,
        effect_key: None,
        started_at: "then".into(),
        finished_at: None,
        error: None,
    }];
    source.nodes = vec![
        node("trigger", NodeStatus::Success),
        node("z", NodeStatus::Success),
        paid.clone(),
        node("a", NodeStatus::Failure),
    ];
    store.import(&source, None).await.unwrap().unwrap();
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    let mut plan = creation(&["loop[0].pay", "z", "trigger"]);
    plan.records = vec![node("skipped", NodeStatus::Skipped)];
    assert_eq!(store.create(&held.fence, &plan).await.unwrap(), DONE);
    let copied = store.nodes(&id("run_b"), None).await.unwrap();
    assert_eq!(paths(&copied), ["trigger", "z", "loop[0].pay", "skipped"]);
    let expected = NodeRecord {
        attempts: Vec::new(),
        origin_run_id: Some(id("run_a")),
        ..paid
    };
    assert_eq!(copied[2], expected);
    assert_eq!(copied[3].origin_run_id, None);
    let retry = retry_of(store, "run_b").await;
    assert_eq!(retry.state, RetryState::Created);
    // The origin stays over a second copy.
    store
        .finish(&held.fence, &finish(RunStatus::Failure))
        .await
        .unwrap();
    try_retry(store, "run_b", "run_c").await.unwrap();
    let held = claim(store, "run_c").await.unwrap();
    store
        .create(&held.fence, &creation(&["z", "skipped"]))
        .await
        .unwrap();
    let wanted = [id("skipped"), id("z")];
    let some = store.nodes(&id("run_c"), Some(&wanted)).await.unwrap();
    assert_eq!(paths(&some), ["z", "skipped"]);
    assert_eq!(some[0].origin_run_id, Some(id("run_a")));
    assert_eq!(some[1].origin_run_id, Some(id("run_b")));
}

pub(super) async fn a_plan_that_reuses_what_is_not_there_writes_nothing(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    let failed = store
        .create(&held.fence, &creation(&["trigger", "gone"]))
        .await;
    assert!(matches!(failed, Err(StoreError::Inconsistent { .. })));
    assert!(store.nodes(&id("run_b"), None).await.unwrap().is_empty());
    assert!(!run(store, "run_b").await.created);
    assert_eq!(retry_of(store, "run_b").await.state, RetryState::Claimed);
}

pub(super) async fn a_refused_retry_ends_its_run(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    let refusal = Refusal::already_retried(&id("run_a"), &id("run_z"));
    let refused = store.refuse(&held.fence, &refusal, now()).await.unwrap();
    assert_eq!(refused, DONE);
    let ended = run(store, "run_b").await;
    assert_eq!(ended.status, RunStatus::Failure);
    assert_eq!(ended.summary.as_deref(), Some(refusal.message.as_str()));
    assert!(ended.finished_at.is_some() && !ended.created);
    let retry = retry_of(store, "run_b").await;
    assert_eq!((retry.state, retry.ordinal), (RetryState::Refused, None));
    assert_eq!(retry.refusal, Some(refusal));
    try_retry(store, "run_a", "run_c").await.unwrap();
    // A run that was started is not refused.
    start(store, "run_s").await;
    let held = claim(store, "run_s").await.unwrap();
    let refusal = Refusal::missing_state(&id("run_s"), "state");
    assert!(store.refuse(&held.fence, &refusal, now()).await.is_err());
}

pub(super) async fn a_checkpoint_replaces_records_in_their_place(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let held = claim(store, "run_a").await.unwrap();
    let first = checkpoint(vec![
        node("a", NodeStatus::Running),
        node("b", NodeStatus::Pending),
    ]);
    store.checkpoint(&held.fence, &first).await.unwrap();
    let mut second = checkpoint(vec![
        node("c", NodeStatus::Running),
        node("a", NodeStatus::Success),
    ]);
    second.total_cu = json("2.50");
    assert_eq!(store.checkpoint(&held.fence, &second).await.unwrap(), DONE);
    let nodes = store.nodes(&id("run_a"), None).await.unwrap();
    assert_eq!(paths(&nodes), ["trigger", "a", "b", "c"]);
    assert_eq!(nodes[1].status, NodeStatus::Success);
    assert_eq!(run(store, "run_a").await.total_cu.as_str(), "2.50");
    let none = store.nodes(&id("run_a"), Some(&[])).await.unwrap();
    assert!(none.is_empty());
}

pub(super) async fn variable_writes_come_in_order_of_the_line(ledger: &Ledger) {
    let store = &ledger.store;
    let at = now();
    let write = |name: &str, after: i64| VariableWrite {
        name: name.into(),
        old_value: json("null"),
        new_value: json("1.0"),
        written_by_node: (name == "late").then(|| id("loop[0].set")),
        written_at: at + TimeDelta::microseconds(after),
        lasts: name == "late",
    };
    for run in ["run_b", "run_a"] {
        start(store, run).await;
        let held = claim(store, run).await.unwrap();
        let mut first = checkpoint(Vec::new());
        first.variable_writes = vec![write("late", 5), write("early", 1)];
        store.checkpoint(&held.fence, &first).await.unwrap();
        first.variable_writes = vec![write("early again", 1)];
        store.checkpoint(&held.fence, &first).await.unwrap();
    }
    let log = store
        .variable_writes(&[id("run_a"), id("run_b")])
        .await
        .unwrap();
    let log: Vec<_> = log
        .iter()
        .map(|(run, w)| (run.as_str(), w.clone()))
        .collect();
    assert_eq!(
        log,
        [
            ("run_a", write("late", 5)),
            ("run_a", write("early", 1)),
            ("run_a", write("early again", 1)),
            ("run_b", write("late", 5)),
            ("run_b", write("early", 1)),
            ("run_b", write("early again", 1)),
        ]
    );
    assert!(store.variable_writes(&[]).await.unwrap().is_empty());
}

pub(super) async fn a_parked_run_is_due_at_its_time(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let held = claim(store, "run_a").await.unwrap();
    let later = parking(now() + TimeDelta::hours(1));
    assert_eq!(store.park(&held.fence, &later).await.unwrap(), DONE);
    let parked = run(store, "run_a").await;
    assert_eq!(parked.status, RunStatus::Waiting);
    assert_eq!(parked.waiting_for, Some(WaitingFor::Delay));
    assert!(lease_due(store, 10, MINUTE).await.is_empty());
    assert_eq!(store.rescue().await.unwrap().abandoned, 0);
    assert_eq!(
        store
            .checkpoint(&held.fence, &later.checkpoint)
            .await
            .unwrap(),
        Written::LeaseLost,
        "a lease that was given back writes nothing"
    );
    // A parking that is due at once can be claimed at once, with the state as it was left.
    start(store, "run_b").await;
    let held = claim(store, "run_b").await.unwrap();
    store.park(&held.fence, &parking(now())).await.unwrap();
    let again = claim(store, "run_b").await.unwrap();
    assert_eq!(again.lost_leases, 0);
    let nodes = store.nodes(&id("run_b"), None).await.unwrap();
    assert_eq!(paths(&nodes), ["trigger", "pause"]);
    let late = store
        .checkpoint(&held.fence, &later.checkpoint)
        .await
        .unwrap();
    assert_eq!(late, Written::LeaseLost);
}

pub(super) async fn a_finished_run_never_changes(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let held = claim(store, "run_a").await.unwrap();
    let mut last = finish(RunStatus::Failure);
    last.checkpoint.records = vec![node("pay", NodeStatus::Failure)];
    let ended = store.finish(&held.fence, &last).await.unwrap();
    assert_eq!(ended, Finished::Ended);
    let after = run(store, "run_a").await;
    assert_eq!(after.status, RunStatus::Failure);
    assert_eq!(after.summary.as_deref(), Some("It ended."));
    let shown = redrive::domain::format_timestamp(last.now);
    assert_eq!(after.finished_at, Some(shown));
    assert_eq!(store.nodes(&id("run_a"), None).await.unwrap().len(), 2);
    let again = store.finish(&held.fence, &last).await.unwrap();
    assert_eq!(again, Finished::LeaseLost);
    assert_eq!(run(store, "run_a").await, after);
    assert_eq!(store.rescue().await.unwrap().abandoned, 0);
    assert_eq!(ledger.count("select count(*) from outbox").await, 0);
}

pub(super) async fn an_uncreated_run_ends_only_by_refusal_or_cancellation(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    let failed = store.finish(&held.fence, &finish(RunStatus::Failure)).await;
    assert!(failed.is_err());
    let ended = store
        .finish(&held.fence, &finish(RunStatus::Cancelled))
        .await;
    assert_eq!(ended.unwrap(), Finished::Ended);
    let retry = retry_of(store, "run_b").await;
    assert_eq!((retry.state, retry.ordinal), (RetryState::Cancelled, None));
    try_retry(store, "run_a", "run_c").await.unwrap();
}
