//! What comes through the queues: our own dispatches, and intents of others.

use serde_json::Value;

use super::{
    Dispatch, Intent,
    dispatch::SCHEMA,
    intent::{INTENT_SCHEMA, MOST_INTENT_BYTES},
};
use crate::domain::{MAX_NESTING, parse_json};

/// A message that can be read.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// One of ours: a run needs a worker.
    Dispatch(Dispatch),
    /// Somebody else's: a retry that was published instead of requested.
    Intent(Box<Intent>),
}

impl Message {
    /// Reads a message by its `schema`.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MOST_INTENT_BYTES {
            return Err(format!(
                "{} bytes: at most {MOST_INTENT_BYTES} are read",
                bytes.len()
            ));
        }
        let value = parse_json(bytes, MAX_NESTING).map_err(|error| error.to_string())?;
        match value.get("schema").and_then(Value::as_str) {
            Some(SCHEMA) => Dispatch::from_bytes(bytes)
                .map(Self::Dispatch)
                .map_err(|error| error.to_string()),
            Some(INTENT_SCHEMA) => Intent::from_value(value)
                .map(|intent| Self::Intent(Box::new(intent)))
                .map_err(|error| format!("not an intent: {error}")),
            Some(other) => Err(format!("unknown schema {other:?}")),
            None => Err("it names no schema".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schema_says_what_a_message_is() {
        let dispatch =
            r#"{"schema":"redrive.dispatch.v1","kind":"run","runId":"r","organizationId":"o"}"#;
        let intent = r#"{"schema":"redrive.intent.v1","retryId":"r","sourceRunId":"s","organizationId":"o"}"#;
        let read = |text: &str| Message::from_bytes(text.as_bytes());
        assert!(matches!(read(dispatch), Ok(Message::Dispatch(_))));
        assert!(matches!(read(intent), Ok(Message::Intent(_))));
        for text in [
            "",
            "\u{0}",
            "[]",
            "7",
            "{}",
            r#"{"schema":7}"#,
            r#"{"schema":"x"}"#,
        ] {
            assert!(read(text).is_err(), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(&deep).is_err());
    }
}
