//! `http-request`: calls an HTTP endpoint.
//!
//! Takes `url`, `method` (GET), `headers`, `body` (a text as it is, anything else as JSON),
//! `timeout` in milliseconds (30000, at most 60000), `followRedirects` (true, at most 5 hops),
//! `maxResponseSize` in bytes (5 MiB, at most 10) and `acceptStatus`, a list of statuses of 400
//! and over that are no failure (`404`, `"4xx"`). Gives `{status, statusText, headers, body,
//! contentType, json}`; `json` is `null` unless the body is JSON that can be kept exactly.
//!
//! The effect key goes out as `Idempotency-Key`, unless the headers have their own, and so does the
//! node's `traceparent` where traces are exported; it is not part of the input. What repeating
//! a call means follows from its method; what a failure means, from
//! [`http_client`](super::http_client) (no answer) and [`http_answer`](super::http_answer) (a
//! status).

use std::{ops::RangeInclusive, time::Duration};

use bytes::Bytes;
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue},
};
use serde_json::{Value, json};

use super::{
    http_answer::{content_type, failure, header_map, json_body, reason, text},
    http_client::{Answer, HttpClient, Request, check_url},
    payload::Payload,
};
use crate::{
    domain::{ErrorClass, MAX_NESTING, NodeError, SideEffects, whole_number},
    engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
};

/// The header that carries the effect key.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const MIB: u64 = 1024 * 1024;
/// Headers of a request.
const MAX_HEADERS: usize = 100;
/// Headers that belong to the connection. They are left out: a wrong one would break it, or smuggle
/// a second request.
const CONNECTION_HEADERS: [&str; 8] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The kind.
#[derive(Debug)]
pub(super) struct HttpRequest(pub(super) HttpClient);

impl NodeHandler for HttpRequest {
    fn side_effects(&self, payload: &Value) -> SideEffects {
        let method = payload.get("method").filter(|method| !method.is_null());
        let method = method
            .map_or(Some("GET"), Value::as_str)
            .map(str::to_ascii_uppercase);
        match method.as_deref() {
            Some("GET" | "HEAD" | "PUT" | "DELETE" | "OPTIONS") => SideEffects::Idempotent,
            _ => SideEffects::Assumed,
        }
    }

    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let payload = Payload::of(call.kind, call.input)?;
            let accepted = Accepted::read(&payload)?;
            let request = request(&payload, &call)?;
            let target = request.target.clone();
            let is_success = |status| accepted.holds(status);
            let answer = self.0.call(request, is_success).await?;
            if is_success(answer.status) {
                Ok(NodeOutput::result(result(&answer)))
            } else {
                Err(failure(&answer, &target, call.now))
            }
        })
    }
}

fn request(payload: &Payload<'_>, call: &NodeCall<'_>) -> Result<Request, NodeError> {
    let url = given_url(payload, call.kind)?;
    let mut headers = given_headers(payload)?;
    let body = content(payload, &mut headers);
    let key = call
        .effect_key
        .and_then(|key| HeaderValue::from_str(key).ok());
    if let (Some(key), false) = (key, headers.contains_key(IDEMPOTENCY_KEY)) {
        headers.insert(IDEMPOTENCY_KEY, key);
    }
    let timeout = payload.whole("timeout", 1, 60_000)?.unwrap_or(30_000);
    let max_bytes = payload.whole("maxResponseSize", 1, 10 * MIB)?;
    Ok(Request {
        target: url.host_str().unwrap_or_default().to_owned(),
        method: method(payload)?,
        url,
        headers,
        body,
        lease: call.lease.clone(),
        follow: payload.switch("followRedirects", true)?,
        timeout: Duration::from_millis(timeout),
        max_bytes: usize::try_from(max_bytes.unwrap_or(5 * MIB)).unwrap_or(usize::MAX),
    })
}

/// The URL of a node that calls one.
pub(super) fn given_url(payload: &Payload<'_>, kind: &str) -> Result<Url, NodeError> {
    let url = Url::parse(payload.text("url")?.trim()).map_err(|error| {
        let message = format!("{kind}: `url` is no URL: {error}");
        NodeError::new(ErrorClass::Permanent, "invalid_url", message).with_nothing_sent()
    })?;
    check_url(&url)?;
    Ok(url)
}

