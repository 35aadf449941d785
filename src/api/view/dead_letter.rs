//! What a dead letter looks like in JSON.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{
    domain::{JsonText, format_timestamp},
    store::DeadLetter,
};

/// A message that could not be used, with what is kept of its bytes.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct DeadLetterView<'a> {
    id: &'a str,
    reason: &'a str,
    message: &'a str,
    queue: Option<&'a str>,
    received_at: String,
    body_bytes: i64,
    body_truncated: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    body: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    body_base64: Option<String>,
    headers: &'a JsonText,
}

impl<'a> DeadLetterView<'a> {
    /// Shows a dead letter.
    pub(in crate::api) fn of(letter: &'a DeadLetter) -> Self {
        let kept = i64::try_from(letter.body.len()).unwrap_or(i64::MAX);
        let body_truncated = letter.body_bytes > kept;
        let body = text(&letter.body, body_truncated);
        Self {
            id: letter.id.as_str(),
            reason: &letter.reason,
            message: &letter.message,
            queue: letter.queue.as_deref(),
            received_at: format_timestamp(letter.received_at),
            body_bytes: letter.body_bytes,
            body_truncated,
            body,
            body_base64: body.is_none().then(|| STANDARD.encode(&letter.body)),
            headers: &letter.headers,
        }
    }
}

/// Bytes that are UTF-8, as text. Where they were cut, the beginning of a character may be left:
/// the rest of it is lost anyway.
fn text(bytes: &[u8], truncated: bool) -> Option<&str> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Some(text),
        Err(error) if truncated && error.error_len().is_none() => {
            std::str::from_utf8(&bytes[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn shown(body: &[u8], body_bytes: i64) -> Value {
        let letter = DeadLetter {
            id: "dlt_1".parse().unwrap(),
            reason: "rejected".into(),
            message: "no".into(),
            queue: None,
            body: body.to_vec(),
            body_bytes,
            headers: JsonText::trusted(r#"{"n":1.50}"#),
            received_at: chrono::DateTime::UNIX_EPOCH,
        };
        serde_json::to_value(DeadLetterView::of(&letter)).unwrap()
    }

    #[test]
    fn a_body_is_text_or_base64_and_never_changed() {
        let text = shown("{\u{0}é\n".as_bytes(), 5);
        assert_eq!(text["body"], "{\u{0}é\n");
        assert_eq!(text["bodyTruncated"], false);
        assert_eq!(text.get("bodyBase64"), None);
        let binary = shown(&[0xff, 0, 0x80], 3);
        assert_eq!(binary["bodyBase64"], "/wCA");
        assert_eq!(binary.get("body"), None);
        assert_eq!(shown(b"", 0)["body"], "");
        // Half a character at the end: the evidence is the bytes.
        assert_eq!(shown(&[b'a', 0xc3], 2)["bodyBase64"], "YcM=");
    }

    #[test]
    fn a_cut_character_does_not_hide_the_text_before_it() {
        let cut = shown(&[b'a', 0xc3], 9);
        assert_eq!(cut["body"], "a");
        assert_eq!(cut["bodyTruncated"], true);
        assert_eq!(shown(&[0xff, b'a', 0xc3], 9)["bodyBase64"], "/2HD");
    }

    #[test]
    fn members_stand_in_their_order_and_headers_as_they_were() {
        let letter = shown(b"x", 1);
        let names: Vec<_> = letter.as_object().unwrap().keys().collect();
        let expected = [
            "id",
            "reason",
            "message",
            "queue",
            "receivedAt",
            "bodyBytes",
            "bodyTruncated",
            "body",
            "headers",
        ];
        assert_eq!(names, expected);
        assert_eq!(letter["headers"].to_string(), r#"{"n":1.50}"#);
        assert_eq!(letter["queue"], json!(null));
    }
}
