//! `retry` and `timeoutMs` of a node: what it does about its own failures.

use std::time::Duration;

use serde_json::{Map, Value};

use super::{DefinitionError, Node};
use crate::domain::{Backoff, DelayJitter, ErrorClass, JsonText, RetryPolicy, whole_number};

/// The members of `retry`.
const MEMBERS: [&str; 7] = [
    "maxAttempts",
    "backoff",
    "initialDelayMs",
    "maxDelayMs",
    "multiplier",
    "jitter",
    "retryOn",
];

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What a webhook is retried when its payload does not say (`maxRetries`).
const WEBHOOK_RETRIES: u64 = 3;

impl Node {
    /// The node's policy: its own, else for `send-webhook` what `maxRetries` of its resolved payload,
    /// `input`, asks for.
    #[must_use]
    pub fn retry_policy(&self, input: Option<&JsonText>) -> Option<RetryPolicy> {
        if self.retry.is_some() || self.kind != "send-webhook" {
            return self.retry.clone();
        }
        let input = input.and_then(|input| input.value().ok());
        let given = input.as_ref().and_then(|input| input.get("maxRetries"));
        let retries = match given.filter(|given| !given.is_null()) {
            Some(given) => whole_number(given.as_number()?)?,
            None => WEBHOOK_RETRIES,
        };
        let max_attempts = u32::try_from(retries.saturating_add(1)).ok()?;
        Some(RetryPolicy {
            max_attempts,
            ..RetryPolicy::default()
        })
    }
}

/// Refuses a policy of a node that has none: a loop and a wait are not attempted.
pub(super) fn check_own_policy(node: &Node) -> Result<(), DefinitionError> {
    let instead = match node.kind.as_str() {
        _ if node.loop_body.is_some() => [
            "put `retry` on the nodes of its body",
            "put `timeoutMs` on the nodes of its body",
        ],
        "wait" => [
            "what follows when nobody comes belongs under its branch `timed_out`",
            "`payload.timeoutMs` says how long it waits",
        ],
        _ => return Ok(()),
    };
    let given = [
        ("retry", node.retry.is_some()),
        ("timeoutMs", node.timeout.is_some()),
    ];
    for ((member, is_given), instead) in given.into_iter().zip(instead) {
        if is_given {
            let message = format!("does nothing on a node of type {}: {instead}", node.kind);
            return Err(DefinitionError::new(message).at_field(member));
        }
    }
    Ok(())
}

/// Reads `retry`; what says nothing is no policy.
pub(super) fn read_retry(
    source: &Map<String, Value>,
) -> Result<Option<RetryPolicy>, DefinitionError> {
    let members = match source.get("retry") {
        None | Some(Value::Null) => return Ok(None),
        Some(Value::Object(members)) if members.is_empty() => return Ok(None),
        Some(Value::Object(members)) => members,
        Some(_) => return Err(DefinitionError::new("must be an object").at_field("retry")),
    };
    if let Some(unknown) = members
        .keys()
        .find(|name| !MEMBERS.contains(&name.as_str()))
    {
        let message = format!("has no member `{unknown}`: it takes {}", MEMBERS.join(", "));
        return Err(DefinitionError::new(message).at_field("retry"));
    }
    let defaults = RetryPolicy::default();
    let max_attempts = whole(members, "maxAttempts", 1, 100)?;
    let initial_delay = whole(members, "initialDelayMs", 0, DAY_MS)?;
    let max_delay = whole(members, "maxDelayMs", 0, DAY_MS)?;
    let initial_delay = initial_delay.map_or(defaults.initial_delay, Duration::from_millis);
    Ok(Some(RetryPolicy {
        max_attempts: max_attempts
            .and_then(|most| u32::try_from(most).ok())
            .unwrap_or(defaults.max_attempts),
        backoff: backoff(members)?.unwrap_or(defaults.backoff),
        initial_delay,
        // A first delay beyond the usual bound is meant.
        max_delay: max_delay.map_or(defaults.max_delay.max(initial_delay), Duration::from_millis),
        multiplier: multiplier(members)?.unwrap_or(defaults.multiplier),
        jitter: jitter(members)?.unwrap_or(defaults.jitter),
        retry_on: retry_on(members)?.unwrap_or(defaults.retry_on),
    }))
}

