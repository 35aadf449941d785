//! Somebody wants a run to end.

use redrive::{
    domain::{EffectState, ErrorClass, LastAttempt, NodeError, NodeStatus, RetryState, RunStatus},
    store::{CancelOutcome, Finished, Written},
};

use crate::support::{
    ledger::Ledger,
    rows::{
        acme, checkpoint, claim, claim_and_die, finish, id, import, node, now, retry_of, run,
        start, try_retry,
    },
};

use super::progress::parking;

async fn cancel(ledger: &Ledger, run: &str) -> CancelOutcome {
    let asked = ledger.store.request_cancel(&acme(), &id(run), now()).await;
    asked.unwrap()
}

pub(super) async fn a_run_that_nobody_holds_is_cancelled_at_once(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let CancelOutcome::Cancelled(ended) = cancel(ledger, "run_a").await else {
        panic!("nobody holds it");
    };
    assert_eq!(ended.status, RunStatus::Cancelled);
    assert!(ended.finished_at.is_some() && ended.summary.is_some());
    assert_eq!(run(store, "run_a").await, *ended);
    assert!(claim(store, "run_a").await.is_none());
    assert_eq!(ledger.count("select count(*) from outbox").await, 0);
    // A cancelled run may be retried.
    try_retry(store, "run_a", "run_b").await.unwrap();
    assert_eq!(cancel(ledger, "run_none").await, CancelOutcome::NotFound);
}

pub(super) async fn promise_4_a_cancelled_run_takes_no_writes(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let zombie = claim_and_die(store, "run_a").await;
    let outcome = cancel(ledger, "run_a").await;
    assert!(matches!(outcome, CancelOutcome::Cancelled(_)));
    let write = checkpoint(vec![node("zombie", NodeStatus::Success)]);
    let written = store.checkpoint(&zombie, &write).await.unwrap();
    assert_eq!(written, Written::LeaseLost);
    let ended = store.finish(&zombie, &finish(RunStatus::Success)).await;
    assert_eq!(ended.unwrap(), Finished::LeaseLost);
    assert_eq!(run(store, "run_a").await.status, RunStatus::Cancelled);
    assert_eq!(store.nodes(&id("run_a"), None).await.unwrap().len(), 1);
    let epoch = "select lease_epoch from runs where id = 'run_a'";
    assert_eq!(ledger.count(epoch).await, zombie.epoch + 1);
}

pub(super) async fn nodes_under_way_are_cancelled_with_their_run(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let held = claim_and_die(store, "run_a").await;
    let mut paying = node("pay", NodeStatus::Running);
    paying.effect = Some(EffectState::default());
    let mut again = node("again", NodeStatus::Scheduled);
    again.effect = Some(EffectState::default().settled(LastAttempt::InDoubt));
    let mut refused = node("refused", NodeStatus::Scheduled);
    refused.effect = Some(EffectState::default().settled(LastAttempt::Rejected));
    let write = checkpoint(vec![
        paying,
        again,
        refused,
        node("loop", NodeStatus::Running),
        node("wait", NodeStatus::Waiting),
        node("delay", NodeStatus::Scheduled),
        node("later", NodeStatus::Pending),
        node("bad", NodeStatus::Failure),
    ]);
    store.checkpoint(&held, &write).await.unwrap();
    cancel(ledger, "run_a").await;
    let nodes = store.nodes(&id("run_a"), None).await.unwrap();
    let seen = nodes.iter().map(|n| {
        let error = n.error.as_ref().map(|e| {
            let error: NodeError = serde_json::from_str(e.as_str()).unwrap();
            error.class
        });
        (n.path.to_string(), n.status, error, n.finished_at.is_some())
    });
    let expected = [
        ("trigger", NodeStatus::Success, None),
        ("pay", NodeStatus::Cancelled, Some(ErrorClass::InDoubt)),
        ("again", NodeStatus::Cancelled, Some(ErrorClass::InDoubt)),
        (
            "refused",
            NodeStatus::Cancelled,
            Some(ErrorClass::Cancelled),
        ),
        ("loop", NodeStatus::Cancelled, Some(ErrorClass::Cancelled)),
        ("wait", NodeStatus::Cancelled, Some(ErrorClass::Cancelled)),
        ("delay", NodeStatus::Cancelled, Some(ErrorClass::Cancelled)),
        ("later", NodeStatus::Pending, None),
        ("bad", NodeStatus::Failure, None),
    ];
    let expected = expected.map(|(path, status, error)| {
        let ended = status == NodeStatus::Cancelled;
        (path.to_owned(), status, error, ended)
    });
    assert_eq!(seen.collect::<Vec<_>>(), expected);
}

