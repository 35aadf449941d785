//! A request on its way through a handler: who asks, about what, with which body.

use std::{collections::HashMap, time::Duration};

use axum::{
    body::Body,
    extract::{FromRequest, FromRequestParts, Path, Request},
    http::{HeaderMap, header, request::Parts},
};
use bytes::{Bytes, BytesMut};
use futures_util::{StreamExt, TryStreamExt};
use serde_json::Value;
use tracing::Span;

use super::{
    Api,
    auth::{self, Scope},
    error::{ApiError, Reason},
    idempotency::RequestKey,
    prefer::Prefer,
    query::Query,
};
use crate::{
    config::LimitsConfig,
    domain::{
        DeadLetterId, MAX_NESTING, RetryId, RunId, is_traceparent, parse_json, traceparent_of,
    },
    intake::Caller,
};

/// How long a request's body may take to arrive.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// How many bytes beyond its limit a body may go on before the connection is cut.
const MOST_THROWN_AWAY: usize = 64 * 1024 * 1024;

/// How deep a body may nest: user values stand a few levels down, and have their own limit.
const BODY_NESTING: usize = MAX_NESTING + 16;

/// A request, taken apart.
#[derive(Debug)]
pub(super) struct Call {
    parts: Parts,
    /// The parameters of the route, decoded; none when it has none or they are no UTF-8.
    parameters: HashMap<String, String>,
    body: Body,
}

impl<S: Send + Sync> FromRequest<S> for Call {
    type Rejection = std::convert::Infallible;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        let (mut parts, body) = request.into_parts();
        let parameters = Path::from_request_parts(&mut parts, state).await;
        let parameters = parameters.map(|Path(named)| named).unwrap_or_default();
        Ok(Self {
            parts,
            parameters,
            body,
        })
    }
}

impl Call {
    /// Who asks, if their token may do what `scope` says.
    pub(super) fn caller<'a>(
        &'a self,
        api: &'a Api,
        scope: Scope,
    ) -> impl Future<Output = Result<Caller, ApiError>> + Send + 'a {
        // A body can't be shared between threads: the future must not hold the whole call.
        let headers = &self.parts.headers;
        async move {
            let token = auth::authenticate(&api.store, headers, scope).await?;
            let span = Span::current();
            span.record("organization_id", token.organization_id.as_str());
            // What follows from the request is part of its span, if that is exported.
            let given = || traceparent(headers).map(str::to_owned);
            Ok(Caller {
                organization_id: token.organization_id,
                actor: Some(token.name.unwrap_or_else(|| token.id.to_string())),
                traceparent: traceparent_of(&span).or_else(given),
                key: None,
            })
        }
    }

    /// What the request prefers.
    pub(super) fn prefer(&self) -> Prefer {
        Prefer::read(&self.parts.headers)
    }

    /// The request's idempotency key, if it has one.
    pub(super) fn key(&self) -> Result<Option<RequestKey>, ApiError> {
        RequestKey::read(&self.parts.method, &self.parts.uri, &self.parts.headers)
    }

    /// A parameter of the route.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.get(name).map(String::as_str)
    }

    /// The run that the path names. What can't be an id names no run.
    pub(super) fn run_id(&self) -> Result<RunId, ApiError> {
        let id = self.parameter("id").and_then(|id| id.parse().ok());
        let id: RunId = id.ok_or_else(ApiError::run_not_found)?;
        Span::current().record("run_id", id.as_str());
        Ok(id)
    }

    /// The retry that the path names.
    pub(super) fn retry_id(&self) -> Result<RetryId, ApiError> {
        let id = self.parameter("id").and_then(|id| id.parse().ok());
        let id: RetryId = id.ok_or_else(ApiError::retry_not_found)?;
        Span::current().record("retry_id", id.as_str());
        Ok(id)
    }

    /// The dead letter that the path names.
    pub(super) fn dead_letter_id(&self) -> Result<DeadLetterId, ApiError> {
        let id = self.parameter("id").and_then(|id| id.parse().ok());
        id.ok_or_else(ApiError::dead_letter_not_found)
    }

    /// The parameters behind the path.
    pub(super) fn query(&self) -> Query {
        Query::parse(self.parts.uri.query().unwrap_or_default())
    }

    /// Whether a parameter stands behind the path, with or without a value.
    pub(super) fn has_parameter(&self, name: &str) -> bool {
        let query = self.parts.uri.query().unwrap_or_default();
        form_urlencoded::parse(query.as_bytes()).any(|(given, _)| given == name)
    }

    /// The body, an object; none if it is empty.
    pub(super) async fn optional_object(self, limit: BodyLimit) -> Result<Option<Value>, ApiError> {
        // A caller that asks first sends nothing when it is refused.
        let asks_first = self.parts.headers.contains_key(header::EXPECT);
        if asks_first
            && declared_length(&self.parts.headers).is_some_and(|length| length > limit.bytes)
        {
            return Err(too_large(limit));
        }
        let bytes = tokio::time::timeout(BODY_TIMEOUT, read(self.body, limit))
            .await
            .map_err(|_| ApiError::new(Reason::RequestTimeout, "the body took over 30 s"))??;
        if bytes.is_empty() {
            return Ok(None);
        }
        if !is_json(&self.parts.headers) {
            let message = "the body must be JSON: Content-Type: application/json";
            return Err(ApiError::new(Reason::UnsupportedMediaType, message));
        }
        let value = parse_json(&bytes, BODY_NESTING).map_err(|error| {
            ApiError::new(Reason::InvalidRequest, format!("the body is {error}"))
        })?;
        if value.is_object() {
            return Ok(Some(value));
        }
        let message = "the body must be a JSON object";
        Err(ApiError::new(Reason::InvalidRequest, message))
    }

    /// The body, an object.
    pub(super) async fn object(self, limit: BodyLimit) -> Result<Value, ApiError> {
        let body = self.optional_object(limit).await?;
        body.ok_or_else(|| ApiError::new(Reason::InvalidRequest, "the request needs a body"))
    }
}

