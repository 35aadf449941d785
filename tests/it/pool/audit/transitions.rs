//! I9: statuses change as the house says, seen by triggers in the database.

use super::{Invariant, Verdict};
use crate::pool::seen::Move;

/// What may follow what.
fn is_allowed(step: &Move) -> bool {
    match (step.what.as_str(), step.before.as_str()) {
        // A run that has ended has ended.
        ("run", before) => ["waiting", "running"].contains(&before),
        ("retry", "scheduled") => ["queued", "superseded", "cancelled"].contains(&after(step)),
        ("retry", "queued") => ["claimed", "refused", "cancelled"].contains(&after(step)),
        ("retry", "claimed") => ["created", "refused", "cancelled"].contains(&after(step)),
        ("node", "pending") => !["partial"].contains(&after(step)),
        ("node", "running") => !["pending", "skipped"].contains(&after(step)),
        ("node", "waiting" | "scheduled") => {
            !["pending", "skipped", "partial"].contains(&after(step))
        }
        // Ended nodes and retries stay as they are, and epochs only rise.
        _ => false,
    }
}

fn after(step: &Move) -> &str {
    step.after.as_str()
}

pub(super) fn check(moves: &[Move], verdict: &mut Verdict) {
    for step in moves {
        verdict.require(is_allowed(step), Invariant::Transition, || {
            format!("{step:?}")
        });
    }
}

#[test]
fn what_has_ended_does_not_move() {
    let step = |what: &str, before: &str, after: &str| Move {
        what: what.to_owned(),
        id: "x".to_owned(),
        before: before.to_owned(),
        after: after.to_owned(),
    };
    assert!(is_allowed(&step("run", "waiting", "running")));
    assert!(is_allowed(&step("retry", "queued", "claimed")));
    assert!(is_allowed(&step("node", "running", "success")));
    assert!(!is_allowed(&step("run", "failure", "running")));
    assert!(!is_allowed(&step("retry", "created", "queued")));
    assert!(!is_allowed(&step("retry", "queued", "created")));
    assert!(!is_allowed(&step("node", "success", "running")));
    assert!(!is_allowed(&step("epoch", "2", "1")));
}
