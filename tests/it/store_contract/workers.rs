//! What workers say of themselves, and what they are asked.

use chrono::{SecondsFormat, TimeDelta};
use redrive::{
    domain::PerLane,
    store::{CancelOutcome, WorkerReport},
};

use crate::support::{
    ledger::Ledger,
    rows::{MINUTE, acme, claim, id, import, lease_due, now, start, try_retry},
};

async fn seen(ledger: &Ledger, name: &str, slots: u32) {
    let report = WorkerReport {
        name: name.into(),
        slots,
        busy: 1,
    };
    ledger.store.worker_seen(&report).await.unwrap();
}

/// As if a worker had been seen for the last time so many seconds ago.
async fn last_seen(ledger: &Ledger, name: &str, seconds: i64) {
    let at = (now() - TimeDelta::seconds(seconds)).to_rfc3339_opts(SecondsFormat::Micros, true);
    let sql = format!("update workers set seen_at = '{at}' where name = '{name}'");
    ledger.execute(&sql).await;
}

/// Workers and slots, as the metrics and the relay see them.
async fn live(ledger: &Ledger) -> (i64, i64) {
    let backlog = ledger.store.backlog().await.unwrap();
    let window = ledger.store.window().await.unwrap();
    assert_eq!(i64::from(window.slots), backlog.slots);
    (backlog.workers, backlog.slots)
}

pub(super) async fn slots_count_while_their_worker_lives(ledger: &Ledger) {
    assert_eq!(live(ledger).await, (0, 0));
    seen(ledger, "one", 4).await;
    seen(ledger, "two", 2).await;
    seen(ledger, "two", 3).await;
    assert_eq!(live(ledger).await, (2, 7));
    last_seen(ledger, "one", 10).await;
    assert_eq!(live(ledger).await, (2, 7), "a report may be late");
    last_seen(ledger, "one", 16).await;
    assert_eq!(live(ledger).await, (1, 3));
    seen(ledger, "one", 4).await;
    ledger.store.worker_gone("two").await.unwrap();
    assert_eq!(live(ledger).await, (1, 4));
    // Those that said nothing for an hour are forgotten when another one goes.
    last_seen(ledger, "one", 3_500).await;
    ledger.store.worker_gone("nobody").await.unwrap();
    let workers = "select count(*) from workers";
    assert_eq!(ledger.count(workers).await, 1);
    last_seen(ledger, "one", 3_700).await;
    ledger.store.worker_gone("nobody").await.unwrap();
    assert_eq!(ledger.count(workers).await, 0);
}

pub(super) async fn the_window_counts_what_was_sent_by_lane(ledger: &Ledger) {
    let store = &ledger.store;
    import(store, "run_a", None).await;
    try_retry(store, "run_a", "run_b").await.unwrap();
    start(store, "run_c").await;
    start(store, "run_d").await;
    assert_eq!(lease_due(store, 9, MINUTE).await.len(), 3);
    assert_eq!(store.window().await.unwrap().sent, PerLane::default());
    let sent = ["run_b", "run_c", "run_d"].map(id);
    store.mark_sent(&sent).await.unwrap();
    let expected = |interactive, bulk| PerLane {
        interactive,
        automatic: 0,
        bulk,
    };
    assert_eq!(store.window().await.unwrap().sent, expected(2, 1));
    // A claim makes room, and so does a delivery that found no slot.
    claim(store, "run_c").await.unwrap();
    store.unmark_sent(&id("run_b")).await.unwrap();
    assert_eq!(store.window().await.unwrap().sent, expected(1, 0));
}

pub(super) async fn those_who_are_to_be_cancelled_are_told_apart(ledger: &Ledger) {
    let store = &ledger.store;
    for run in ["run_a", "run_b", "run_c"] {
        start(store, run).await;
        claim(store, run).await.unwrap();
    }
    let runs = ["run_a", "run_b", "run_none"].map(id);
    assert_eq!(store.cancel_requested(&runs).await.unwrap(), []);
    for run in ["run_b", "run_c"] {
        let asked = store.request_cancel(&acme(), &id(run), now()).await;
        assert!(matches!(asked.unwrap(), CancelOutcome::Requested(_)));
    }
    assert_eq!(store.cancel_requested(&runs).await.unwrap(), [id("run_b")]);
    assert_eq!(store.cancel_requested(&[]).await.unwrap(), []);
}

pub(super) async fn the_clock_is_about_ours(ledger: &Ledger) {
    let theirs = ledger.store.clock().await.unwrap();
    assert!((now() - theirs).abs() < TimeDelta::seconds(30));
}