/// How long a body may be, and the key that says so.
#[derive(Debug, Clone, Copy)]
pub(super) struct BodyLimit {
    bytes: usize,
    key: &'static str,
}

impl BodyLimit {
    /// Of a body that carries a run or a definition.
    pub(super) const fn import(limits: &LimitsConfig) -> Self {
        let (bytes, key) = (limits.import_bytes, "limits.import_bytes");
        Self { bytes, key }
    }

    /// Of any other.
    pub(super) const fn plain(limits: &LimitsConfig) -> Self {
        let (bytes, key) = (limits.body_bytes, "limits.body_bytes");
        Self { bytes, key }
    }
}

/// What `Content-Length` says.
fn declared_length(headers: &HeaderMap) -> Option<usize> {
    let length = headers.get(header::CONTENT_LENGTH)?;
    length.to_str().ok()?.parse().ok()
}

/// Reads a body of at most `limit` bytes. A longer one is read on for a while and thrown away:
/// most callers look at the answer once they have sent everything, and would see no answer but a
/// broken connection.
async fn read(body: Body, limit: BodyLimit) -> Result<Bytes, ApiError> {
    let mut stream = body.into_data_stream().map_err(|_| {
        let message = "the body broke off before its end";
        ApiError::new(Reason::InvalidRequest, message)
    });
    let (mut all, mut length) = (BytesMut::new(), 0_usize);
    while let Some(chunk) = stream.next().await {
        let chunk = chunk?;
        length = length.saturating_add(chunk.len());
        if length <= limit.bytes {
            all.extend_from_slice(&chunk);
            continue;
        }
        all = BytesMut::new();
        if length - limit.bytes > MOST_THROWN_AWAY {
            break;
        }
    }
    if length > limit.bytes {
        return Err(too_large(limit));
    }
    Ok(all.freeze())
}

fn too_large(BodyLimit { bytes, key }: BodyLimit) -> ApiError {
    let message = format!("the body is longer than {bytes} bytes ({key})");
    ApiError::new(Reason::PayloadTooLarge, message)
}

/// Whether the content type is `application/json`, with or without parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE);
    value
        .and_then(|value| value.to_str().ok()?.split(';').next())
        .is_some_and(|media_type| media_type.trim().eq_ignore_ascii_case("application/json"))
}

