//! Reading the members of a request body, with errors that say which and why.

use serde_json::{Map, Value};

use super::IntakeError;
use crate::domain::{JsonText, MAX_NESTING, nesting};

pub(super) fn invalid(message: impl Into<String>) -> IntakeError {
    IntakeError::InvalidRequest(message.into())
}

/// The body as an object.
pub(super) fn object(body: Value) -> Result<Map<String, Value>, IntakeError> {
    match body {
        Value::Object(members) => Ok(members),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(invalid("the body must be a JSON object"))
        }
    }
}

/// Refuses members that this call does not take.
pub(super) fn only(members: &Map<String, Value>, known: &[&str]) -> Result<(), IntakeError> {
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(()),
        Some(name) => Err(invalid(format!(
            "unknown member {name:?}: this call takes {}",
            known.join(", ")
        ))),
    }
}

/// A text; missing and null are none.
pub(super) fn text(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<String>, IntakeError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!("{name} must be a string"))),
    }
}

/// True or false; missing and null are false.
pub(super) fn flag(members: &Map<String, Value>, name: &str) -> Result<bool, IntakeError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(false),
        Some(Value::Bool(flag)) => Ok(*flag),
        Some(_) => Err(invalid(format!("{name} must be true or false"))),
    }
}

/// A whole number; missing and null are none.
pub(super) fn integer(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Option<i64>, IntakeError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_i64() {
            Some(number) => Ok(Some(number)),
            None => Err(invalid(format!("{name} must be a whole number"))),
        },
    }
}

/// An object of user data; missing and null are an empty one.
pub(super) fn user_object(
    members: &Map<String, Value>,
    name: &str,
) -> Result<Map<String, Value>, IntakeError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(value @ Value::Object(object)) => {
            shallow(value, name)?;
            Ok(object.clone())
        }
        Some(_) => Err(invalid(format!("{name} must be an object"))),
    }
}

/// User data as text, refused when it nests too deep.
pub(super) fn user_json(value: &Value, name: &str) -> Result<JsonText, IntakeError> {
    shallow(value, name)?;
    Ok(JsonText::of(value))
}

fn shallow(value: &Value, name: &str) -> Result<(), IntakeError> {
    let depth = nesting(value);
    if depth > MAX_NESTING {
        return Err(invalid(format!(
            "{name} nests {depth} levels, more than {MAX_NESTING}"
        )));
    }
    Ok(())
}
