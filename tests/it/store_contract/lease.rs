//! Who may write a run.

use std::time::Duration;

use redrive::{
    domain::{NodeStatus, Refusal, RetryState, RunStatus, WaitingFor},
    store::{CancelOutcome, Fence, Finished, Renewed, Written},
};

use crate::support::{
    ledger::Ledger,
    rows::{
        DONE, MINUTE, acme, checkpoint, claim, claim_and_die, creation, finish, id, import,
        lease_due, node, now, retry_of, run, start, try_retry,
    },
};

use super::progress::parking;

pub(super) async fn promise_2_a_claim_is_taken_once(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let claims = (0..20).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, "run_b").await })
    });
    let claims: Vec<_> = claims.collect();
    let mut taken = Vec::new();
    for claim in claims {
        taken.extend(claim.await.unwrap());
    }
    assert_eq!(taken.len(), 1);
    let taken = &taken[0];
    assert_eq!(taken.fence.epoch, 1);
    assert_eq!(taken.retry.as_ref().unwrap().state, RetryState::Claimed);
    assert_eq!(taken.run, run(store, "run_b").await);
    assert!(!taken.run.created);
    // Its maker finds it, should the answer have been lost.
    let own = store.own_claim(&id("run_b"), "worker").await.unwrap();
    assert_eq!(own.map(|claim| claim.fence), Some(taken.fence.clone()));
    let other = store.own_claim(&id("run_b"), "another").await.unwrap();
    assert!(other.is_none());
    assert_eq!(
        taken.run.status,
        RunStatus::Waiting,
        "not before it is created"
    );
    assert_eq!(
        store.create(&taken.fence, &creation(&[])).await.unwrap(),
        DONE
    );
    assert_eq!(
        store.create(&taken.fence, &creation(&[])).await.unwrap(),
        DONE
    );
    let created = run(store, "run_b").await;
    assert_eq!(created.status, RunStatus::Running);
    assert!(created.started_at.is_some());
    assert!(claim(store, "run_b").await.is_none());
    assert!(lease_due(store, 10, MINUTE).await.is_empty());
}

pub(super) async fn what_is_not_due_is_not_claimed(ledger: &Ledger) {
    let store = &ledger.store;
    assert!(claim(store, "run_none").await.is_none());
    import(store, "run_ended", None).await;
    assert!(claim(store, "run_ended").await.is_none());
    start(store, "run_a").await;
    let first = claim(store, "run_a").await.unwrap();
    assert_eq!(first.run.status, RunStatus::Running);
    let later = parking(now() + chrono::TimeDelta::hours(1));
    assert_eq!(store.park(&first.fence, &later).await.unwrap(), DONE);
    assert!(claim(store, "run_a").await.is_none());
}

/// Tries every write there is; none may pass.
async fn writes_nothing(ledger: &Ledger, fence: &Fence) {
    let store = &ledger.store;
    let before = run(store, fence.run_id.as_str()).await;
    let nodes = store.nodes(&fence.run_id, None).await.unwrap();
    let mut zombie = checkpoint(vec![node("zombie", NodeStatus::Success)]);
    zombie.has_outcome = true;
    let refusal = Refusal::missing_state(&fence.run_id, "soul");
    let lost = [
        store.checkpoint(fence, &zombie).await.unwrap(),
        store.park(fence, &parking(now())).await.unwrap(),
        store.release(fence).await.unwrap(),
        store.refuse(fence, &refusal, now()).await.unwrap(),
        store.create(fence, &creation(&[])).await.unwrap(),
    ];
    assert_eq!(lost, [Written::LeaseLost; 5]);
    for status in [RunStatus::Success, RunStatus::Cancelled] {
        let ended = store.finish(fence, &finish(status)).await.unwrap();
        assert_eq!(ended, Finished::LeaseLost);
    }
    let renewed = store.renew(std::slice::from_ref(fence), MINUTE).await;
    assert_eq!(renewed.unwrap(), []);
    assert_eq!(run(store, fence.run_id.as_str()).await, before);
    assert_eq!(store.nodes(&fence.run_id, None).await.unwrap(), nodes);
}

