//! User JSON: read strictly, kept as text, compared by value.
//!
//! Definitions, payloads, results and variables belong to users. They are stored and moved as
//! text, because every binary form loses something: digits of long numbers, the order of keys.
//! What can't be kept is refused when it arrives: duplicate keys, NUL characters, nesting over
//! [`MAX_NESTING`], and keys that `serde_json` uses for itself.

use std::{collections::HashSet, fmt, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Value, value::RawValue};

/// How deep arrays and objects of one user value may nest.
pub const MAX_NESTING: usize = 64;

/// Keys with this prefix would be taken for numbers or raw text by `serde_json`.
const PRIVATE_PREFIX: &str = "$serde_json::private::";

/// Why a text is refused as user JSON.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON at all; the message has line and column.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// A key stands twice in one object.
    #[error("the key {0:?} stands twice in one object")]
    DuplicateKey(String),
    /// A key that begins with `$serde_json::private::`.
    #[error("the key {0:?} is reserved")]
    ReservedKey(String),
    /// A NUL character in a key or a string, which PostgreSQL can't hold.
    #[error("a string holds a NUL character")]
    Nul,
    /// Arrays and objects nest deeper than allowed.
    #[error("nested deeper than {0} levels")]
    TooDeep(usize),
}

/// JSON as text: what came in, digit for digit. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// The text of `value`, compact.
    #[must_use]
    pub fn of(value: &Value) -> Self {
        Self(value.to_string().into())
    }

    /// Text that is known to be JSON: it comes from the ledger or from a serializer.
    #[must_use]
    pub fn trusted(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    ///
    /// # Errors
    /// The text is no JSON, which for [`JsonText::trusted`] means a damaged ledger.
    pub fn value(&self) -> Result<Value, JsonError> {
        serde_json::from_str(&self.0).map_err(|e| JsonError::Syntax(e.to_string()))
    }
}

impl fmt::Debug for JsonText {
    /// Only the length: payloads stay out of logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JsonText({} bytes)", self.0.len())
    }
}

impl From<&Value> for JsonText {
    fn from(value: &Value) -> Self {
        Self::of(value)
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}

/// Reads user JSON, at most `max_nesting` deep.
///
/// # Errors
/// See [`JsonError`]. Nothing is silently dropped or rounded.
pub fn parse_json(bytes: &[u8], max_nesting: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::Syntax(e.to_string()))?;
    check_nesting(text, max_nesting)?;
    let value = serde_json::from_str(text).map_err(|e| JsonError::Syntax(e.to_string()))?;
    Scan::new(text).run()?;
    Ok(value)
}

/// Depth first, so that the recursive parser never sees a text it could overflow on.
fn check_nesting(text: &str, max_nesting: usize) -> Result<(), JsonError> {
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => depth += 1,
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > max_nesting {
            return Err(JsonError::TooDeep(max_nesting));
        }
    }
    Ok(())
}

/// Walks the strings of a text that is known to be JSON: keys must be unique and not reserved.
struct Scan<'a> {
    text: &'a str,
    /// One entry per open container; the keys seen, for objects.
    open: Vec<Option<HashSet<String>>>,
}

impl<'a> Scan<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            text,
            open: Vec::new(),
        }
    }

    fn run(mut self) -> Result<(), JsonError> {
        let bytes = self.text.as_bytes();
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            match byte {
                b'{' => self.open.push(Some(HashSet::new())),
                b'[' => self.open.push(None),
                b'}' | b']' => drop(self.open.pop()),
                b'"' => {
                    let end = string_end(bytes, at);
                    self.string(&self.text[at..end], follows_colon(&bytes[end..]))?;
                    at = end;
                    continue;
                }
                _ => {}
            }
            at += 1;
        }
        Ok(())
    }

    fn string(&mut self, quoted: &str, is_key: bool) -> Result<(), JsonError> {
        // Most strings hold no escape and are no key: nothing to decode.
        if !is_key && !quoted.contains("\\u0000") {
            return Ok(());
        }
        let text: String =
            serde_json::from_str(quoted).map_err(|e| JsonError::Syntax(e.to_string()))?;
        if text.contains('\0') {
            return Err(JsonError::Nul);
        }
        if !is_key {
            return Ok(());
        }
        if text.starts_with(PRIVATE_PREFIX) {
            return Err(JsonError::ReservedKey(text));
        }
        let keys = self.open.last_mut().and_then(Option::as_mut);
        if keys.is_some_and(|keys| !keys.insert(text.clone())) {
            return Err(JsonError::DuplicateKey(text));
        }
        Ok(())
    }
}

