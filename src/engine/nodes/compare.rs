//! The operators of conditions: shared by `if` and `filter`. A new operator is a variant of
//! [`Op`], its word in [`Op::parse`] and its meaning in [`Op::holds`].
//!
//! - `$eq`, `$ne`: by type and value. Numbers are equal however they are spelled (`1`, `1.0`) and
//!   to the last digit; a number never equals a text. Arrays compare in order, objects without.
//!   A missing field equals `null`.
//! - `$gt $gte $lt $lte`: numbers exactly, texts by code point. Anything else, mixed types too,
//!   is in no order: false, also for `$gte` and `$lte`.
//! - `$in`, and `$nin` or `$notIn`: whether the list on the right has an equal element.
//! - `$contains`, `$notContains`: a text in a text, an equal element in a list, a key in an
//!   object; in anything else nothing is contained.
//! - `$startsWith`, `$endsWith`: texts; false for anything else.
//! - `$exists`, `$notExists`: whether there is a value that isn't `null`; `false` on the right
//!   turns them around.

use std::{cell::Cell, cmp::Ordering};

use serde_json::Value;

use crate::domain::{ErrorClass, NodeError, compare_numbers};

/// Values that one node may compare: a list of many items against a long `$in` must not hold up
/// the process.
const MAX_STEPS: u32 = 1_000_000;

/// Counts compared values.
#[derive(Debug)]
pub(super) struct Fuel(Cell<u32>);

impl Fuel {
    /// Enough for one node.
    pub(super) const fn full() -> Self {
        Self(Cell::new(MAX_STEPS))
    }

    fn burn(&self) -> Result<(), NodeError> {
        let left = self.0.get().checked_sub(1).ok_or_else(|| {
            NodeError::new(
                ErrorClass::Definition,
                "too_many_comparisons",
                format!("the condition compares more than {MAX_STEPS} values"),
            )
        })?;
        self.0.set(left);
        Ok(())
    }
}

/// An operator. The negated ones are their opposite and `negated`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Equal,
    Greater,
    GreaterOrEqual,
    Less,
    LessOrEqual,
    In,
    Contains,
    StartsWith,
    EndsWith,
    Exists,
}

/// All words, for messages.
pub(super) const WORDS: &str = "$eq $ne $gt $gte $lt $lte $in $nin $notIn $contains $notContains \
                                $startsWith $endsWith $exists $notExists";

impl Op {
    /// The operator with this word, and whether the word negates it.
    pub(super) fn parse(word: &str) -> Option<(Self, bool)> {
        Some(match word {
            "$eq" => (Self::Equal, false),
            "$ne" => (Self::Equal, true),
            "$gt" => (Self::Greater, false),
            "$gte" => (Self::GreaterOrEqual, false),
            "$lt" => (Self::Less, false),
            "$lte" => (Self::LessOrEqual, false),
            "$in" => (Self::In, false),
            "$nin" | "$notIn" => (Self::In, true),
            "$contains" => (Self::Contains, false),
            "$notContains" => (Self::Contains, true),
            "$startsWith" => (Self::StartsWith, false),
            "$endsWith" => (Self::EndsWith, false),
            "$exists" => (Self::Exists, false),
            "$notExists" => (Self::Exists, true),
            _ => return None,
        })
    }