fn method(payload: &Payload<'_>) -> Result<Method, NodeError> {
    const TAKES: &str = "GET, HEAD, POST, PUT, PATCH, DELETE or OPTIONS";
    let method = payload.optional_as("method", TAKES, |value| {
        Some(match value.as_str()?.to_ascii_uppercase().as_str() {
            "GET" => Method::GET,
            "HEAD" => Method::HEAD,
            "POST" => Method::POST,
            "PUT" => Method::PUT,
            "PATCH" => Method::PATCH,
            "DELETE" => Method::DELETE,
            "OPTIONS" => Method::OPTIONS,
            _ => return None,
        })
    })?;
    Ok(method.unwrap_or(Method::GET))
}

/// The headers that a node wants to send, without those of the connection.
pub(super) fn given_headers(payload: &Payload<'_>) -> Result<HeaderMap, NodeError> {
    const TAKES: &str = "an object of at most 100 headers";
    let given = payload.optional_as("headers", TAKES, |value| {
        value
            .as_object()
            .filter(|headers| headers.len() <= MAX_HEADERS)
    })?;
    let mut headers = HeaderMap::new();
    for (name, value) in given.into_iter().flatten() {
        let value = match value {
            Value::Null => continue,
            Value::String(text) => HeaderValue::from_str(text.trim())
                .or_else(|_| HeaderValue::from_bytes(text.trim().as_bytes())),
            Value::Number(number) => HeaderValue::from_str(number.as_str()),
            Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
                return Err(
                    payload.refuse(format!("the header {name:?} takes a string or a number"))
                );
            }
        };
        let header = HeaderName::from_bytes(name.as_bytes());
        let (Ok(header), Ok(value)) = (header, value) else {
            return Err(payload.refuse(format!("the header {name:?} can't be sent: its name or value holds a character that headers can't")));
        };
        if !CONNECTION_HEADERS.contains(&header.as_str()) {
            headers.insert(header, value);
        }
    }
    Ok(headers)
}

/// The body; its type goes into the headers, unless they say one.
pub(super) fn content(payload: &Payload<'_>, headers: &mut HeaderMap) -> Bytes {
    let (body, kind) = body(payload);
    if let (Some(kind), false) = (kind, headers.contains_key(CONTENT_TYPE)) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    body
}

fn body(payload: &Payload<'_>) -> (Bytes, Option<&'static str>) {
    match payload.optional("body") {
        None => (Bytes::new(), None),
        Some(Value::String(text)) => (text.clone().into(), Some("text/plain; charset=utf-8")),
        Some(value) => (value.to_string().into(), Some("application/json")),
    }
}

fn result(answer: &Answer) -> Value {
    json!({
        "status": answer.status.as_u16(),
        "statusText": reason(answer.status),
        "headers": header_map(&answer.headers),
        "body": text(&answer.body),
        "contentType": content_type(&answer.headers),
        // The result nests it one level deeper.
        "json": json_body(answer, MAX_NESTING - 1),
    })
}

/// The statuses that are no failure: all below 400, and those of `acceptStatus`.
struct Accepted(Vec<RangeInclusive<u16>>);

impl Accepted {
    fn read(payload: &Payload<'_>) -> Result<Self, NodeError> {
        const TAKES: &str = "a list of statuses like 404 or \"4xx\"";
        let ranges = payload.optional_as("acceptStatus", TAKES, |value| {
            value.as_array()?.iter().map(statuses).collect()
        })?;
        Ok(Self(ranges.unwrap_or_default()))
    }

    fn holds(&self, status: StatusCode) -> bool {
        let status = status.as_u16();
        status < 400 || self.0.iter().any(|range| range.contains(&status))
    }
}

fn statuses(value: &Value) -> Option<RangeInclusive<u16>> {
    let class = value.as_str().and_then(|text| text.strip_suffix("xx"));
    if let Some(class) = class {
        let first = class
            .parse::<u16>()
            .ok()
            .filter(|class| (1..=9).contains(class))?
            * 100;
        return Some(first..=first + 99);
    }
    let status = if let Some(text) = value.as_str() {
        text.parse().ok()?
    } else {
        u16::try_from(whole_number(value.as_number()?)?).ok()?
    };
    (100..=999).contains(&status).then_some(status..=status)
}

#[cfg(test)]
mod tests;
