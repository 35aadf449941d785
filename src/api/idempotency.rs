//! `Idempotency-Key`: the same request again has the same answer, and nothing is done twice.
//!
//! The header is that of the IETF draft, a structured string (`"8e03978e"`); a bare text is taken
//! too, and is the same key. Only accepted requests are remembered, for a day, per organisation.

use axum::http::{HeaderMap, HeaderName, Method, Uri};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::error::ApiError;
use crate::{domain::JsonText, intake::Caller, store::IdempotencyKey};

/// The header that carries the key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest key, in characters.
const MOST_CHARACTERS: usize = 255;

/// The key of a request whose body has not been read yet.
#[derive(Debug, Clone)]
pub(super) struct RequestKey {
    key: String,
    place: String,
}

impl RequestKey {
    /// The key in the headers of a request, if it has one.
    pub(super) fn read(
        method: &Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<Option<Self>, ApiError> {
        let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
        let Some(value) = values.next() else {
            return Ok(None);
        };
        let text = value.to_str().ok().filter(|_| values.next().is_none());
        let key = text.and_then(unquoted).ok_or_else(|| {
            let why = format!(
                "must be one text of 1 to {MOST_CHARACTERS} printable ASCII characters, quoted or bare"
            );
            ApiError::invalid_field("Idempotency-Key", &why)
        })?;
        Ok(Some(Self {
            key,
            place: format!("{method} {}", uri.path()),
        }))
    }

    /// The caller with this key of a request with this body. White space in a body says nothing, and
    /// no body is an empty one.
    pub(super) fn with(key: Option<Self>, caller: Caller, body: Option<&Value>) -> Caller {
        let key = key.map(|Self { key, place }| {
            let body = body.map_or_else(|| JsonText::trusted("{}"), JsonText::of);
            let digest = Sha256::digest(format!("{place}\n{}", body.as_str()));
            IdempotencyKey {
                organization_id: caller.organization_id.clone(),
                key,
                fingerprint: format!("{digest:x}"),
            }
        });
        Caller { key, ..caller }
    }
}

/// The key in a header's value: the content of a structured string, or the text itself.
fn unquoted(value: &str) -> Option<String> {
    let value = value.trim_matches([' ', '\t']);
    let key = match value.strip_prefix('"') {
        Some(rest) => string(rest)?,
        None => value.to_owned(),
    };
    let is_key = (1..=MOST_CHARACTERS).contains(&key.len())
        && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    is_key.then_some(key)
}

/// The rest of a structured string (RFC 9651, section 3.3.3) behind its first quote.
fn string(rest: &str) -> Option<String> {
    let mut key = String::new();
    let mut characters = rest.chars();
    while let Some(character) = characters.next() {
        match character {
            '"' => return characters.as_str().is_empty().then_some(key),
            '\\' => key.push(characters.next().filter(|next| "\\\"".contains(*next))?),
            other => key.push(other),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_the_same_quoted_and_bare() {
        for (value, key) in [
            ("8e03978e", Some("8e03978e")),
            ("\"8e03978e\"", Some("8e03978e")),
            (" \"a b\" ", Some("a b")),
            ("\"a\\\"b\\\\\"", Some("a\"b\\")),
            ("", None),
            ("\"\"", None),
            ("\"open", None),
            ("\"a\"b", None),
            ("\"a\\x\"", None),
        ] {
            assert_eq!(unquoted(value).as_deref(), key, "{value}");
        }
        assert!(unquoted(&"k".repeat(255)).is_some());
        assert!(unquoted(&"k".repeat(256)).is_none());
    }

    #[test]
    fn there_is_one_key_or_none() {
        let (method, uri) = (Method::POST, Uri::from_static("/v1/runs?x=1"));
        let read = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(IDEMPOTENCY_KEY, value.parse().unwrap());
            }
            RequestKey::read(&method, &uri, &headers)
        };
        assert!(read(&[]).unwrap().is_none());
        assert_eq!(read(&["k"]).unwrap().unwrap().place, "POST /v1/runs");
        assert!(read(&["a", "b"]).is_err());
        assert!(read(&[""]).is_err());
    }
}
