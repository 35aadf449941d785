//! I5: under each epoch of a run only the process that claimed it writes its nodes.

use std::collections::HashMap;

use super::{Invariant, Seen, Verdict};

pub(super) fn check(seen: &[Seen], verdict: &mut Verdict) {
    let mut holders = HashMap::new();
    for seen in seen {
        let key = (&seen.run_id, seen.epoch);
        if seen.what == "claim" {
            let earlier = holders.insert(key, &seen.process);
            verdict.require(earlier.is_none(), Invariant::Zombie, || {
                format!("one epoch, two claims: {seen:?}")
            });
        } else if seen.what == "node" && seen.epoch > 0 {
            let is_holder = holders.get(&key) == Some(&&seen.process);
            verdict.require(is_holder, Invariant::Zombie, || {
                format!("written by somebody else: {seen:?}")
            });
        }
    }
}
