//! What an HTTP answer means: which class of failure a status is, and what of the answer is kept.
//!
//! Texts from outside lose their NUL characters, which the ledger can't hold, and bytes that are
//! no UTF-8; both become U+FFFD.

use chrono::DateTime;
use reqwest::{
    StatusCode,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue, RETRY_AFTER, SET_COOKIE},
};
use serde_json::{Map, Value, json};

use super::http_client::Answer;
use crate::domain::{ErrorClass, NodeError, Timestamp, is_rejection, parse_json};

/// Bytes of a failure's body that go into its details.
const DETAIL_BYTES: usize = 4 * 1024;
/// Values of a JSON answer; each costs many times its text in memory.
const MAX_JSON_VALUES: usize = 1_000_000;
/// The longest wait that a target may ask for: a week.
pub(super) const MAX_RETRY_AFTER_MS: u64 = 7 * 24 * 60 * 60 * 1_000;

/// The failure that a status is, with the beginning of the body in its details.
pub(super) fn failure(answer: &Answer, target: &str, now: Timestamp) -> NodeError {
    let status = answer.status;
    let class = match status.as_u16() {
        408 | 425 | 500..=599 => ErrorClass::Transient,
        429 => ErrorClass::RateLimited,
        _ => ErrorClass::Permanent,
    };
    let reason = reason(status);
    let message = format!("{target} answered {} {reason}", status.as_u16());
    let message = message.trim_end();
    NodeError::new(class, format!("http_{}", status.as_u16()), message)
        .with_retry_after_ms(retry_after(&answer.headers, now))
        .with_rejected(is_rejection(status.as_u16()) && !answer.acted_before)
        .with_details(json!({
            "status": status.as_u16(),
            "statusText": reason,
            "contentType": content_type(&answer.headers),
            "body": text(beginning(&answer.body)),
        }))
}

/// The usual text of a status.
pub(super) fn reason(status: StatusCode) -> &'static str {
    status.canonical_reason().unwrap_or_default()
}

/// At most [`DETAIL_BYTES`], without half a character at the end.
fn beginning(body: &[u8]) -> &[u8] {
    let Some(cut) = body.get(..DETAIL_BYTES) else {
        return body;
    };
    let continues = |at: usize| body.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut end = cut.len();
    while continues(end) && DETAIL_BYTES - end < 4 {
        end -= 1;
    }
    &body[..end]
}

/// The text of a body.
pub(super) fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace('\0', "\u{fffd}")
}

/// `Retry-After`, in seconds or as a date; a date in the past is no wait.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let millis = if value.bytes().all(|byte| byte.is_ascii_digit()) && !value.is_empty() {
        // More digits than fit are a long time.
        value
            .parse::<u64>()
            .unwrap_or(u64::MAX)
            .saturating_mul(1_000)
    } else {
        let until = DateTime::parse_from_rfc2822(value).ok()?;
        u64::try_from((until.to_utc() - now).num_milliseconds()).unwrap_or(0)
    };
    Some(millis.min(MAX_RETRY_AFTER_MS))
}

/// `Content-Type`, as it came.
pub(super) fn content_type(headers: &HeaderMap) -> Option<String> {
    headers.get(CONTENT_TYPE).map(header_text)
}

fn header_text(value: &HeaderValue) -> String {
    text(value.as_bytes())
}

/// The headers by name in lower case. Several of one name are joined with commas, except
/// `set-cookie`, which is always a list.
pub(super) fn header_map(headers: &HeaderMap) -> Map<String, Value> {
    let mut map = Map::new();
    for name in headers.keys() {
        let values = headers.get_all(name).iter().map(header_text);
        let value = if *name == SET_COOKIE {
            Value::Array(values.map(Value::String).collect())
        } else {
            Value::String(values.collect::<Vec<_>>().join(", "))
        };
        map.insert(name.as_str().to_owned(), value);
    }
    map
}

/// The body as JSON, exact, when its type says so or nothing. None when it is no JSON, or more
/// than can be kept: nested deeper than `max_nesting`, duplicate keys, NUL characters, a million
/// values.
pub(super) fn json_body(answer: &Answer, max_nesting: usize) -> Option<Value> {
    let kind = content_type(&answer.headers).unwrap_or_else(|| "application/json".to_owned());
    let kind = kind
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    let is_json =
        matches!(kind.as_str(), "application/json" | "text/json") || kind.ends_with("+json");
    if is_json {
        read_json(&answer.body, max_nesting).ok()
    } else {
        None
    }
}

