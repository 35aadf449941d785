//! Due rows on their way to workers.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use redrive::{
    domain::{Lane, PerLane, RunId},
    store::{AcceptedStart, Rescued, Swept, WorkKind},
};

use crate::support::{
    ledger::Ledger,
    rows::{MINUTE, claim, claim_and_die, id, lease_due, new_start, now, start},
};

use super::progress::parking;

pub(super) async fn relays_never_get_the_same_row(ledger: &Ledger) {
    let store = &ledger.store;
    for n in 0..40 {
        start(store, &format!("run_{n:02}")).await;
    }
    let relays = (0..8).map(|_| {
        let store = store.clone();
        tokio::spawn(async move {
            let mut mine = Vec::new();
            loop {
                let due = lease_due(&store, 3, MINUTE).await;
                if due.is_empty() {
                    return mine;
                }
                mine.extend(due.into_iter().map(|row| row.run_id));
            }
        })
    });
    let relays: Vec<_> = relays.collect();
    let mut all: Vec<RunId> = Vec::new();
    for relay in relays {
        all.extend(relay.await.unwrap());
    }
    let distinct: HashSet<_> = all.iter().collect();
    assert_eq!((all.len(), distinct.len()), (40, 40));
    store.mark_sent(&all).await.unwrap();
    assert!(lease_due(store, 99, MINUTE).await.is_empty());
    store.unmark_sent(&all[7]).await.unwrap();
    let due = lease_due(store, 99, MINUTE).await;
    assert_eq!(due.len(), 1);
    assert_eq!((&due[0].run_id, due[0].kind), (&all[7], WorkKind::Run));
}

pub(super) async fn a_relay_that_died_gives_its_rows_back(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    start(store, "run_b").await;
    let first = lease_due(store, 1, Duration::ZERO).await;
    assert_eq!(first[0].run_id, id("run_a"), "oldest first");
    let again = lease_due(store, 1, Duration::ZERO).await;
    assert_eq!(again, first);
    assert_eq!(lease_due(store, 9, MINUTE).await.len(), 2);
    assert!(lease_due(store, 9, MINUTE).await.is_empty());
    // A row that a relay has can be claimed: another worker may be faster than the message.
    assert!(claim(store, "run_a").await.is_some());
}

pub(super) async fn a_late_mark_does_not_hide_a_new_row(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    lease_due(store, 1, MINUTE).await;
    let held = claim(store, "run_a").await.unwrap();
    store.park(&held.fence, &parking(now())).await.unwrap();
    store.mark_sent(&[id("run_a")]).await.unwrap();
    assert_eq!(lease_due(store, 1, MINUTE).await.len(), 1);
}

pub(super) async fn promise_1_what_was_forgotten_is_due_again(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_dead").await;
    start(store, "run_lost").await;
    start(store, "run_held").await;
    claim_and_die(store, "run_dead").await;
    claim(store, "run_held").await.unwrap();
    ledger
        .execute("delete from outbox where run_id = 'run_lost'")
        .await;
    assert_eq!(store.rescue().await.unwrap().abandoned, 1);
    assert_eq!(store.rescue().await.unwrap(), Rescued::default());
    assert_eq!(store.sweep(None, 9).await.unwrap().forgotten, 1);
    assert_eq!(store.sweep(None, 9).await.unwrap(), Swept::default());
    let due = lease_due(store, 10, MINUTE).await;
    let due: HashSet<_> = due.iter().map(|row| row.run_id.as_str()).collect();
    assert_eq!(due, HashSet::from(["run_dead", "run_lost"]));
    assert_eq!(claim(store, "run_dead").await.unwrap().lost_leases, 1);
    assert_eq!(claim(store, "run_lost").await.unwrap().lost_leases, 0);
}

pub(super) async fn the_queue_is_swept_part_by_part(ledger: &Ledger) {
    let store = &ledger.store;
    for run in ["run_a", "run_b", "run_c", "run_d", "run_e"] {
        start(store, run).await;
    }
    let forget = "delete from outbox where run_id in ('run_b', 'run_e')";
    ledger.execute(forget).await;
    let part = |forgotten, next: Option<&str>| Swept {
        forgotten,
        next: next.map(id),
    };
    let mut from = None;
    for expected in [
        part(1, Some("run_b")),
        part(0, Some("run_d")),
        part(1, None),
    ] {
        let swept = store.sweep(from.as_ref(), 2).await.unwrap();
        assert_eq!(swept, expected);
        from = swept.next;
    }
    assert_eq!(lease_due(store, 10, MINUTE).await.len(), 5);
}

pub(super) async fn promise_1_a_lost_message_is_sent_again(ledger: &Ledger) {
    let store = &ledger.store;
    start(store, "run_a").await;
    let waits = [30, 60, 120, 240, 480, 600, 600];
    for (sends, seconds) in waits.into_iter().enumerate() {
        let due = lease_due(store, 1, MINUTE).await;
        assert_eq!(due.len(), 1, "send {sends}");
        store.mark_sent(&[id("run_a")]).await.unwrap();
        sent_before(ledger, seconds - 5).await;
        assert_eq!(store.rescue().await.unwrap(), Rescued::default());
        sent_before(ledger, seconds + 1).await;
        assert_eq!(store.rescue().await.unwrap().unclaimed, 1, "send {sends}");
    }
}