pub(super) async fn a_holder_is_asked(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let held = claim(store, "run_b").await.unwrap();
    let CancelOutcome::Requested(asked) = cancel(ledger, "run_b").await else {
        panic!("a worker holds it");
    };
    assert!(asked.cancel_requested_at.is_some() && !asked.status.is_ended());
    // Asking again changes nothing.
    assert_eq!(
        cancel(ledger, "run_b").await,
        CancelOutcome::Requested(asked)
    );
    let written = store.checkpoint(&held.fence, &checkpoint(Vec::new())).await;
    let noticed = Written::Done {
        cancel_requested: true,
    };
    assert_eq!(written.unwrap(), noticed);
    assert_eq!(retry_of(store, "run_b").await.state, RetryState::Claimed);
    // It would park for long, and is due at once.
    start(store, "run_c").await;
    let held = claim(store, "run_c").await.unwrap();
    cancel(ledger, "run_c").await;
    let later = parking(now() + chrono::TimeDelta::hours(1));
    assert_eq!(store.park(&held.fence, &later).await.unwrap(), noticed);
    let again = claim(store, "run_c").await.unwrap();
    assert!(again.run.cancel_requested_at.is_some());
}

pub(super) async fn a_cancellation_and_an_end_meet_in_either_order(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let held = claim(store, "run_a").await.unwrap();
    cancel(ledger, "run_a").await;
    let mut success = finish(RunStatus::Success);
    success.checkpoint.records = vec![node("pay", NodeStatus::Success)];
    let ended = store.finish(&held.fence, &success).await.unwrap();
    assert_eq!(ended, Finished::CancelRequested);
    assert_eq!(store.nodes(&id("run_a"), None).await.unwrap().len(), 1);
    assert_eq!(run(store, "run_a").await.status, RunStatus::Running);
    let ended = store
        .finish(&held.fence, &finish(RunStatus::Cancelled))
        .await;
    assert_eq!(ended.unwrap(), Finished::Ended);
    assert_eq!(run(store, "run_a").await.status, RunStatus::Cancelled);
    // The other way round.
    start(store, "run_b").await;
    let held = claim(store, "run_b").await.unwrap();
    store.finish(&held.fence, &success).await.unwrap();
    let ended = run(store, "run_b").await;
    let late = cancel(ledger, "run_b").await;
    assert_eq!(late, CancelOutcome::AlreadyEnded(Box::new(ended)));
    // At once: exactly one of them has its way.
    for n in 0..20 {
        let name = format!("run_{n}");
        start(store, &name).await;
        let held = claim(store, &name).await.unwrap();
        let (ended, asked) =
            tokio::join!(store.finish(&held.fence, &success), cancel(ledger, &name));
        let won = match (ended.unwrap(), asked) {
            (Finished::Ended, CancelOutcome::AlreadyEnded(_)) => RunStatus::Success,
            (Finished::CancelRequested, CancelOutcome::Requested(_)) => RunStatus::Running,
            other => panic!("{other:?}"),
        };
        assert_eq!(run(store, &name).await.status, won);
    }
}

pub(super) async fn a_run_that_has_ended_is_not_cancelled(ledger: &Ledger) {
    let store = &ledger.store;
    let before = import(store, "run_a", None).await;
    let outcome = cancel(ledger, "run_a").await;
    assert_eq!(outcome, CancelOutcome::AlreadyEnded(Box::new(before)));
}
