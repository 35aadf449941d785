//! The HTTP client of `http-request` and of the connector gateway.
//!
//! It never follows a proxy from the environment, and follows redirects by hand, because each hop
//! is checked like the first: scheme, literal addresses here, names in the
//! [`GuardedResolver`]. A failure says whether the target may have
//! acted: before a connection stands nothing was sent; after that, no answer means `in_doubt`. A
//! call whose own time ends before [`CONNECT_TIMEOUT`] is in doubt too, as nobody knows how far it
//! came.

use std::{error::Error as _, io, time::Duration};

use bytes::Bytes;
use reqwest::{
    Client, ClientBuilder, Method, Response, StatusCode, Url,
    header::{self, HeaderMap, HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::time::{Instant, timeout_at};
use tracing::Span;

use super::{
    guard::{Guard, GuardedResolver, ResolveError},
    leased::{self, LeaseOver},
};
use crate::{
    domain::{ErrorClass, NodeError, traceparent_of},
    engine::signals::LeaseClock,
};

/// How long a connection may take to stand, name resolution and TLS included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Shorter than what servers usually keep: a request on a connection that the server is just
/// closing is in doubt for nothing.
const IDLE_TIMEOUT: Duration = Duration::from_secs(4);
/// Redirects that are followed.
const MAX_REDIRECTS: u32 = 5;
/// Bytes of a body that are read when the status is a failure.
const FAILURE_BYTES: usize = 64 * 1024;
/// Headers that are for the origin they were given for.
const PRIVATE_HEADERS: [HeaderName; 5] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
];

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Sends requests.
#[derive(Debug, Clone)]
pub(super) struct HttpClient {
    client: Client,
    /// None for targets from the configuration.
    guard: Option<Guard>,
}

/// What to send, and how much to take back.
#[derive(Debug)]
pub(super) struct Request {
    /// Who is asked, for messages.
    pub(super) target: String,
    pub(super) method: Method,
    pub(super) url: Url,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
    /// Until when it may be sent.
    pub(super) lease: LeaseClock,
    /// Whether redirects are followed.
    pub(super) follow: bool,
    /// How long all of it may take.
    pub(super) timeout: Duration,
    /// Bytes of the body of a success.
    pub(super) max_bytes: usize,
}

/// What came back.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// All of it for a success, the beginning for a failure.
    pub(super) body: Vec<u8>,
    /// Whether a request with effects was answered by a redirect on the way: the status says
    /// nothing about that one.
    pub(super) acted_before: bool,
}

impl HttpClient {
    /// A client that reaches what `guard` allows.
    pub(super) fn guarded(guard: Guard) -> Result<Self, reqwest::Error> {
        let client = build(|| {
            let resolver = GuardedResolver(guard.clone());
            builder().dns_resolver(resolver)
        })?;
        Ok(Self {
            client,
            guard: Some(guard),
        })
    }

    /// A client that reaches everything, for targets from the configuration.
    pub(super) fn trusted() -> Result<Self, reqwest::Error> {
        Ok(Self {
            client: build(builder)?,
            guard: None,
        })
    }

    /// Sends a request and reads the answer; `is_success` says which status is one.
    pub(super) async fn call(
        &self,
        mut request: Request,
        is_success: impl Fn(StatusCode) -> bool + Send + Sync,
    ) -> Result<Answer, NodeError> {
        let deadline = Instant::now() + request.timeout;
        join_trace(&mut request.headers);
        let mut acted_before = false;
        for hop in 0..=MAX_REDIRECTS {
            let response = self.send(&request, deadline).await;
            let response = response.map_err(|error| on_the_way(error, hop, acted_before))?;
            let status = response.status();
            let next = if request.follow {
                redirect(&request, &response)?
            } else {
                None
            };
            let Some(next) = next else {
                let limit = is_success(status).then_some(request.max_bytes);
                let headers = response.headers().clone();
                let body = read_body(response, limit, deadline, &request.target).await?;
                return Ok(Answer {
                    status,
                    headers,
                    body,
                    acted_before,
                });
            };
            let sent_elsewhere = matches!(status.as_u16(), 307 | 308);
            acted_before |= has_effects(&request.method) && !sent_elsewhere;
            request = go_on(request, status, next);
        }
        let message = format!(
            "{} redirects more than {MAX_REDIRECTS} times",
            request.target
        );
        Err(NodeError::new(
            ErrorClass::Permanent,
            "too_many_redirects",
            message,
        ))
    }