    /// What the right side must be, when it isn't.
    pub(super) fn refuses(self, right: &Value) -> Option<&'static str> {
        match self {
            Self::In if !right.is_array() => Some("a list on its right"),
            Self::Exists if !(right.is_boolean() || right.is_null()) => Some("true or false"),
            Self::Equal
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::Less
            | Self::LessOrEqual
            | Self::In
            | Self::Contains
            | Self::StartsWith
            | Self::EndsWith
            | Self::Exists => None,
        }
    }

    /// Whether it holds between a left side, which may be missing, and a right side.
    pub(super) fn holds(
        self,
        left: Option<&Value>,
        right: &Value,
        fuel: &Fuel,
    ) -> Result<bool, NodeError> {
        fuel.burn()?;
        let value = left.unwrap_or(&Value::Null);
        let texts = value.as_str().zip(right.as_str());
        Ok(match self {
            Self::Equal => equal(value, right, fuel)?,
            Self::Greater => order(value, right).is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => order(value, right).is_some_and(Ordering::is_ge),
            Self::Less => order(value, right).is_some_and(Ordering::is_lt),
            Self::LessOrEqual => order(value, right).is_some_and(Ordering::is_le),
            Self::In => has_element(right, value, fuel)?,
            Self::Contains => contains(value, right, fuel)?,
            Self::StartsWith => texts.is_some_and(|(text, start)| text.starts_with(start)),
            Self::EndsWith => texts.is_some_and(|(text, end)| text.ends_with(end)),
            Self::Exists => value.is_null() != right.as_bool().unwrap_or(true),
        })
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Some(compare_numbers(left, right)),
        // UTF-8 sorts like its code points.
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn equal(left: &Value, right: &Value, fuel: &Fuel) -> Result<bool, NodeError> {
    fuel.burn()?;
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => Ok(compare_numbers(left, right).is_eq()),
        (Value::Array(left), Value::Array(right)) if left.len() == right.len() => {
            all(left.iter().zip(right), |(left, right)| {
                equal(left, right, fuel)
            })
        }
        (Value::Object(left), Value::Object(right)) if left.len() == right.len() => {
            all(left, |(key, left)| match right.get(key) {
                Some(right) => equal(left, right, fuel),
                None => Ok(false),
            })
        }
        (Value::Array(_), Value::Array(_)) | (Value::Object(_), Value::Object(_)) => Ok(false),
        (left, right) => Ok(left == right),
    }
}