/// As if the row had been sent so many seconds ago.
async fn sent_before(ledger: &Ledger, seconds: i64) {
    let at = now() - chrono::TimeDelta::seconds(seconds);
    let at = at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true);
    ledger
        .execute(&format!("update outbox set sent_at = '{at}'"))
        .await;
}

/// A due run of an organisation.
async fn start_of(ledger: &Ledger, organization: &str, run: &str, lane: Lane) {
    let mut new = new_start(run);
    new.run.organization_id = id(organization);
    new.lane = lane;
    let accepted = ledger
        .store
        .accept_start(&new, None, None)
        .await
        .unwrap()
        .unwrap();
    assert_eq!(accepted, AcceptedStart::Accepted);
}

pub(super) async fn organisations_take_turns(ledger: &Ledger) {
    let lane = Lane::Interactive;
    for n in 0..100 {
        start_of(ledger, "large", &format!("run_large_{n:03}"), lane).await;
    }
    for organization in ["a", "b", "c"] {
        for n in 0..2 {
            start_of(
                ledger,
                organization,
                &format!("run_{organization}_{n}"),
                lane,
            )
            .await;
        }
    }
    let due = lease_due(&ledger.store, 8, MINUTE).await;
    let mut shares = BTreeMap::new();
    for row in &due {
        *shares.entry(row.organization_id.as_str()).or_insert(0) += 1;
    }
    assert_eq!(
        shares,
        BTreeMap::from([("a", 2), ("b", 2), ("c", 2), ("large", 2)])
    );
    let first = due.iter().find(|row| row.organization_id == id("large"));
    assert_eq!(first.unwrap().run_id, id("run_large_000"), "oldest first");
    // What the others leave is the large one's, in as many rounds as it takes.
    let mut rest = Vec::new();
    while rest.len() < 98 {
        let round = lease_due(&ledger.store, 8, MINUTE).await;
        assert!((1..=8).contains(&round.len()), "{}", round.len());
        rest.extend(round);
    }
    assert!(rest.iter().all(|row| row.organization_id == id("large")));
    assert_eq!(rest.len(), 98);
}

pub(super) async fn every_lane_has_its_own_room(ledger: &Ledger) {
    for lane in Lane::ALL {
        for n in 0..3 {
            start_of(ledger, "acme", &format!("run_{}_{n}", lane.as_str()), lane).await;
        }
    }
    let room = PerLane {
        interactive: 2,
        automatic: 0,
        bulk: 9,
    };
    let due = ledger.store.lease_due(&room, Duration::ZERO, MINUTE).await;
    let due = due.unwrap();
    let count = |lane| due.iter().filter(|row| row.lane == lane).count();
    assert_eq!(Lane::ALL.map(count), [2, 0, 3]);
    // Younger rows are left to those who will take them.
    let room = PerLane::from_fn(|_| 9);
    let old = ledger.store.lease_due(&room, MINUTE, MINUTE).await.unwrap();
    assert_eq!(old, []);
}

pub(super) async fn rows_that_were_not_sent_are_given_back(ledger: &Ledger) {
    let store = &ledger.store;
    for run in ["run_a", "run_b", "run_c"] {
        start(store, run).await;
    }
    assert_eq!(lease_due(store, 9, MINUTE).await.len(), 3);
    store.mark_sent(&[id("run_c")]).await.unwrap();
    let given = [id("run_b"), id("run_c"), id("run_none")];
    store.give_back(&given).await.unwrap();
    let due = lease_due(store, 9, MINUTE).await;
    assert_eq!(due.len(), 1, "a sent row stays sent: {due:?}");
    assert_eq!(due[0].run_id, id("run_b"));
}

pub(super) async fn the_backlog_is_counted(ledger: &Ledger) {
    let store = &ledger.store;
    let empty = store.backlog().await.unwrap();
    assert_eq!((empty.due, empty.leased), (0, 0));
    assert!(empty.oldest_seconds.abs() < f64::EPSILON);
    for run in ["run_a", "run_b", "run_c"] {
        start(store, run).await;
    }
    claim(store, "run_a").await.unwrap();
    claim_and_die(store, "run_b").await;
    let some = store.backlog().await.unwrap();
    assert_eq!((some.due, some.leased), (1, 1));
    assert!(some.oldest_seconds > 0.0 && some.oldest_seconds < 60.0);
    assert!((some.oldest_unsent_seconds - some.oldest_seconds).abs() < 1.0);
    lease_due(store, 9, MINUTE).await;
    store.mark_sent(&[id("run_c")]).await.unwrap();
    let sent = store.backlog().await.unwrap();
    assert_eq!(sent.due, 1, "it is due until somebody claims it");
    assert!(sent.oldest_unsent_seconds.abs() < f64::EPSILON);
    assert!(sent.oldest_seconds > 0.0);
}
