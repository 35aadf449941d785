//! Messages that could not be used.

use redrive::{domain::Timestamp, store::DeadLetter};

use crate::support::{
    ledger::Ledger,
    rows::{id, json},
};

/// A letter that came so many seconds after the first one.
fn letter(name: &str, seconds: i64) -> DeadLetter {
    let at = 1_700_000_000_000_000 + seconds * 1_000_000 + 7;
    DeadLetter {
        id: id(name),
        reason: "invalid_message".into(),
        message: "it names no schema ✓".into(),
        queue: (seconds != 2).then(|| "redrive.bulk.v1".into()),
        body: vec![0, 0xff, b'{', 0x80],
        body_bytes: 70_000,
        headers: json(r#"{"z":1.50,"a":null}"#),
        received_at: Timestamp::from_timestamp_micros(at).unwrap(),
    }
}

pub(super) async fn what_cannot_be_used_is_kept_until_it_is_dropped(ledger: &Ledger) {
    let store = &ledger.store;
    let all = [letter("dl_c", 3), letter("dl_b", 2), letter("dl_a", 1)];
    for letter in [&all[1], &all[0], &all[2]] {
        store.insert_dead_letter(letter).await.unwrap();
    }
    // The same delivery again, whatever it says now, changes nothing.
    let again = DeadLetter {
        reason: "other".into(),
        ..all[0].clone()
    };
    store.insert_dead_letter(&again).await.unwrap();
    assert_eq!(store.dead_letters(9, 0).await.unwrap(), all, "newest first");
    assert_eq!(store.dead_letters(1, 1).await.unwrap(), all[1..2]);
    assert_eq!(store.dead_letters(9, 3).await.unwrap(), []);
    assert_eq!(store.dead_letters(9, u64::MAX).await.unwrap(), []);
    let found = store.dead_letter(&all[1].id).await.unwrap();
    assert_eq!(found.as_ref(), Some(&all[1]));
    assert_eq!(store.dead_letter(&id("dl_none")).await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap().dead_letters, 3);
    let dropped = store.drop_dead_letter(&all[1].id).await.unwrap();
    assert_eq!(dropped.as_ref(), Some(&all[1]));
    assert_eq!(store.drop_dead_letter(&all[1].id).await.unwrap(), None);
    assert_eq!(store.dead_letter(&all[1].id).await.unwrap(), None);
    assert_eq!(store.backlog().await.unwrap().dead_letters, 2);
}
