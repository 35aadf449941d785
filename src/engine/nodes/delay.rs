//! `delay`: waits without holding a worker.
//!
//! `{"delayMs": 1000}`, or `{"duration": "15m"}` in `ms`, `s`, `m`, `h`, `d` and `w`, together if
//! need be (`1h30m`), gives `{"status": "completed"}` once the time is over. The first call asks
//! to be called again at the due time; the call at that time completes. At most 1,000 years.

use chrono::TimeDelta;
use serde_json::json;

use super::payload::Payload;
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput},
};

/// The longest delay: 1,000 years, after which a year still has four digits, as times are sorted
/// by their text.
const MAX_MS: u64 = 365_250 * 24 * 60 * 60 * 1_000;

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let millis = millis(&payload)?;
    if call.due.is_some() || millis == 0 {
        return Ok(NodeOutput::result(json!({ "status": "completed" })));
    }
    let delay = i64::try_from(millis).ok().map(TimeDelta::milliseconds);
    // A thousand years from any present there is still a time.
    Ok(NodeOutput {
        due: delay.and_then(|delay| call.now.checked_add_signed(delay)),
        ..NodeOutput::default()
    })
}

fn millis(payload: &Payload<'_>) -> Result<u64, NodeError> {
    const TAKES: &str =
        "a time like \"500ms\", \"15m\" or \"1h30m\", at most 365250 days (1,000 years)";
    let delay = payload.whole("delayMs", 0, MAX_MS)?;
    let duration = payload.optional_as("duration", TAKES, |value| parse(value.as_str()?))?;
    match (delay, duration) {
        (Some(millis), None) | (None, Some(millis)) => Ok(millis),
        (None, None) => Err(payload.wrong("delayMs` or `duration", "a time")),
        (Some(_), Some(_)) => Err(payload.refuse("takes `delayMs` or `duration`, not both")),
    }
}

/// Milliseconds of `1h30m`; none for anything that is no such time or too long.
fn parse(text: &str) -> Option<u64> {
    let (mut total, mut rest) = (0_u64, text.trim());
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let (number, after) = rest.split_at(digits);
        let letters = after.len()
            - after
                .trim_start_matches(|c: char| c.is_ascii_lowercase())
                .len();
        let (unit, after) = after.split_at(letters);
        let part = number
            .parse::<u64>()
            .ok()?
            .checked_mul(unit_millis(unit)?)?;
        total = total.checked_add(part)?;
        rest = after.trim_start();
    }
    (total <= MAX_MS).then_some(total)
}

fn unit_millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        "w" => 604_800_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::engine::nodes::testing::{self, Call};

    #[test]
    fn durations_are_read() {
        for (text, expected) in [
            ("15m", Some(900_000)),
            ("1h30m", Some(5_400_000)),
            ("1h 30m ", Some(5_400_000)),
            ("500ms", Some(500)),
            ("2d", Some(172_800_000)),
            ("1w", Some(604_800_000)),
            ("0s", Some(0)),
            ("365250d", Some(MAX_MS)),
            ("365250d1ms", None),
            ("", None),
            (" ", None),
            ("15", None),
            ("m", None),
            ("-5m", None),
            ("1.5h", None),
            ("5M", None),
            ("15minutes", None),
            ("5 m", None),
            ("99999999999999999999999ms", None),
            ("9999999999999999999w", None),
            ("٣m", None),
        ] {
            assert_eq!(parse(text), expected, "{text}");
        }
    }

    #[test]
    fn the_first_call_asks_for_a_second_one() {
        for (input, millis) in [
            (json!({"delayMs": 1_000}), 1_000),
            (json!({"delayMs": 1e3}), 1_000),
            (json!({"duration": "367d"}), 31_708_800_000),
            (
                json!({"delayMs": 31_557_600_000_000_u64}),
                31_557_600_000_000,
            ),
            (
                json!({"duration": "15m", "delayMs": null, "reason": "why"}),
                900_000,
            ),
        ] {
            let call = Call::new("delay", input.clone());
            let due = testing::now() + TimeDelta::milliseconds(millis);
            let first = run(&call.call()).unwrap();
            assert_eq!(
                first,
                NodeOutput {
                    due: Some(due),
                    ..NodeOutput::default()
                },
                "{input}"
            );
            let second = run(&call.with_due(due).call()).unwrap();
            assert_eq!(second, NodeOutput::result(json!({"status": "completed"})));
        }
        let none = testing::run(run, "delay", &json!({"delayMs": 0})).unwrap();
        assert_eq!(none, NodeOutput::result(json!({"status": "completed"})));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        let huge: Value = serde_json::from_str("1e999999999999999999999999999").unwrap();
        for input in [
            json!({}),
            json!({"delayMs": -1}),
            json!({"delayMs": 1.5}),
            json!({"delayMs": "1000"}),
            json!({"delayMs": huge}),
            json!({"delayMs": MAX_MS + 1}),
            json!({"duration": "soon"}),
            json!({"duration": 5}),
            json!({"delayMs": 1, "duration": "1s"}),
        ] {
            let error = testing::run(run, "delay", &input).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
        }
    }
}