/// Reads `timeoutMs`: from 1 ms to a day.
pub(super) fn read_timeout(
    source: &Map<String, Value>,
) -> Result<Option<Duration>, DefinitionError> {
    let millis = number(source, "timeoutMs", 1, DAY_MS);
    let millis = millis.map_err(|message| DefinitionError::new(message).at_field("timeoutMs"))?;
    Ok(millis.map(Duration::from_millis))
}

fn given<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn number(
    members: &Map<String, Value>,
    name: &str,
    min: u64,
    max: u64,
) -> Result<Option<u64>, String> {
    let Some(value) = given(members, name) else {
        return Ok(None);
    };
    let number = value.as_number().and_then(whole_number);
    let number = number.filter(|number| (min..=max).contains(number));
    number
        .map(Some)
        .ok_or_else(|| format!("must be a whole number from {min} to {max}"))
}

fn wrong(name: &str, message: impl Into<String>) -> DefinitionError {
    DefinitionError::new(message).at_field(format!("retry.{name}"))
}

fn whole(
    members: &Map<String, Value>,
    name: &str,
    min: u64,
    max: u64,
) -> Result<Option<u64>, DefinitionError> {
    number(members, name, min, max).map_err(|message| wrong(name, message))
}

fn word<T: Copy>(
    members: &Map<String, Value>,
    name: &str,
    words: &[(&str, T)],
) -> Result<Option<T>, DefinitionError> {
    let Some(value) = given(members, name) else {
        return Ok(None);
    };
    let known = |(word, _): &&(&str, T)| value.as_str() == Some(*word);
    if let Some((_, meaning)) = words.iter().find(known) {
        return Ok(Some(*meaning));
    }
    let words: Vec<_> = words
        .iter()
        .map(|(word, _)| format!("\"{word}\""))
        .collect();
    Err(wrong(name, format!("must be {}", words.join(" or "))))
}

fn backoff(members: &Map<String, Value>) -> Result<Option<Backoff>, DefinitionError> {
    let words = [
        ("fixed", Backoff::Fixed),
        ("linear", Backoff::Linear),
        ("exponential", Backoff::Exponential),
    ];
    word(members, "backoff", &words)
}

fn jitter(members: &Map<String, Value>) -> Result<Option<DelayJitter>, DefinitionError> {
    let words = [("none", DelayJitter::None), ("full", DelayJitter::Full)];
    word(members, "jitter", &words)
}

fn multiplier(members: &Map<String, Value>) -> Result<Option<f64>, DefinitionError> {
    let Some(value) = given(members, "multiplier") else {
        return Ok(None);
    };
    let number = value
        .as_f64()
        .filter(|number| (1.0..=100.0).contains(number));
    number
        .map(Some)
        .ok_or_else(|| wrong("multiplier", "must be a number from 1 to 100"))
}