/// The W3C trace context that the request came with, if it has its form.
pub(super) fn traceparent(headers: &HeaderMap) -> Option<&str> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_traceparent(text).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use futures_util::stream;

    fn most(bytes: usize) -> BodyLimit {
        BodyLimit { bytes, key: "k" }
    }

    async fn call(content_type: Option<&str>, body: Body) -> Call {
        let mut request = Request::new(body);
        if let Some(content_type) = content_type {
            let value = HeaderValue::from_str(content_type).unwrap();
            request.headers_mut().insert(header::CONTENT_TYPE, value);
        }
        Call::from_request(request, &()).await.unwrap()
    }

    async fn refusal(content_type: &str, body: impl Into<Body>) -> Reason {
        let call = call(Some(content_type), body.into()).await;
        call.optional_object(most(16)).await.unwrap_err().reason()
    }

    #[tokio::test]
    async fn bodies_are_json_objects_of_a_limited_length() {
        let json = "application/json";
        let longest = r#"{"a":"12345678"}"#;
        assert_eq!(longest.len(), 16);
        for media_type in [json, "Application/JSON; charset=utf-8"] {
            let call = call(Some(media_type), longest.into()).await;
            let value = call.object(most(16)).await.unwrap();
            assert_eq!(value.to_string(), longest);
        }
        assert_eq!(
            refusal(json, format!("{longest} ")).await,
            Reason::PayloadTooLarge
        );
        assert_eq!(
            refusal("text/plain", longest).await,
            Reason::UnsupportedMediaType
        );
        for bad in ["[]", "null", "1", "{", r#"{"a":1,"a":2}"#, "\u{feff}{}"] {
            assert_eq!(refusal(json, bad).await, Reason::InvalidRequest, "{bad}");
        }
        let deep = format!(r#"{{"a":{}{}}}"#, "[".repeat(80), "]".repeat(80));
        let call = call(Some(json), deep.into()).await;
        assert_eq!(
            call.object(most(1_000)).await.unwrap_err().reason(),
            Reason::InvalidRequest
        );
    }

    #[tokio::test]
    async fn an_empty_body_has_any_content_type() {
        for content_type in [None, Some("text/plain"), Some("application/json")] {
            let empty = call(content_type, Body::empty()).await;
            assert!(empty.optional_object(most(16)).await.unwrap().is_none());
            let needed = call(content_type, Body::empty())
                .await
                .object(most(16))
                .await;
            assert_eq!(needed.unwrap_err().reason(), Reason::InvalidRequest);
        }
    }

    #[tokio::test]
    async fn a_long_body_is_read_on_so_that_its_caller_sees_the_answer() {
        let sent = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let chunks = |count: usize, size: usize| {
            let sent = sent.clone();
            let chunk = move |_| {
                sent.fetch_add(size, std::sync::atomic::Ordering::Relaxed);
                Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; size]))
            };
            Body::from_stream(stream::iter(0..count).map(chunk))
        };
        let sent = || sent.swap(0, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(refusal("", chunks(4, 16)).await, Reason::PayloadTooLarge);
        assert_eq!(sent(), 64);
        // Nobody is listened to for ever.
        let endless = chunks(usize::MAX, 1024 * 1024);
        assert_eq!(refusal("", endless).await, Reason::PayloadTooLarge);
        assert_eq!(sent(), MOST_THROWN_AWAY + 1024 * 1024);
        // Who asks first is told at once.
        let mut asking = call(None, chunks(4, 16)).await;
        let headers = &mut asking.parts.headers;
        headers.insert(header::EXPECT, HeaderValue::from_static("100-continue"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from_static("64"));
        let refused = asking.optional_object(most(16)).await.unwrap_err();
        assert_eq!((refused.reason(), sent()), (Reason::PayloadTooLarge, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let never = Body::from_stream(stream::pending::<Result<Bytes, std::io::Error>>());
        let refused = call(None, never).await.optional_object(most(16)).await;
        assert_eq!(refused.unwrap_err().reason(), Reason::RequestTimeout);
    }

    #[test]
    fn only_a_well_formed_trace_context_is_taken() {
        let read = |text: &'static str| {
            let headers = HeaderMap::from_iter([(
                "traceparent".parse().unwrap(),
                HeaderValue::from_static(text),
            )]);
            traceparent(&headers).map(str::to_owned)
        };
        let good = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(read(good).as_deref(), Some(good));
        assert_eq!(read("00-4bf92f3577b34da6a3ce929d0e0e4736-01"), None);
    }
}
