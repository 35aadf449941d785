//! The attempts of an imported record: whatever is there of each counts, since what they leave in
//! doubt decides what may be repeated.

use serde_json::{Map, Value};

use super::super::{IntakeError, body::invalid};
use crate::domain::{Attempt, ErrorClass, NodeError};

/// The code of an error that has none.
const NO_CODE: &str = "unknown";

/// The attempts in `value`, the member `place` of the import; none if it is no list, as with
/// platforms that only count them.
pub(super) fn attempts(value: &Value, place: &str) -> Result<Option<Vec<Attempt>>, IntakeError> {
    let Some(items) = value.as_array() else {
        return Ok(None);
    };
    let read = (1..).zip(items).map(|(number, item)| match item {
        Value::Object(members) => Ok(attempt(number, members)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(invalid(format!("{place} must be a list of objects")))
        }
    });
    read.collect::<Result<_, _>>().map(Some)
}

/// One attempt, the `place`th. One that says neither when it ended nor how has no outcome.
fn attempt(place: u32, members: &Map<String, Value>) -> Attempt {
    let number = text(members, "number").and_then(|number| number.parse().ok());
    Attempt {
        number: number.unwrap_or(place),
        effect_key: text(members, "effectKey"),
        started_at: text(members, "startedAt").unwrap_or_default(),
        finished_at: text(members, "finishedAt"),
        error: members.get("error").and_then(error),
    }
}

/// Why it failed. An error that says nothing of its class may have been anything.
fn error(value: &Value) -> Option<NodeError> {
    let Value::Object(members) = value else {
        let message = plain(value)?;
        return Some(NodeError::new(ErrorClass::Transient, NO_CODE, message));
    };
    let class = members.get("class").cloned().unwrap_or_default();
    let class = serde_json::from_value(class).unwrap_or(ErrorClass::Transient);
    let code = text(members, "code").unwrap_or_else(|| NO_CODE.to_owned());
    let message = text(members, "message").unwrap_or_default();
    let error = NodeError::new(class, code, message)
        .with_retry_after_ms(members.get("retryAfterMs").and_then(Value::as_u64));
    let details = members.get("details").filter(|details| !details.is_null());
    Some(match details {
        Some(details) => error.with_details(details.clone()),
        None => error,
    })
}

/// A member as text: numbers as they are written.
fn text(members: &Map<String, Value>, name: &str) -> Option<String> {
    members.get(name).and_then(plain)
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Some(value.to_string())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(value: &Value) -> Vec<Attempt> {
        attempts(value, "attempts").unwrap().unwrap()
    }

    #[test]
    fn whatever_is_there_of_an_attempt_counts() {
        let read = read(&json!([
            { "number": 7, "effectKey": "k", "startedAt": "s", "finishedAt": "f",
              "error": { "class": "in_doubt", "message": "m" } },
            { "number": "8", "startedAt": 1_700_000_000, "error": "connection reset" },
            { "error": { "class": "no_such_class", "code": 500, "details": { "status": 500 } } },
            {}
        ]));
        let numbers: Vec<_> = read.iter().map(|attempt| attempt.number).collect();
        assert_eq!(numbers, [7, 8, 3, 4]);
        let errors: Vec<_> = read
            .iter()
            .map(|attempt| attempt.error.as_ref().map(|e| (e.class, e.code.as_str())))
            .collect();
        assert_eq!(
            errors,
            [
                Some((ErrorClass::InDoubt, "unknown")),
                Some((ErrorClass::Transient, "unknown")),
                Some((ErrorClass::Transient, "500")),
                None
            ]
        );
        assert_eq!(read[1].started_at, "1700000000");
        assert_eq!(read[1].error.as_ref().unwrap().message, "connection reset");
        assert_eq!(read[3].finished_at, None);
    }

    #[test]
    fn what_is_no_list_of_attempts_is_kept_or_refused() {
        assert!(attempts(&json!(3), "attempts").unwrap().is_none());
        let error = attempts(&json!([1]), "executionState.n.attempts").unwrap_err();
        assert!(error.to_string().contains("executionState.n.attempts"));
    }
}