/// Whether `holds` for all items; stops at the first that it doesn't hold for.
fn all<T>(
    items: impl IntoIterator<Item = T>,
    mut holds: impl FnMut(T) -> Result<bool, NodeError>,
) -> Result<bool, NodeError> {
    for item in items {
        if !holds(item)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn has_element(list: &Value, wanted: &Value, fuel: &Fuel) -> Result<bool, NodeError> {
    let none = all(list.as_array().into_iter().flatten(), |item| {
        Ok(!equal(item, wanted, fuel)?)
    })?;
    Ok(!none)
}

fn contains(value: &Value, wanted: &Value, fuel: &Fuel) -> Result<bool, NodeError> {
    match value {
        Value::String(text) => Ok(wanted.as_str().is_some_and(|part| text.contains(part))),
        Value::Array(_) => has_element(value, wanted, fuel),
        Value::Object(members) => Ok(wanted.as_str().is_some_and(|key| members.contains_key(key))),
        Value::Null | Value::Bool(_) | Value::Number(_) => Ok(false),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(left: Option<&str>, word: &str, right: &str) -> bool {
        let left: Option<Value> = left.map(|text| serde_json::from_str(text).unwrap());
        let right: Value = serde_json::from_str(right).unwrap();
        let (op, negated) = Op::parse(word).unwrap();
        assert_eq!(op.refuses(&right), None);
        op.holds(left.as_ref(), &right, &Fuel::full()).unwrap() != negated
    }

    #[test]
    fn equality_is_strict_by_type_and_exact_in_value() {
        for (left, right, expected) in [
            ("1", "1.0", true),
            ("1e2", "100", true),
            ("0.1", "0.10000000000000000000001", false),
            ("9007199254740993", "9007199254740992", false),
            ("1", "\"1\"", false),
            ("true", "1", false),
            ("null", "0", false),
            ("null", "null", true),
            ("\"a\"", "\"A\"", false),
            // One character, composed and decomposed.
            ("\"\u{e9}\"", "\"e\u{301}\"", false),
            ("[1,[2.0]]", "[1.0,[2]]", true),
            ("[1,2]", "[2,1]", false),
            ("[1]", "[1,1]", false),
            (r#"{"a":1,"b":2}"#, r#"{"b":2.0,"a":1}"#, true),
            (r#"{"a":1}"#, r#"{"b":1}"#, false),
        ] {
            assert_eq!(holds(Some(left), "$eq", right), expected, "{left} {right}");
            assert_eq!(holds(Some(left), "$ne", right), !expected, "{left} {right}");
            let list = format!("[[],{right}]");
            assert_eq!(holds(Some(left), "$in", &list), expected, "{left} {list}");
            for word in ["$nin", "$notIn"] {
                assert_eq!(holds(Some(left), word, &list), !expected, "{left} {list}");
            }
        }
        assert!(holds(None, "$eq", "null"));
        assert!(holds(None, "$ne", "0"));
        assert!(!holds(None, "$in", "[]"));
    }

    #[test]
    fn mixed_types_have_no_order() {
        let words = ["$gt", "$gte", "$lt", "$lte"];
        for (left, right, expected) in [
            ("2", "1.9", [true, true, false, false]),
            ("1", "1.0", [false, true, false, true]),
            ("-1e999999999999", "0", [false, false, true, true]),
            ("\"b\"", "\"a\"", [true, true, false, false]),
            ("\"\"", "\"\"", [false, true, false, true]),
            // By code point, not by UTF-16 unit: U+FF61 is below U+10348.
            ("\"\u{ff61}\"", "\"\u{10348}\"", [false, false, true, true]),
            ("\"10\"", "9", [false; 4]),
            ("null", "null", [false; 4]),
            ("true", "false", [false; 4]),
            ("[2]", "[1]", [false; 4]),
            ("{}", "{}", [false; 4]),
        ] {
            for (word, expected) in words.into_iter().zip(expected) {
                assert_eq!(
                    holds(Some(left), word, right),
                    expected,
                    "{left} {word} {right}"
                );
            }
        }
        assert!(!holds(None, "$lte", "0"));
    }

    #[test]
    fn texts_lists_and_objects_contain() {
        for (left, word, right, expected) in [
            ("\"abc\"", "$contains", "\"bc\"", true),
            ("\"abc\"", "$contains", "\"\"", true),
            ("\"a1\"", "$contains", "1", false),
            ("[1.0,\"x\"]", "$contains", "1", true),
            ("[[1]]", "$contains", "1", false),
            (r#"{"k":null}"#, "$contains", "\"k\"", true),
            ("12", "$contains", "1", false),
            ("null", "$notContains", "1", true),
            ("\"abc\"", "$startsWith", "\"ab\"", true),
            ("\"abc\"", "$startsWith", "\"b\"", false),
            ("\"abc\"", "$endsWith", "\"bc\"", true),
            ("12", "$endsWith", "2", false),
            ("[1]", "$startsWith", "1", false),
        ] {
            assert_eq!(
                holds(Some(left), word, right),
                expected,
                "{left} {word} {right}"
            );
        }
    }

    #[test]
    fn null_and_missing_do_not_exist() {
        for (left, exists) in [
            (None, false),
            (Some("null"), false),
            (Some("0"), true),
            (Some("false"), true),
            (Some("\"\""), true),
        ] {
            for (word, right, expected) in [
                ("$exists", "true", exists),
                ("$exists", "null", exists),
                ("$exists", "false", !exists),
                ("$notExists", "true", !exists),
                ("$notExists", "false", exists),
            ] {
                assert_eq!(
                    holds(left, word, right),
                    expected,
                    "{left:?} {word} {right}"
                );
            }
        }
    }

    #[test]
    fn right_sides_are_checked() {
        let (one, list) = (serde_json::json!(1), serde_json::json!([]));
        assert!(Op::In.refuses(&one).is_some());
        assert!(Op::In.refuses(&list).is_none());
        assert!(Op::Exists.refuses(&one).is_some());
        assert_eq!(Op::parse("eq"), None);
        for word in WORDS.split(' ') {
            assert!(Op::parse(word).is_some(), "{word}");
        }
    }
}
