//! What every request passes first: its id, the fence around panics, the measure of its time, and
//! the envelope around what its handler leaves.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Instant};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{HeaderMap, Method},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tracing::{Instrument, Span, field::Empty};
use uuid::{NoContext, Uuid};

use super::{
    call::traceparent,
    envelope::{self, Outcome, REQUEST_ID},
    error::{ApiError, Reason},
    metrics,
};
use crate::domain::{Clock, Timestamp, join_trace};

/// The longest request id that is taken over from the caller.
const MAX_ID_LENGTH: usize = 128;

/// Routes that probes and scrapers call.
const OPERATIONS: [&str; 4] = ["/livez", "/healthz", "/readyz", "/metrics"];

/// Puts the edge around every route, known or not.
pub(super) fn around<S: Clone + Send + Sync + 'static>(
    routes: Router<S>,
    clock: Arc<dyn Clock>,
) -> Router<S> {
    routes
        .fallback(|| async { ApiError::new(Reason::RouteNotFound, "there is no such route") })
        .method_not_allowed_fallback(|| async {
            ApiError::new(Reason::MethodNotAllowed, "the route has no such method")
        })
        .layer(middleware::from_fn_with_state(clock, edge))
}

async fn edge(State(clock): State<Arc<dyn Clock>>, request: Request, next: Next) -> Response {
    let id = request_id(request.headers(), clock.now());
    let method = method_name(request.method());
    let matched = request.extensions().get::<MatchedPath>().cloned();
    let route = matched.as_ref().map(MatchedPath::as_str);
    let span = span(&id, method, route, request.headers());
    let started = Instant::now();
    let response = handle(request, next).instrument(span.clone()).await;
    let elapsed = started.elapsed();
    span.record("http.response.status_code", response.status().as_u16());
    if response.status().is_server_error() {
        span.record("otel.status_code", "error");
    }
    span.in_scope(|| log(&response));
    let route = route.unwrap_or("unmatched");
    metrics::record_request(method, route, response.status(), elapsed);
    envelope::complete(response, &id)
}

/// The request's span, under the trace that it came with. What machines ask all day has none.
fn span(id: &str, method: &str, route: Option<&str>, headers: &HeaderMap) -> Span {
    if route.is_some_and(|route| OPERATIONS.contains(&route)) {
        return Span::none();
    }
    let span = tracing::info_span!(
        "request",
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
        request_id = id,
        http.request.method = method,
        http.route = route,
        http.response.status_code = Empty,
        organization_id = Empty,
        run_id = Empty,
        retry_id = Empty,
    );
    let name = route.map_or_else(|| method.to_owned(), |route| format!("{method} {route}"));
    join_trace(&span, traceparent(headers), &name, "server");
    span
}

/// Runs the handler; its panic is a refusal like any other.
async fn handle(request: Request, next: Next) -> Response {
    let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
    handled.unwrap_or_else(|_| {
        tracing::error!("a handler panicked");
        ApiError::new(Reason::Internal, "an internal error; the log has more").into_response()
    })
}

/// One line for what went wrong inside; refusals of the caller's own making are theirs to read.
fn log(response: &Response) {
    let status = response.status().as_u16();
    if let Some(Outcome::Refusal(error)) = response.extensions().get() {
        let reason = error.reason().word();
        if let Some(cause) = error.cause() {
            tracing::error!(status, reason, error = %chain(cause), "the request failed");
            return;
        }
        tracing::debug!(status, reason, "refused");
        return;
    }
    tracing::debug!(status, "answered");
}

/// An error and what is behind it.
fn chain(error: &(dyn std::error::Error + Send + Sync)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}

/// The caller's id for the request if it is 1 to 128 visible ASCII characters, else a new one.
fn request_id(headers: &HeaderMap, now: Timestamp) -> String {
    let given = headers.get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let is_usable = |id: &&str| {
        (1..=MAX_ID_LENGTH).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic())
    };
    given.filter(is_usable).map_or_else(
        || {
            let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
            let nanos = now.timestamp_subsec_nanos();
            Uuid::new_v7(uuid::Timestamp::from_unix(NoContext, seconds, nanos)).to_string()
        },
        str::to_owned,
    )
}

/// The method as a label: callers can invent methods, and labels must stay few.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{envelope::Reply, tests::body_text};
    use axum::{
        body::Body,
        http::{HeaderValue, StatusCode, header},
        routing::get,
    };
    use serde_json::{Value, json};
    use tower::ServiceExt;

    async fn panics() -> Response {
        panic!("hunter2")
    }

    async fn answer(method: Method, path: &str) -> (StatusCode, HeaderMap, Value) {
        let routes = Router::new()
            .route("/ok/{id}", get(|| async { Reply::new(&json!({"id": 1})) }))
            .route("/panics", get(panics))
            .route("/refuses", get(|| async { ApiError::run_not_found() }));
        let clock: Arc<dyn Clock> = Arc::new(crate::domain::SystemClock);
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        *request.uri_mut() = path.parse().unwrap();
        request
            .headers_mut()
            .insert(REQUEST_ID, HeaderValue::from_static("req-1"));
        let response = around(routes, clock).oneshot(request).await.unwrap();
        let (status, headers) = (response.status(), response.headers().clone());
        assert_eq!(headers[&REQUEST_ID], "req-1", "{path}");
        let body = serde_json::from_str(&body_text(response).await).unwrap();
        (status, headers, body)
    }

    #[tokio::test]
    async fn every_answer_is_the_envelope_with_the_requests_id() {
        let (status, _, body) = answer(Method::GET, "/ok/a%2Fb").await;
        assert_eq!(status, StatusCode::OK);
        let expected =
            json!({"code": 200, "data": {"id": 1}, "message": "success", "requestId": "req-1"});
        assert_eq!(body, expected);

        for (method, path, status, reason) in [
            (Method::GET, "/refuses", 404, "run_not_found"),
            (Method::GET, "/nowhere", 404, "route_not_found"),
            (Method::POST, "/refuses", 405, "method_not_allowed"),
            (Method::GET, "/panics", 500, "internal"),
        ] {
            let (given, headers, body) = answer(method, path).await;
            assert_eq!(given.as_u16(), status, "{path}");
            assert_eq!(body["code"], u32::from(status) * 1_000, "{path}");
            assert_eq!(body["error"]["reason"], reason, "{path}");
            assert_eq!(body["requestId"], "req-1", "{path}");
            assert_eq!(body["details"], json!([]), "{path}");
            assert!(!body.to_string().contains("hunter2"), "{body}");
            assert_eq!(headers.contains_key(header::ALLOW), status == 405, "{path}");
        }
    }

    fn id_for(given: &str) -> String {
        let value = HeaderValue::from_str(given).unwrap();
        let headers = HeaderMap::from_iter([(REQUEST_ID, value)]);
        request_id(&headers, Timestamp::UNIX_EPOCH)
    }

    #[test]
    fn a_usable_request_id_is_kept() {
        for good in ["abc-123", "x".repeat(128).as_str()] {
            assert_eq!(id_for(good), good);
        }
        for bad in ["", "a b", "x".repeat(129).as_str()] {
            assert_eq!(id_for(bad).len(), 36, "{bad:?}");
        }
        let made = request_id(&HeaderMap::new(), Timestamp::UNIX_EPOCH);
        assert_ne!(made, request_id(&HeaderMap::new(), Timestamp::UNIX_EPOCH));
    }
}