    async fn send(&self, request: &Request, deadline: Instant) -> Result<Response, NodeError> {
        let target = &request.target;
        check_url(&request.url)?;
        let host = request.url.host_str().unwrap_or_default();
        if self
            .guard
            .as_ref()
            .is_some_and(|guard| !guard.allows_host(host))
        {
            return Err(blocked(target));
        }
        let mut outgoing = self
            .client
            .request(request.method.clone(), request.url.clone());
        outgoing = outgoing.headers(request.headers.clone());
        if !request.body.is_empty() {
            let body = leased::body(request.body.clone(), request.lease.clone());
            let length = request.body.len();
            outgoing = outgoing.header(header::CONTENT_LENGTH, length).body(body);
        }
        match timeout_at(deadline, outgoing.send()).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) => Err(send_error(target, &error)),
            Err(_) => Err(timed_out(target)),
        }
    }
}

/// Lets the target go on with the trace that the node is part of, if it is exported and the
/// request's own headers are about no other one.
fn join_trace(headers: &mut HeaderMap) {
    if headers.contains_key(TRACEPARENT) || headers.contains_key(TRACESTATE) {
        return;
    }
    let traceparent = traceparent_of(&Span::current());
    if let Some(value) = traceparent.and_then(|text| HeaderValue::from_str(&text).ok()) {
        headers.insert(TRACEPARENT, value);
    }
}

fn builder() -> ClientBuilder {
    Client::builder()
        .no_proxy()
        .redirect(Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_idle_timeout(IDLE_TIMEOUT)
        .user_agent(concat!("redrive/", env!("CARGO_PKG_VERSION")))
}

/// A machine without certificates still runs everything that needs none.
fn build(builder: impl Fn() -> ClientBuilder) -> Result<Client, reqwest::Error> {
    // An error says that a provider is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    builder().build().or_else(|error| {
        tracing::warn!(%error, "no certificates on this machine: HTTPS calls will fail");
        builder().tls_certs_only([]).build()
    })
}

/// Refuses what is no web address.
pub(super) fn check_url(url: &Url) -> Result<(), NodeError> {
    if matches!(url.scheme(), "http" | "https") && url.has_host() {
        return Ok(());
    }
    let message = format!(
        "an http or https URL is needed, got a {:?} one",
        url.scheme()
    );
    Err(NodeError::new(ErrorClass::Permanent, "invalid_url", message).with_nothing_sent())
}

/// Whether the method asks for more than an answer.
fn has_effects(method: &Method) -> bool {
    !method.is_safe()
}

/// Where a redirect leads; none when the answer is none.
fn redirect(request: &Request, response: &Response) -> Result<Option<Url>, NodeError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let Some(location) = response.headers().get(header::LOCATION) else {
        return Ok(None);
    };
    let next = location.to_str().ok();
    let next = next.and_then(|next| request.url.join(next).ok());
    next.map(Some).ok_or_else(|| {
        let message = format!("{} redirects to what is no URL", request.target);
        NodeError::new(ErrorClass::Permanent, "invalid_redirect", message)
    })
}

/// The request of the next hop, as browsers make it.
fn go_on(mut request: Request, status: StatusCode, next: Url) -> Request {
    let becomes_get = match status.as_u16() {
        303 => request.method != Method::HEAD,
        301 | 302 => request.method == Method::POST,
        _ => false,
    };
    if becomes_get {
        request.method = Method::GET;
        request.body = Bytes::new();
        request.headers.remove(header::CONTENT_TYPE);
    }
    if request.url.origin() != next.origin() {
        for name in PRIVATE_HEADERS {
            request.headers.remove(name);
        }
    }
    request.url = next;
    request
}

