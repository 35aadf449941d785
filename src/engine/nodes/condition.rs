//! Conditions: trees of `$and` and `$or` over comparisons, read from a resolved payload.
//!
//! A comparison is `{"left": value, "op": "$gt", "right": value}`, the form in which conditions
//! are resolved (their left sides are expressions), or `{"field": {"$gt": value, ...}}`, in which
//! all operators of a field must hold. What a left side means is the caller's: `if` takes values,
//! `filter` takes names of fields.
//!
//! An object of several comparisons, or with both `$and` and `$or`, holds when all of them hold.
//! An empty `$and` holds, an empty `$or` does not.

use std::borrow::Cow;

use serde_json::Value;

use super::{
    compare::{Fuel, Op, WORDS},
    payload::Payload,
};
use crate::domain::NodeError;

/// A condition that is known to be well-formed.
#[derive(Debug)]
pub(super) enum Condition<'a> {
    All(Vec<Condition<'a>>),
    Any(Vec<Condition<'a>>),
    Comparison {
        left: Left<'a>,
        op: Op,
        negated: bool,
        right: &'a Value,
    },
}

/// The left side of a comparison.
#[derive(Debug, Clone, Copy)]
pub(super) enum Left<'a> {
    /// `left` of a comparison, which may be missing.
    Value(Option<&'a Value>),
    /// The key of `{"field": {"$op": value}}`.
    Key(&'a str),
}

impl<'a> Condition<'a> {
    /// Reads a condition; `payload` words the refusals.
    pub(super) fn read(payload: &Payload<'a>, value: &'a Value) -> Result<Self, NodeError> {
        let members = value.as_object().ok_or_else(|| {
            payload.refuse("a condition takes an object: `$and`, `$or` or a comparison")
        })?;
        if let Some(Value::String(word)) = members.get("op") {
            let left = Left::Value(members.get("left"));
            let right = members.get("right").unwrap_or(&Value::Null);
            return Self::comparison(payload, left, word, right);
        }
        let mut parts = Vec::with_capacity(members.len());
        for (key, value) in members {
            parts.push(match key.as_str() {
                "$and" => Self::All(Self::list(payload, key, value)?),
                "$or" => Self::Any(Self::list(payload, key, value)?),
                field => Self::field(payload, field, value)?,
            });
        }
        Ok(match parts.len() {
            1 => parts.remove(0),
            _ => Self::All(parts),
        })
    }

    fn list(payload: &Payload<'a>, key: &str, value: &'a Value) -> Result<Vec<Self>, NodeError> {
        let items = value.as_array();
        let items = items.ok_or_else(|| payload.refuse(format!("`{key}` takes a list")))?;
        items.iter().map(|item| Self::read(payload, item)).collect()
    }

    fn field(payload: &Payload<'a>, field: &'a str, value: &'a Value) -> Result<Self, NodeError> {
        let operators = value.as_object().filter(|operators| !operators.is_empty());
        let operators = operators.filter(|_| !field.starts_with('$'));
        let operators = operators.ok_or_else(|| {
            payload.refuse(format!(
                "a comparison takes `{{\"field\": {{\"$op\": value}}}}`; operators are {WORDS}"
            ))
        })?;
        let comparison = |(word, right): (&'a String, _)| {
            Self::comparison(payload, Left::Key(field), word, right)
        };
        let all: Result<Vec<_>, _> = operators.iter().map(comparison).collect();
        Ok(Self::All(all?))
    }

    fn comparison(
        payload: &Payload<'a>,
        left: Left<'a>,
        word: &str,
        right: &'a Value,
    ) -> Result<Self, NodeError> {
        let (op, negated) = Op::parse(word).ok_or_else(|| {
            let word: String = word.chars().take(40).collect();
            payload.refuse(format!("no operator {word:?}; operators are {WORDS}"))
        })?;
        if let Some(takes) = op.refuses(right) {
            return Err(payload.refuse(format!("`{word}` takes {takes}")));
        }
        Ok(Self::Comparison {
            left,
            op,
            negated,
            right,
        })
    }

    /// Whether it holds, with `value` giving the value of a left side. What decides ends it.
    pub(super) fn holds<'v>(
        &self,
        value: &impl Fn(Left<'a>) -> Option<Cow<'v, Value>>,
        fuel: &Fuel,
    ) -> Result<bool, NodeError> {
        match self {
            Self::All(parts) => {
                for part in parts {
                    if !part.holds(value, fuel)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(parts) => {
                for part in parts {
                    if part.holds(value, fuel)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Comparison {
                left,
                op,
                negated,
                right,
            } => {
                let left = value(*left);
                Ok(op.holds(left.as_deref(), right, fuel)? != *negated)
            }
        }
    }
}
