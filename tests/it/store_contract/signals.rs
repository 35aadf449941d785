//! What ends the wait of a node.

use redrive::{
    domain::{NodeRecord, NodeStatus, RunStatus, WaitingFor},
    store::{Claim, Finish, Finished, Parking, Resumed, Signal, SignalKind, TimedOut},
};

use crate::support::{
    ledger::Ledger,
    rows::{DONE, checkpoint, claim, claim_and_die, finish, id, json, node, now, run, start},
};

fn waiting(path: &str) -> NodeRecord {
    NodeRecord::new(id(path), "wait", NodeStatus::Waiting)
}

fn resumed(path: &str, body: &str) -> Signal {
    Signal {
        path: id(path),
        kind: SignalKind::Resumed,
        body: json(body),
    }
}

/// A run whose worker is with it, and whose node `approve` waits.
async fn held(ledger: &Ledger) -> Claim {
    start(&ledger.store, "run_a").await;
    let claim = claim(&ledger.store, "run_a").await.unwrap();
    let write = checkpoint(vec![waiting("approve")]);
    let written = ledger.store.checkpoint(&claim.fence, &write).await;
    assert_eq!(written.unwrap(), DONE);
    claim
}

fn parking() -> Parking {
    Parking {
        checkpoint: checkpoint(Vec::new()),
        waiting_for: WaitingFor::Wait,
        due_at: None,
        children: Vec::new(),
    }
}

async fn resume(ledger: &Ledger, path: &str, body: &str) -> Resumed {
    resume_as(ledger, "acme", path, body).await
}

async fn resume_as(ledger: &Ledger, organization: &str, path: &str, body: &str) -> Resumed {
    let (organization, run, path) = (id(organization), id("run_a"), id(path));
    let resumed = ledger
        .store
        .resume(&organization, &run, &path, &json(body), now())
        .await;
    resumed.unwrap()
}

pub(super) async fn a_resume_makes_its_run_due_and_the_first_one_counts(ledger: &Ledger) {
    let store = &ledger.store;
    let held = held(ledger).await;
    store.park(&held.fence, &parking()).await.unwrap();
    assert!(
        claim(store, "run_a").await.is_none(),
        "only a signal wakes it"
    );

    assert_eq!(
        resume(ledger, "approve", "{\"a\":1.0}").await,
        Resumed::Resumed
    );
    let parked = run(store, "run_a").await;
    assert_eq!(parked.waiting_for, Some(WaitingFor::Queue));
    let again = resume(ledger, "approve", "2").await;
    assert!(matches!(again, Resumed::Skipped(why) if why.contains("has ended: resumed")));

    let signals = store.signals(&id("run_a")).await.unwrap();
    assert_eq!(signals, [resumed("approve", "{\"a\":1.0}")]);
    let taken = claim(store, "run_a").await.unwrap();
    let mut applied = checkpoint(vec![node("approve", NodeStatus::Success)]);
    applied.applied = vec![id("approve")];
    store.checkpoint(&taken.fence, &applied).await.unwrap();
    assert_eq!(store.signals(&id("run_a")).await.unwrap(), []);
}

pub(super) async fn only_a_node_that_waits_is_resumed(ledger: &Ledger) {
    let store = &ledger.store;
    let held = held(ledger).await;
    let mut write = checkpoint(vec![node("code", NodeStatus::Waiting), waiting("done")]);
    write.records[1].status = NodeStatus::Success;
    store.checkpoint(&held.fence, &write).await.unwrap();
    for (path, why) in [
        ("nothing", "has not started"),
        ("code", "is of type code"),
        ("done", "is success"),
    ] {
        let skipped = resume(ledger, path, "1").await;
        assert!(
            matches!(&skipped, Resumed::Skipped(said) if said.contains(why)),
            "{path}: {skipped:?}"
        );
    }
    let elsewhere = resume_as(ledger, "other", "approve", "1").await;
    assert_eq!(elsewhere, Resumed::NotFound);
    assert_eq!(store.signals(&id("run_a")).await.unwrap(), []);

    let ended = store
        .finish(&held.fence, &end_that_may_meet_signals())
        .await;
    assert_eq!(ended.unwrap(), Finished::Ended);
    let late = resume(ledger, "approve", "1").await;
    assert!(matches!(late, Resumed::Skipped(why) if why.contains("the run has ended (failure)")));
}

pub(super) async fn a_resume_that_meets_the_worker_is_not_lost(ledger: &Ledger) {
    let store = &ledger.store;
    let held = held(ledger).await;
    assert_eq!(resume(ledger, "approve", "1").await, Resumed::Resumed);
    let ended = store
        .finish(&held.fence, &end_that_may_meet_signals())
        .await;
    assert_eq!(ended.unwrap(), Finished::SignalsPending);
    assert_eq!(run(store, "run_a").await.status, RunStatus::Running);

    assert_eq!(store.park(&held.fence, &parking()).await.unwrap(), DONE);
    let taken = claim(store, "run_a").await;
    assert!(taken.is_some(), "it is due at once");
}

pub(super) async fn those_who_have_signals_are_told_apart(ledger: &Ledger) {
    let store = &ledger.store;
    let held = held(ledger).await;
    start(store, "run_b").await;
    let runs = ["run_a", "run_b", "run_none"].map(id);
    assert_eq!(store.signalled(&runs).await.unwrap(), []);
    assert_eq!(resume(ledger, "approve", "1").await, Resumed::Resumed);
    assert_eq!(store.signalled(&runs).await.unwrap(), [id("run_a")]);
    assert_eq!(store.signalled(&runs[1..]).await.unwrap(), []);
    let mut applied = checkpoint(vec![node("approve", NodeStatus::Success)]);
    applied.applied = vec![id("approve")];
    store.checkpoint(&held.fence, &applied).await.unwrap();
    assert_eq!(store.signalled(&runs).await.unwrap(), []);
}

pub(super) async fn a_resume_that_came_before_the_time_out_counts(ledger: &Ledger) {
    let store = &ledger.store;
    let held = held(ledger).await;
    let both = checkpoint(vec![waiting("late")]);
    store.checkpoint(&held.fence, &both).await.unwrap();
    assert_eq!(resume(ledger, "approve", "1").await, Resumed::Resumed);
    let first = store.time_out(&held.fence, &id("approve"), now()).await;
    assert_eq!(first.unwrap(), TimedOut::Ended(resumed("approve", "1")));

    let timed_out = Signal {
        kind: SignalKind::TimedOut,
        ..resumed("late", "null")
    };
    for _ in 0..2 {
        let second = store.time_out(&held.fence, &id("late"), now()).await;
        assert_eq!(second.unwrap(), TimedOut::Ended(timed_out.clone()));
    }
    let skipped = resume(ledger, "late", "1").await;
    assert!(matches!(skipped, Resumed::Skipped(why) if why.contains("timed_out")));
}

pub(super) async fn promise_4_a_worker_without_its_lease_ends_no_wait(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let lost = claim_and_die(store, "run_a").await;
    store.rescue().await.unwrap();
    let taken = claim(store, "run_a").await.unwrap();
    let write = checkpoint(vec![waiting("approve")]);
    store.checkpoint(&taken.fence, &write).await.unwrap();
    let late = store.time_out(&lost, &id("approve"), now()).await;
    assert_eq!(late.unwrap(), TimedOut::LeaseLost);
    assert_eq!(store.signals(&id("run_a")).await.unwrap(), []);
}

fn end_that_may_meet_signals() -> Finish {
    Finish {
        may_have_signals: true,
        ..finish(RunStatus::Failure)
    }
}