/// The position after the closing quote of the string that opens at `start`.
fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

fn follows_colon(rest: &[u8]) -> bool {
    rest.iter().find(|b| !b.is_ascii_whitespace()) == Some(&b':')
}

/// How deep arrays and objects nest in `value`: 0 for a scalar.
#[must_use]
pub fn nesting(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(nesting).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(nesting).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Whether two values are the same user data: number text up to the spelling of the exponent,
/// key order, strings.
#[must_use]
pub fn same_value(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(a), Value::Number(b)) => plain_exponent(a) == plain_exponent(b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_value(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter()
                    .zip(b)
                    .all(|((ka, a), (kb, b))| ka == kb && same_value(a, b))
        }
        (left, right) => left == right,
    }
}

fn plain_exponent(number: &serde_json::Number) -> String {
    number.to_string().to_ascii_lowercase().replace("e+", "e")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Value, JsonError> {
        parse_json(text.as_bytes(), MAX_NESTING)
    }

    #[test]
    fn promise_7_data_comes_back_as_it_went_in() {
        let two_to_256 =
            "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        for text in [
            two_to_256,
            "-0",
            "0.10000000000000000000000000000000000000001",
            "1.50",
            r#"{"z":1,"a":{"y":null,"b":[null,true]},"m":2}"#,
            "\"\u{10348} e\u{301} \u{2028}\"",
            "[12345678901234567890,-9007199254740993]",
        ] {
            assert_eq!(parse(text).unwrap().to_string(), text);
            assert_eq!(JsonText::trusted(text).value().unwrap().to_string(), text);
        }
        // The exponent may be spelled otherwise, its digits may not change.
        for text in ["1E5", "1e+5", "1e5"] {
            assert!(
                same_value(&parse(text).unwrap(), &parse("1e5").unwrap()),
                "{text}"
            );
        }
        // Escaped surrogate pairs are one character.
        assert_eq!(
            parse(r#""\ud800\udf48""#).unwrap(),
            Value::from("\u{10348}")
        );
    }

    #[test]
    fn what_cannot_be_kept_is_refused() {
        let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(nesting(&parse(&deep(64)).unwrap()), 64);
        assert_eq!(parse(&deep(65)), Err(JsonError::TooDeep(64)));
        assert_eq!(parse(&deep(10_000)), Err(JsonError::TooDeep(64)));
        assert_eq!(parse(&"[".repeat(100_000)), Err(JsonError::TooDeep(64)));
        assert_eq!(
            parse(r#"{"a":1,"\u0061":2}"#),
            Err(JsonError::DuplicateKey("a".into()))
        );
        assert_eq!(parse(r#"{"a":{"b":1},"c":{"b":1}}"#).map(drop), Ok(()));
        assert_eq!(parse(r#"["a\u0000b"]"#), Err(JsonError::Nul));
        assert_eq!(parse(r#"{"\u0000":1}"#), Err(JsonError::Nul));
        assert_eq!(parse(r#"["\\u0000"]"#).map(drop), Ok(()));
        for key in [
            "$serde_json::private::Number",
            "\\u0024serde_json::private::RawValue",
        ] {
            let text = format!(r#"[{{"{key}":"1"}}]"#);
            assert!(
                matches!(parse(&text), Err(JsonError::ReservedKey(_))),
                "{text}"
            );
        }
        for text in [
            "",
            "{",
            "{'a':1}",
            "[1,]",
            "01",
            "nul",
            r#""\ud800""#,
            "1 2",
            "NaN",
        ] {
            assert!(matches!(parse(text), Err(JsonError::Syntax(_))), "{text}");
        }
        assert!(matches!(
            parse_json(b"\"\xff\"", 64),
            Err(JsonError::Syntax(_))
        ));
    }

    #[test]
    fn equality_sees_order_and_digits() {
        let same = |a: &str, b: &str| same_value(&parse(a).unwrap(), &parse(b).unwrap());
        assert!(same(r#"{"a":1E5}"#, r#"{"a": 1e+5}"#));
        assert!(!same(r#"{"a":1,"b":2}"#, r#"{"b":2,"a":1}"#));
        assert!(!same("1.0", "1"));
        assert!(!same("[1]", "[1,2]"));
    }
}