pub(super) async fn promise_4_a_worker_that_lost_its_lease_cannot_write(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let zombie = claim_and_die(store, "run_a").await;
    let heir = claim(store, "run_a").await.unwrap();
    assert_eq!(heir.fence.epoch, zombie.epoch + 1);
    writes_nothing(ledger, &zombie).await;
    // The same for a retry whose run is not created, and after the end of a run.
    import(store, "run_s", None).await;
    try_retry(store, "run_s", "run_b").await.unwrap();
    let zombie = claim_and_die(store, "run_b").await;
    let second = claim(store, "run_b").await.unwrap();
    assert_eq!(second.retry.unwrap().state, RetryState::Claimed);
    writes_nothing(ledger, &zombie).await;
    let ended = store.finish(&heir.fence, &finish(RunStatus::Success)).await;
    assert_eq!(ended.unwrap(), Finished::Ended);
    writes_nothing(ledger, &heir.fence).await;
}

pub(super) async fn lost_leases_are_counted_until_a_node_has_an_outcome(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    for _ in 0..3 {
        claim_and_die(store, "run_a").await;
    }
    let held = claim(store, "run_a").await.unwrap();
    assert_eq!(held.lost_leases, 3);
    let mut write = checkpoint(vec![node("pay", NodeStatus::Running)]);
    store.checkpoint(&held.fence, &write).await.unwrap();
    store.release(&held.fence).await.unwrap();
    let held = claim(store, "run_a").await.unwrap();
    assert_eq!(held.lost_leases, 3, "a start is no outcome");
    write.has_outcome = true;
    store.checkpoint(&held.fence, &write).await.unwrap();
    store.release(&held.fence).await.unwrap();
    assert_eq!(claim(store, "run_a").await.unwrap().lost_leases, 0);
}

pub(super) async fn a_released_run_is_due_and_lost_nothing(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    let first = claim(store, "run_b").await.unwrap();
    assert_eq!(store.release(&first.fence).await.unwrap(), DONE);
    let due = lease_due(store, 10, MINUTE).await;
    assert_eq!(
        due[0].retry_id.as_ref(),
        Some(&retry_of(store, "run_b").await.id)
    );
    let second = claim(store, "run_b").await.unwrap();
    assert_eq!(second.lost_leases, 0);
    store.create(&second.fence, &creation(&[])).await.unwrap();
    store.release(&second.fence).await.unwrap();
    let waiting = run(store, "run_b").await;
    assert_eq!(waiting.waiting_for, Some(WaitingFor::Queue));
    let due = lease_due(store, 10, MINUTE).await;
    assert_eq!(due[0].retry_id, None, "its run is created");
    let third = claim(store, "run_b").await.unwrap();
    assert_eq!(third.run.started_at, waiting.started_at);
}

pub(super) async fn leases_are_renewed_while_they_are_held(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    start(store, "run_b").await;
    let a = claim(store, "run_a").await.unwrap().fence;
    let b = claim_and_die(store, "run_b").await;
    let old = Fence {
        epoch: a.epoch - 1,
        ..a.clone()
    };
    let renewed = store.renew(&[a.clone(), b, old], MINUTE).await.unwrap();
    let alive = |cancel_requested| Renewed {
        run_id: a.run_id.clone(),
        cancel_requested,
        extended: true,
    };
    assert_eq!(renewed, [alive(false)]);
    let asked = store.request_cancel(&acme(), &a.run_id, now()).await;
    assert!(matches!(asked, Ok(CancelOutcome::Requested(_))));
    let renewed = store.renew(std::slice::from_ref(&a), Duration::ZERO).await;
    assert_eq!(renewed.unwrap(), [alive(true)]);
    let expired = store.renew(std::slice::from_ref(&a), MINUTE).await;
    assert_eq!(expired.unwrap(), []);
    assert_eq!(store.renew(&[], MINUTE).await.unwrap(), []);
}

pub(super) async fn all_leases_expire_at_a_restart(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    start(store, "run_b").await;
    claim(store, "run_a").await.unwrap();
    lease_due(store, 10, MINUTE).await;
    store.mark_sent(&[id("run_b")]).await.unwrap();
    assert_eq!(store.expire_leases().await.unwrap(), 1);
    assert_eq!(store.rescue().await.unwrap().abandoned, 1);
    assert_eq!(lease_due(store, 10, MINUTE).await.len(), 2);
    assert_eq!(claim(store, "run_a").await.unwrap().lost_leases, 1);
}
