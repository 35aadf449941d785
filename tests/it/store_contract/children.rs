//! Runs that nodes of other runs started.

use redrive::{
    domain::{NodeRecord, NodeStatus, RunStatus, WaitingFor},
    store::{NewChild, Parking},
};

use crate::support::{
    ledger::Ledger,
    rows::{
        DONE, acme, checkpoint, claim, claim_and_die, end, failed_chain, id, new_start, run, start,
        try_retry,
    },
};

fn child(run: &str) -> NewChild {
    NewChild {
        start: new_start(run),
        parent_path: id("start"),
        depth: 1,
    }
}

fn parking(children: &[&str]) -> Parking {
    Parking {
        checkpoint: checkpoint(Vec::new()),
        waiting_for: WaitingFor::Child,
        due_at: None,
        children: children.iter().map(|run| id(run)).collect(),
    }
}

/// `run_p`, which waits for `run_c`, the run that its node `start` started.
async fn waiting_parent(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_p").await;
    let held = claim(store, "run_p").await.unwrap();
    let kind = "trigger-workflow";
    let mut parking = parking(&["run_c"]);
    let record = NodeRecord::new(id("start"), kind, NodeStatus::Waiting);
    parking.checkpoint.records = vec![record];
    parking.checkpoint.children = vec![child("run_c")];
    assert_eq!(store.park(&held.fence, &parking).await.unwrap(), DONE);
}

pub(super) async fn a_child_is_there_with_the_checkpoint_that_starts_it(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_p").await;
    let held = claim(store, "run_p").await.unwrap();
    let mut write = checkpoint(Vec::new());
    write.children = vec![child("run_c")];
    for _ in 0..2 {
        // It comes again when its commit got no answer.
        assert_eq!(store.checkpoint(&held.fence, &write).await.unwrap(), DONE);
    }
    assert_eq!(store.child_depth(&id("run_p")).await.unwrap(), 0);
    assert_eq!(store.child_depth(&id("run_c")).await.unwrap(), 1);
    end(store, "run_c", RunStatus::Failure).await;
    try_retry(store, "run_c", "run_d").await.unwrap();
    let depth = store.child_depth(&id("run_d")).await.unwrap();
    assert_eq!(depth, 1, "as deep as what it retries");
}

pub(super) async fn promise_4_a_worker_without_its_lease_starts_no_child(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_p").await;
    let lost = claim_and_die(store, "run_p").await;
    store.rescue().await.unwrap();
    claim(store, "run_p").await.unwrap();
    let mut late = checkpoint(Vec::new());
    late.children = vec![child("run_c")];
    store.checkpoint(&lost, &late).await.unwrap();
    assert_eq!(store.run(&acme(), &id("run_c")).await.unwrap(), None);
}

pub(super) async fn every_end_of_a_child_wakes_its_parent(ledger: &Ledger) {
    let store = &ledger.store;
    waiting_parent(ledger).await;
    assert!(claim(store, "run_p").await.is_none(), "nothing has ended");
    end(store, "run_c", RunStatus::Failure).await;
    let woken = claim(store, "run_p").await.unwrap();
    let parked = store.park(&woken.fence, &parking(&[])).await;
    parked.unwrap();

    // A retry of the child, and one that is cancelled before anybody has it.
    try_retry(store, "run_c", "run_d").await.unwrap();
    let (organization, now) = (acme(), crate::support::rows::now());
    let cancelled = store.request_cancel(&organization, &id("run_d"), now).await;
    cancelled.unwrap();
    assert!(run(store, "run_d").await.status.is_ended());
    assert!(claim(store, "run_p").await.is_some(), "woken again");
}

pub(super) async fn a_parent_that_waits_for_something_else_first_is_woken_too(ledger: &Ledger) {
    let store = &ledger.store;
    waiting_parent(ledger).await;
    end(store, "run_c", RunStatus::Failure).await;
    let woken = claim(store, "run_p").await.unwrap();
    let parking = Parking {
        waiting_for: WaitingFor::Delay,
        due_at: Some(crate::support::rows::now() + chrono::TimeDelta::hours(1)),
        ..parking(&[])
    };
    store.park(&woken.fence, &parking).await.unwrap();
    assert!(claim(store, "run_p").await.is_none(), "nothing has ended");
    try_retry(store, "run_c", "run_d").await.unwrap();
    end(store, "run_d", RunStatus::Success).await;
    assert!(claim(store, "run_p").await.is_some());

    // It waits for no child any more: nothing wakes it.
    start(store, "run_q").await;
    let held = claim(store, "run_q").await.unwrap();
    let mut last = parking;
    last.checkpoint.records = vec![NodeRecord::new(
        id("start"),
        "trigger-workflow",
        NodeStatus::Success,
    )];
    last.checkpoint.children = vec![child("run_e")];
    store.park(&held.fence, &last).await.unwrap();
    end(store, "run_e", RunStatus::Success).await;
    assert!(claim(store, "run_q").await.is_none());
}

pub(super) async fn a_child_that_ended_while_its_parent_was_held_makes_it_due(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_p").await;
    let held = claim(store, "run_p").await.unwrap();
    let mut write = checkpoint(Vec::new());
    write.children = vec![child("run_c")];
    store.checkpoint(&held.fence, &write).await.unwrap();
    store.park(&held.fence, &parking(&["run_c"])).await.unwrap();
    assert!(claim(store, "run_p").await.is_none(), "it goes on");

    end(store, "run_c", RunStatus::Failure).await;
    start(store, "run_q").await;
    let held = claim(store, "run_q").await.unwrap();
    store.park(&held.fence, &parking(&["run_c"])).await.unwrap();
    let held = claim(store, "run_q").await.expect("it has ended");
    // The chain counts: its newest run goes on.
    try_retry(store, "run_c", "run_d").await.unwrap();
    store.park(&held.fence, &parking(&["run_c"])).await.unwrap();
    assert!(claim(store, "run_q").await.is_none());
}

pub(super) async fn the_head_is_the_newest_run_that_counts(ledger: &Ledger) {
    let store = &ledger.store;
    failed_chain(store, &["run_a", "run_b", "run_c"]).await;
    try_retry(store, "run_c", "run_d").await.unwrap();
    let head = async |run: &str| store.head(&id(run)).await.unwrap();
    for below in ["run_a", "run_b", "run_c"] {
        assert_eq!(head(below).await, Some(id("run_d")));
    }
    assert_eq!(head("run_d").await, None);
    assert_eq!(head("run_none").await, None);
}