fn retry_on(members: &Map<String, Value>) -> Result<Option<Vec<ErrorClass>>, DefinitionError> {
    let Some(value) = given(members, "retryOn") else {
        return Ok(None);
    };
    let fault = || {
        wrong(
            "retryOn",
            "must be a list of error classes: transient, permanent, timeout, in_doubt, \
             rate_limited, expression, definition, internal",
        )
    };
    let words = value.as_array().ok_or_else(fault)?;
    let classes: Option<Vec<_>> = words
        .iter()
        .map(|word| serde_json::from_value::<ErrorClass>(word.clone()).ok())
        .map(|class| class.filter(|class| *class != ErrorClass::Cancelled))
        .collect();
    classes.map(Some).ok_or_else(fault)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workflow::{Definition, DefinitionLimits};
    use serde_json::json;

    fn read(retry: &Value) -> Result<Option<RetryPolicy>, String> {
        let source = json!({ "retry": retry });
        read_retry(source.as_object().unwrap()).map_err(|e| e.to_string())
    }

    #[test]
    fn every_member_is_read_and_has_a_default() {
        assert_eq!(read(&json!(null)), Ok(None));
        assert_eq!(read(&json!({})), Ok(None));
        let given = read(&json!({"maxAttempts": 5})).unwrap().unwrap();
        assert_eq!(
            given,
            RetryPolicy {
                max_attempts: 5,
                ..RetryPolicy::default()
            }
        );
        let all = json!({
            "maxAttempts": 2, "backoff": "linear", "initialDelayMs": 10, "maxDelayMs": 20,
            "multiplier": 1.5, "jitter": "full", "retryOn": ["permanent"]
        });
        let expected = RetryPolicy {
            max_attempts: 2,
            backoff: Backoff::Linear,
            initial_delay: Duration::from_millis(10),
            max_delay: Duration::from_millis(20),
            multiplier: 1.5,
            jitter: DelayJitter::Full,
            retry_on: vec![ErrorClass::Permanent],
        };
        assert_eq!(read(&all).unwrap().unwrap(), expected);
        let long = read(&json!({"initialDelayMs": 120_000})).unwrap().unwrap();
        assert_eq!(long.max_delay, Duration::from_mins(2));
    }

    #[test]
    fn a_webhook_is_retried_as_its_resolved_payload_says() {
        let definition = json!({ "nodes": {
            "root": {"type": "manual", "children": ["hook", "own"]},
            "hook": {"type": "send-webhook", "payload": {"maxRetries": "{{root.r}}"}},
            "own": {"type": "send-webhook", "retry": {"maxAttempts": 7}}
        } });
        let definition = Definition::parse(&definition, &DefinitionLimits::default()).unwrap();
        let attempts = |id: &str, input: &str| {
            let input: JsonText = JsonText::of(&serde_json::from_str(input).unwrap());
            let node = definition.node(definition.find(id).unwrap());
            node.retry_policy(Some(&input))
                .map(|policy| policy.max_attempts)
        };
        for (input, expected) in [
            ("{}", Some(4)),
            (r#"{"maxRetries": null}"#, Some(4)),
            (r#"{"maxRetries": 0}"#, Some(1)),
            (r#"{"maxRetries": 1.0}"#, Some(2)),
            (r#"{"maxRetries": 1e1}"#, Some(11)),
            (r#"{"maxRetries": "2"}"#, None),
            (r#"{"maxRetries": 1.5}"#, None),
        ] {
            assert_eq!(attempts("hook", input), expected, "{input}");
        }
        assert_eq!(attempts("own", r#"{"maxRetries": 1}"#), Some(7));
        assert_eq!(attempts("root", "{}"), None);
    }

    #[test]
    fn whole_numbers_may_be_spelled_in_any_way() {
        let source = r#"{"timeoutMs": 2000.0, "retry": {"maxAttempts": 5e0, "initialDelayMs": 1e3, "maxDelayMs": 20e2}}"#;
        let source: Value = serde_json::from_str(source).unwrap();
        let source = source.as_object().unwrap();
        assert_eq!(read_timeout(source), Ok(Some(Duration::from_secs(2))));
        let policy = read_retry(source).unwrap().unwrap();
        assert_eq!(policy.max_attempts, 5);
        assert_eq!(policy.initial_delay, Duration::from_secs(1));
        assert_eq!(policy.max_delay, Duration::from_secs(2));
    }

    #[test]
    fn faults_are_named() {
        for (retry, part) in [
            (json!(3), "`retry`: must be an object"),
            (json!({"attempts": 3}), "no member `attempts`"),
            (
                json!({"maxAttempts": 0}),
                "`retry.maxAttempts`: must be a whole number from 1 to 100",
            ),
            (json!({"backoff": "slow"}), "`retry.backoff`"),
            (json!({"initialDelayMs": -1}), "`retry.initialDelayMs`"),
            (json!({"maxDelayMs": 86_400_001}), "`retry.maxDelayMs`"),
            (json!({"multiplier": 0.5}), "`retry.multiplier`"),
            (json!({"jitter": "half"}), "`retry.jitter`"),
            (json!({"retryOn": "transient"}), "`retry.retryOn`"),
            (json!({"retryOn": ["cancelled"]}), "`retry.retryOn`"),
        ] {
            let error = read(&retry).unwrap_err();
            assert!(error.contains(part), "{error}");
        }
    }
}
