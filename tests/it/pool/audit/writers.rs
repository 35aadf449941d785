//! I5: under each epoch of a run only the process that claimed it writes its nodes,
//! ends it and gives it up.

use std::collections::HashMap;

use super::{Invariant, Seen, Verdict};

/// A run whose lease has expired may be cancelled by whoever is asked to.
fn writes_under_a_lease(seen: &Seen) -> bool {
    match seen.what.as_str() {
        "node" => seen.epoch > 0,
        "left" => seen.status != "cancelled",
        _ => false,
    }
}

pub(super) fn check(seen: &[Seen], verdict: &mut Verdict) {
    let mut holders = HashMap::new();
    for seen in seen {
        let key = (&seen.run_id, seen.epoch);
        if seen.what == "claim" {
            let earlier = holders.insert(key, &seen.process);
            verdict.require(earlier.is_none(), Invariant::Zombie, || {
                format!("one epoch, two claims: {seen:?}")
            });
        } else if writes_under_a_lease(seen) {
            let is_holder = holders.get(&key) == Some(&&seen.process);
            verdict.require(is_holder, Invariant::Zombie, || {
                format!("written by somebody else: {seen:?}")
            });
        }
    }
}
