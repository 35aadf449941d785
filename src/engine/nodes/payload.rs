//! Reads the members of a resolved payload and says what is wrong with them.
//!
//! Every refusal has class `definition` and code `invalid_payload`, and names the node kind, the
//! member, what it takes and what it got. Values never enter a message: they may be secret.

use serde_json::{Map, Value};

use crate::domain::{ErrorClass, NodeError, whole_number};

/// The code of a payload that does not fit its kind.
pub(super) const INVALID_PAYLOAD: &str = "invalid_payload";

/// The payload of one node. A member that is `null` counts as missing, except for
/// [`present`](Self::present).
#[derive(Debug, Clone, Copy)]
pub(super) struct Payload<'a> {
    kind: &'a str,
    members: &'a Map<String, Value>,
}

impl<'a> Payload<'a> {
    /// The payload of a node of this kind.
    pub(super) fn of(kind: &'a str, input: &'a Value) -> Result<Self, NodeError> {
        let members = input.as_object().ok_or_else(|| {
            let got = describe(Some(input));
            invalid(format!("{kind}: the payload takes an object, got {got}"))
        })?;
        Ok(Self { kind, members })
    }

    /// The member, which may be `null` but must be there.
    pub(super) fn present(&self, name: &str, takes: &str) -> Result<&'a Value, NodeError> {
        let value = self.members.get(name);
        value.ok_or_else(|| self.wrong(name, takes))
    }

    /// The member, if there is one.
    pub(super) fn optional(&self, name: &str) -> Option<&'a Value> {
        self.members.get(name).filter(|value| !value.is_null())
    }

    /// The first of these members that is there, with its name.
    pub(super) fn either(
        &self,
        names: [&'static str; 2],
        takes: &str,
    ) -> Result<(&'static str, &'a Value), NodeError> {
        let mut found = names.into_iter().map(|name| (name, self.optional(name)));
        found
            .find_map(|(name, value)| Some((name, value?)))
            .ok_or_else(|| self.wrong(&names.join("` or `"), takes))
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<&'a str, NodeError> {
        self.optional_text(name)?
            .ok_or_else(|| self.wrong(name, "a string"))
    }

    /// A text, if there is one.
    pub(super) fn optional_text(&self, name: &str) -> Result<Option<&'a str>, NodeError> {
        self.optional_as(name, "a string", Value::as_str)
    }

    /// An array.
    pub(super) fn array(&self, name: &str) -> Result<&'a Vec<Value>, NodeError> {
        self.optional_as(name, "an array", Value::as_array)?
            .ok_or_else(|| self.wrong(name, "an array"))
    }

    /// A switch that is off or on when nothing is said.
    pub(super) fn switch(&self, name: &str, default: bool) -> Result<bool, NodeError> {
        let value = self.optional_as(name, "true or false", Value::as_bool)?;
        Ok(value.unwrap_or(default))
    }

    /// A whole number from `min` to `max`, however it is spelled (`1000`, `1e3`), if there is one.
    pub(super) fn whole(&self, name: &str, min: u64, max: u64) -> Result<Option<u64>, NodeError> {
        let takes = format!("a whole number from {min} to {max}");
        self.optional_as(name, &takes, |value| {
            let number = whole_number(value.as_number()?)?;
            (min..=max).contains(&number).then_some(number)
        })
    }

    /// Whatever `read` makes of the member, if there is one.
    pub(super) fn optional_as<T>(
        &self,
        name: &str,
        takes: &str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, NodeError> {
        let Some(value) = self.optional(name) else {
            return Ok(None);
        };
        read(value).map(Some).ok_or_else(|| self.wrong(name, takes))
    }

    /// The refusal of a member.
    pub(super) fn wrong(&self, name: &str, takes: &str) -> NodeError {
        let got = describe(self.members.get(name));
        invalid(format!("{}: `{name}` takes {takes}, got {got}", self.kind))
    }

    /// A refusal in own words.
    pub(super) fn refuse(&self, what: impl std::fmt::Display) -> NodeError {
        invalid(format!("{}: {what}", self.kind))
    }
}

/// A refusal of class `definition`: a payload is read before anything is sent.
pub(super) fn invalid(message: impl Into<String>) -> NodeError {
    NodeError::new(ErrorClass::Definition, INVALID_PAYLOAD, message).with_nothing_sent()
}

/// What kind of value it is; numbers are shown, as they are the usual mistake.
fn describe(value: Option<&Value>) -> String {
    match value {
        None => "nothing".to_owned(),
        Some(Value::Null) => "null".to_owned(),
        Some(Value::Bool(flag)) => flag.to_string(),
        Some(Value::Number(number)) if number.as_str().len() <= 40 => number.to_string(),
        Some(Value::Number(_)) => "a long number".to_owned(),
        Some(Value::String(text)) => format!("a string of {} characters", text.chars().count()),
        Some(Value::Array(items)) => format!("an array of {}", items.len()),
        Some(Value::Object(members)) => format!("an object of {}", members.len()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn refusals_name_kind_member_and_both_sides() {
        let input = json!({"a": 5, "b": null, "c": "secret", "n": -1});
        let payload = Payload::of("log", &input).unwrap();
        let message = |error: NodeError| {
            assert_eq!(error.class, ErrorClass::Definition);
            assert_eq!(error.code, INVALID_PAYLOAD);
            error.message
        };
        for (error, expected) in [
            (
                payload.text("a").unwrap_err(),
                "log: `a` takes a string, got 5",
            ),
            (
                payload.text("b").unwrap_err(),
                "log: `b` takes a string, got null",
            ),
            (
                payload.text("x").unwrap_err(),
                "log: `x` takes a string, got nothing",
            ),
            (
                payload.array("c").unwrap_err(),
                "log: `c` takes an array, got a string of 6 characters",
            ),
            (
                payload.whole("n", 0, 9).unwrap_err(),
                "log: `n` takes a whole number from 0 to 9, got -1",
            ),
        ] {
            assert_eq!(message(error), expected);
        }
        assert!(Payload::of("log", &json!([])).is_err());
    }
}