/// Reads up to `limit` bytes, over which the answer is refused; without one, the beginning of a
/// failure, as far as it comes.
async fn read_body(
    mut response: Response,
    limit: Option<usize>,
    deadline: Instant,
    target: &str,
) -> Result<Vec<u8>, NodeError> {
    let most = limit.unwrap_or(FAILURE_BYTES);
    let mut body = Vec::new();
    loop {
        let error = match timeout_at(deadline, response.chunk()).await {
            Ok(Ok(None)) => return Ok(body),
            Ok(Ok(Some(chunk))) if body.len() + chunk.len() <= most => {
                body.extend_from_slice(&chunk);
                continue;
            }
            Ok(Ok(Some(chunk))) => {
                body.extend_from_slice(&chunk[..most - body.len()]);
                let message = format!("the answer of {target} is larger than {most} bytes");
                NodeError::new(ErrorClass::Permanent, "response_too_large", message)
            }
            Ok(Err(error)) => lost(target, &error),
            Err(_) => timed_out(target),
        };
        return if limit.is_some() {
            Err(error)
        } else {
            Ok(body)
        };
    }
}

fn send_error(target: &str, error: &reqwest::Error) -> NodeError {
    if error.is_builder() {
        let message = "the request can't be made of this URL and these headers";
        let error = NodeError::new(ErrorClass::Permanent, "invalid_request", message);
        return error.with_nothing_sent();
    }
    if causes(error).any(<dyn std::error::Error + 'static>::is::<LeaseOver>) {
        return leased::not_sent(target);
    }
    if !error.is_connect() {
        return lost(target, error);
    }
    let (class, code, message) = match ResolveError::in_causes_of(error) {
        Some(ResolveError::Blocked) => return blocked(target),
        Some(ResolveError::Unknown(_)) => (
            ErrorClass::Transient,
            "dns_failed",
            format!("the name of {target} can't be resolved"),
        ),
        None if error.is_timeout() => (
            ErrorClass::Timeout,
            "connect_timeout",
            format!("no connection to {target} within {CONNECT_TIMEOUT:?}; nothing was sent"),
        ),
        None => (
            ErrorClass::Transient,
            "connect_failed",
            format!("no connection to {target}: {}", root_cause(error)),
        ),
    };
    NodeError::new(class, code, message).with_nothing_sent()
}

/// The connection broke after the request may have gone out.
fn lost(target: &str, error: &reqwest::Error) -> NodeError {
    let cause = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>());
    let broken = [io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe];
    let code = match cause {
        Some(cause) if broken.contains(&cause.kind()) => "reset",
        _ => "no_answer",
    };
    let cause = root_cause(error);
    let message = format!("{target} may have acted and did not answer in full: {cause}");
    NodeError::new(ErrorClass::InDoubt, code, message)
}

fn timed_out(target: &str) -> NodeError {
    let message = format!("{target} may have acted and did not answer in time");
    NodeError::new(ErrorClass::InDoubt, "timed_out", message)
}

/// Nothing was sent, so the effect key is still good; the error is not a rejection by the target.
fn blocked(target: &str) -> NodeError {
    let message = format!(
        "{target} is at an address that may not be reached: it is not global and not in \
         http.allow_networks"
    );
    NodeError::new(ErrorClass::Permanent, "blocked_address", message).with_nothing_sent()
}

/// A failure to reach the next hop says nothing about the request that was redirected there.
fn on_the_way(mut error: NodeError, hop: u32, acted_before: bool) -> NodeError {
    error.unsent &= hop == 0;
    if acted_before && matches!(error.class, ErrorClass::Transient | ErrorClass::Timeout) {
        error.class = ErrorClass::InDoubt;
    }
    error
}

fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
    std::iter::successors(error.source(), |error| (*error).source())
}

/// The last cause: the ones before it repeat the URL, which may hold secrets.
fn root_cause(error: &reqwest::Error) -> String {
    let last = causes(error).last();
    last.map_or_else(|| "the request failed".to_owned(), ToString::to_string)
}