/// Reads JSON from outside, with the limits of [`json_body`]; says what is wrong with it.
pub(super) fn read_json(body: &[u8], max_nesting: usize) -> Result<Value, String> {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let separators = body
        .iter()
        .filter(|byte| matches!(byte, b',' | b'[' | b'{'));
    if separators.count() > MAX_JSON_VALUES {
        return Err(format!("it holds more than {MAX_JSON_VALUES} values"));
    }
    parse_json(body, max_nesting).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing::now;

    fn answer(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Answer {
        let pairs = headers
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value)));
        Answer {
            status: StatusCode::from_u16(status).unwrap(),
            headers: pairs.collect(),
            body: body.as_bytes().to_vec(),
            acted_before: false,
        }
    }

    #[test]
    fn statuses_have_classes() {
        use ErrorClass as E;
        for (status, class, rejected) in [
            (302, E::Permanent, false),
            (400, E::Permanent, true),
            (401, E::Permanent, true),
            (404, E::Permanent, true),
            (408, E::Transient, false),
            (409, E::Permanent, false),
            (422, E::Permanent, false),
            (425, E::Transient, false),
            (429, E::RateLimited, false),
            (451, E::Permanent, true),
            (500, E::Transient, false),
            (503, E::Transient, false),
            (599, E::Transient, false),
            (600, E::Permanent, false),
        ] {
            let mut answer = answer(status, &[], "");
            let error = failure(&answer, "x", now());
            assert_eq!((error.class, error.rejected), (class, rejected), "{status}");
            assert_eq!(error.code, format!("http_{status}"));
            answer.acted_before = true;
            assert!(!failure(&answer, "x", now()).rejected);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (value, expected) in [
            ("0", Some(0)),
            ("120", Some(120_000)),
            (" 5 ", Some(5_000)),
            ("Fri, 02 Jan 2026 03:05:05 GMT", Some(59_322)),
            ("Fri, 02 Jan 2015 03:05:05 GMT", Some(0)),
            ("Fri, 02 Jan 2099 03:05:05 GMT", Some(MAX_RETRY_AFTER_MS)),
            ("99999999999999999999999999", Some(MAX_RETRY_AFTER_MS)),
            ("-1", None),
            ("1.5", None),
            ("soon", None),
            ("", None),
        ] {
            let error = failure(&answer(503, &[("retry-after", value)], ""), "x", now());
            assert_eq!(error.retry_after_ms, expected, "{value:?}");
        }
    }

    #[test]
    fn details_hold_the_beginning_of_the_body() {
        for (body, length) in [
            ("é".repeat(5_000), 4_096),
            (format!("a{}", "é".repeat(5_000)), 4_095),
        ] {
            let error = failure(&answer(500, &[], &body), "x", now());
            let details = error.details.unwrap();
            let kept = details["body"].as_str().unwrap();
            assert_eq!(kept.len(), length);
            assert!(body.starts_with(kept));
        }
        let binary = [0x80_u8; 5_000];
        assert!(beginning(&binary).len() > 4_090);
        assert_eq!(text(b"a\0b\xff"), "a\u{fffd}b\u{fffd}");
    }

    #[test]
    fn json_is_read_when_it_is_json_and_can_be_kept() {
        let long = "115792089237316195423570985008687907853269984665640564039457584007913129639935";
        let read = |kind: Option<&'static str>, body: &str| {
            let headers: Vec<_> = kind
                .map(|kind| ("content-type", kind))
                .into_iter()
                .collect();
            json_body(&answer(200, &headers, body), 64).map(|value| value.to_string())
        };
        for kind in [
            None,
            Some("application/json"),
            Some("Application/JSON; charset=utf-8"),
            Some("application/problem+json"),
            Some("text/json"),
        ] {
            assert_eq!(read(kind, long), Some(long.to_owned()), "{kind:?}");
        }
        assert_eq!(read(Some("text/plain"), "1"), None);
        assert_eq!(
            read(None, "\u{feff}{\"a\":1.50}"),
            Some(r#"{"a":1.50}"#.to_owned())
        );
        for body in [
            "",
            "<html>",
            r#"{"a":1,"a":2}"#,
            r#"["\u0000"]"#,
            &"[".repeat(65),
            &format!("[{}1]", "1,".repeat(1_000_001)),
        ] {
            assert_eq!(read(None, body), None);
        }
    }

    #[test]
    fn headers_are_joined() {
        let answer = answer(200, &[("a", "1"), ("A", "2"), ("set-cookie", "x=1, y")], "");
        assert_eq!(
            Value::Object(header_map(&answer.headers)),
            json!({"a": "1, 2", "set-cookie": ["x=1, y"]})
        );
    }
}
