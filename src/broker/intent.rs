//! A retry that somebody else's API layer publishes instead of requesting it.
//!
//! The form is `docs/redrive.intent.v1.schema.json`; a test holds the two together.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::domain::{JsonText, Lane, MAX_NESTING, OrganizationId, RetryId, RunId, parse_json};

/// The name and version of the message's form.
pub const INTENT_SCHEMA: &str = "redrive.intent.v1";

/// The most bytes of an intent, those of a request's body.
pub const MOST_INTENT_BYTES: usize = 1024 * 1024;

/// One published intent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Intent {
    schema: String,
    /// The retry's id, chosen by the publisher; unique within the organisation.
    pub retry_id: RetryId,
    /// The run to retry.
    pub source_run_id: RunId,
    /// Whose run it is.
    pub organization_id: OrganizationId,
    /// The id for the new run; none to have one chosen.
    #[serde(default, deserialize_with = "present")]
    pub run_id: Option<RunId>,
    /// Who asked.
    #[serde(default, deserialize_with = "present")]
    pub triggered_by: Option<String>,
    /// Why, in the requester's words.
    #[serde(default, deserialize_with = "present")]
    pub reason: Option<String>,
    /// Its lane; none for that of the queue it came through.
    #[serde(default, deserialize_with = "present")]
    pub lane: Option<Lane>,
    /// The body of a retry request.
    #[serde(default, deserialize_with = "present")]
    pub request: Option<Map<String, Value>>,
}

/// A member that may be absent, but not null.
fn present<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Deserialize<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// The longest `triggeredBy`, in characters.
const MOST_TRIGGERED_BY: usize = 200;

impl Intent {
    /// The retry of a run that the run `parent` waits for.
    #[must_use]
    pub fn of_parent(
        retry_id: RetryId,
        source_run_id: RunId,
        organization_id: OrganizationId,
        parent: &RunId,
    ) -> Self {
        Self {
            schema: INTENT_SCHEMA.to_owned(),
            retry_id,
            source_run_id,
            organization_id,
            run_id: None,
            triggered_by: Some(parent.to_string()),
            reason: Some("the run that waits for it is retried".to_owned()),
            lane: None,
            request: None,
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MOST_INTENT_BYTES {
            return Err(format!("more than {MOST_INTENT_BYTES} bytes"));
        }
        let value = parse_json(bytes, MAX_NESTING).map_err(|error| error.to_string())?;
        Self::from_value(value)
    }

    /// Reads a message whose JSON has been read.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn from_value(value: Value) -> Result<Self, String> {
        let intent: Self = serde_json::from_value(value).map_err(|error| error.to_string())?;
        if intent.schema != INTENT_SCHEMA {
            return Err(format!("unknown schema {:?}", intent.schema));
        }
        let by = intent.triggered_by.as_deref().unwrap_or("x");
        if by.is_empty() || by.chars().count() > MOST_TRIGGERED_BY {
            return Err(format!(
                "triggeredBy must be 1 to {MOST_TRIGGERED_BY} characters"
            ));
        }
        Ok(intent)
    }

    /// The message in its own form: two of the same content are the same text, however they were
    /// written; `request` keeps its numbers and the order of its keys.
    #[must_use]
    pub fn to_text(&self) -> JsonText {
        let mut members = Map::new();
        members.insert("schema".into(), json!(self.schema));
        members.insert("retryId".into(), json!(self.retry_id));
        members.insert("sourceRunId".into(), json!(self.source_run_id));
        members.insert("organizationId".into(), json!(self.organization_id));
        let optional = [
            ("runId", self.run_id.as_ref().map(|id| json!(id))),
            (
                "triggeredBy",
                self.triggered_by.as_ref().map(|by| json!(by)),
            ),
            ("reason", self.reason.as_ref().map(|reason| json!(reason))),
            ("lane", self.lane.map(|lane| json!(lane))),
            ("request", self.request.clone().map(Value::Object)),
        ];
        for (name, value) in optional {
            members.extend(value.map(|value| (name.to_owned(), value)));
        }
        JsonText::of(&Value::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Intent, String> {
        Intent::from_bytes(text.as_bytes())
    }

    const LEAST: &str =
        r#"{"schema":"redrive.intent.v1","retryId":"r","sourceRunId":"s","organizationId":"o"}"#;

    #[test]
    fn the_same_content_is_the_same_text() {
        let other = r#" { "organizationId":"o", "sourceRunId":"s", "retryId":"\u0072",
                          "schema":"redrive.intent.v1" } "#;
        assert_eq!(
            read(LEAST).unwrap().to_text(),
            read(other).unwrap().to_text()
        );
        assert_eq!(read(LEAST).unwrap().to_text().as_str(), LEAST);
        let full = r#"{"schema":"redrive.intent.v1","retryId":"r","sourceRunId":"s","organizationId":"o","runId":"n","triggeredBy":"ann","reason":"again","lane":"bulk","request":{"b":1.50,"a":12345678901234567890}}"#;
        assert_eq!(read(full).unwrap().to_text().as_str(), full);
    }

    #[test]
    fn anything_else_is_refused() {
        let with = |more: &str| LEAST.replace('}', &format!(",{more}}}"));
        let refused = [
            String::new(),
            "{}".into(),
            "[]".into(),
            LEAST.replace("v1", "v2"),
            LEAST.replace(r#""r""#, r#""""#),
            LEAST.replace(r#""r""#, r#""a b""#),
            LEAST.replace(r#""r""#, "1"),
            with(r#""runId":null"#),
            with(r#""lane":"fast""#),
            with(r#""request":[]"#),
            with(r#""triggeredBy":"""#),
            with(r#""retryId":"twice""#),
            with(r#""surprise":1"#),
        ];
        for text in refused {
            assert!(read(&text).is_err(), "{text}");
        }
        assert!(Intent::from_bytes(&[0xff]).is_err());
        assert!(Intent::from_bytes(&vec![b' '; MOST_INTENT_BYTES + 1]).is_err());
    }
}
