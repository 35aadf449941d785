//! What an imported record says of its node's effect.

use serde_json::{Map, Value};

use crate::domain::{
    Attempt, EffectState, ErrorClass, LastAttempt, NodeError, NodeRecord, NodeStatus, SideEffects,
    is_rejection,
};

/// What is known of the effect of a node that ran elsewhere. Only the attempts with the newest key
/// count. Where no key is named, nothing was sent under one of ours: a known outcome leaves nothing
/// to remember; an unknown one does.
pub(super) fn effect(
    record: &NodeRecord,
    entry: &Map<String, Value>,
    effects: SideEffects,
) -> Option<EffectState> {
    let mut newest_first = record.attempts.iter().rev();
    let newest = newest_first.find_map(|attempt| attempt.effect_key.as_deref());
    let is_current = |attempt: &&Attempt| {
        let key = attempt.effect_key.as_deref();
        key.is_none() || key == newest
    };
    let current: Vec<_> = record.attempts.iter().filter(is_current).collect();
    let known = newest.and_then(|key| EffectState::of_key(key, &record.path));
    let is_done = known.is_none() && record.status == NodeStatus::Success;
    let left_open = !is_done && current.iter().any(|attempt| is_open(attempt));
    if left_open || is_in_doubt(record, entry, effects) {
        let last = LastAttempt::InDoubt;
        return Some(known.unwrap_or_default().settled(last));
    }
    let last = current.iter().rev().find_map(|attempt| outcome(attempt));
    Some(known?.settled(last.unwrap_or(LastAttempt::Unsent)))
}

/// Whether nobody knows what became of the attempt.
fn is_open(attempt: &Attempt) -> bool {
    let error = attempt.error.as_ref();
    // A recorded error is an outcome, whether or not somebody wrote down when.
    match error {
        Some(error) => error.class == ErrorClass::InDoubt,
        None => attempt.finished_at.is_none(),
    }
}

/// How an attempt ended that has; none if it sent nothing.
fn outcome(attempt: &Attempt) -> Option<LastAttempt> {
    match &attempt.error {
        None => Some(LastAttempt::Succeeded),
        Some(error) if error.class == ErrorClass::Timeout => None,
        Some(error) if status(error).is_some_and(is_rejection) => Some(LastAttempt::Rejected),
        Some(_) => Some(LastAttempt::Failed),
    }
}

/// The HTTP status that the target answered.
fn status(error: &NodeError) -> Option<u16> {
    let details = error.details.as_ref();
    let status = details.and_then(|details| details.get("status")?.as_u64());
    match status {
        Some(status) => u16::try_from(status).ok(),
        None => error.code.strip_prefix("http_")?.parse().ok(),
    }
}

/// Whether the record itself says that the outcome is unknown.
fn is_in_doubt(record: &NodeRecord, entry: &Map<String, Value>, effects: SideEffects) -> bool {
    let class = entry
        .get("error")
        .and_then(|error| error.get("class"))
        .and_then(Value::as_str);
    match record.status {
        NodeStatus::Success => false,
        NodeStatus::Running => true,
        NodeStatus::Pending
        | NodeStatus::Partial
        | NodeStatus::Failure
        | NodeStatus::Skipped
        | NodeStatus::Waiting
        | NodeStatus::Scheduled => class == Some("in_doubt"),
        // It may have been cut off in its call. That matters where a repeat does harm.
        NodeStatus::Cancelled => {
            let started = effects == SideEffects::Unsafe && record.started_at.is_some();
            started || class == Some("in_doubt")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn effect_of(status: NodeStatus, attempts: &Value) -> Option<EffectState> {
        let mut record = NodeRecord::new("n".parse().unwrap(), "x", status);
        record.attempts = serde_json::from_str(&attempts.to_string()).unwrap();
        effect(&record, &Map::new(), SideEffects::Assumed)
    }

    fn attempt(key: Option<&str>, class: &str, code: &str) -> Value {
        let mut attempt = json!({
            "number": 1, "startedAt": "a", "finishedAt": "b",
            "error": { "class": class, "code": code, "message": "m" }
        });
        if let Some(key) = key {
            attempt["effectKey"] = key.into();
        }
        attempt
    }

    #[test]
    fn only_attempts_with_the_newest_key_count() {
        let attempts = json!([
            attempt(Some("r/n/1"), "in_doubt", "reset"),
            attempt(Some("r/n/2@r"), "transient", "http_503"),
        ]);
        let effect = effect_of(NodeStatus::Failure, &attempts).unwrap();
        assert!(!effect.is_in_doubt());
        assert_eq!(
            (
                effect.generation,
                effect.raised_by.as_ref().unwrap().as_str(),
                effect.last
            ),
            (2, "r", LastAttempt::Failed)
        );
        let attempts = json!([
            attempt(Some("r/n/1"), "in_doubt", "reset"),
            attempt(Some("r/n/1"), "permanent", "http_400"),
        ]);
        assert!(
            effect_of(NodeStatus::Failure, &attempts)
                .unwrap()
                .is_in_doubt()
        );
    }

    #[test]
    fn the_last_attempt_with_a_key_says_what_became_of_it() {
        for (class, code, last) in [
            ("permanent", "http_400", LastAttempt::Rejected),
            ("permanent", "http_409", LastAttempt::Failed),
            ("transient", "http_503", LastAttempt::Failed),
            ("timeout", "connect_timeout", LastAttempt::Unsent),
            ("in_doubt", "http_400", LastAttempt::InDoubt),
        ] {
            let attempts = json!([attempt(Some("r/n/1"), class, code)]);
            let effect = effect_of(NodeStatus::Failure, &attempts).unwrap();
            assert_eq!(effect.last, last, "{class} {code}");
        }
        let mut refined = attempt(Some("r/n/1"), "permanent", "no_such_account");
        refined["error"]["details"] = json!({ "status": 404 });
        let effect = effect_of(NodeStatus::Failure, &json!([refined])).unwrap();
        assert_eq!(effect.last, LastAttempt::Rejected);
    }

    #[test]
    fn an_outcome_without_a_key_leaves_nothing_to_remember() {
        for key in [None, Some("a key of somebody else's")] {
            let attempts = json!([attempt(key, "permanent", "http_400")]);
            assert_eq!(effect_of(NodeStatus::Failure, &attempts), None, "{key:?}");
        }
    }
}
