//! Sends spans to a collector: OTLP over HTTP, in protobuf.

use std::{
    error::Error,
    fmt,
    future::ready,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::BytesMut;
use opentelemetry::{Key, KeyValue};
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{SpanExporter, WithHttpConfig};
use opentelemetry_sdk::{Resource, trace::SdkTracerProvider};
use reqwest::{Client, ClientBuilder, redirect::Policy};
use tokio::runtime;

/// How long nothing more is said about a collector that does not take spans.
const SILENCE: Duration = Duration::from_mins(1);

/// Bytes of an answer that are read: a refusal of single spans is short.
const MOST_BYTES: usize = 64 * 1024;

/// A provider whose spans go out in batches, from a thread of its own.
pub(super) fn provider(timeout: Duration) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(timeout)?)
        .build()?;
    Ok(SdkTracerProvider::builder()
        .with_resource(resource())
        .with_batch_exporter(exporter)
        .build())
}

/// Who the spans are of: what the environment says, `redrive` where it says nothing.
fn resource() -> Resource {
    let given = Resource::builder().build();
    let name = given.get(&Key::new("service.name"));
    // This is how the specification wants "nobody said" to look.
    let is_named = name.is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let has_version = given.get(&Key::new("service.version")).is_some();
    let mut resource = Resource::builder();
    if !is_named {
        resource = resource.with_service_name("redrive");
    }
    if !has_version {
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        resource = resource.with_attribute(version);
    }
    resource.build()
}

/// The way to the collector.
#[derive(Debug)]
struct Collector {
    client: Client,
    complained: Mutex<Option<Instant>>,
}

impl Collector {
    fn new(timeout: Duration) -> reqwest::Result<Self> {
        // An error says that a provider is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        // A connection must not outlive the runtime that it was made in.
        let builder = || -> ClientBuilder {
            Client::builder()
                .timeout(timeout)
                .redirect(Policy::none())
                .pool_max_idle_per_host(0)
        };
        // Without certificates on the machine a collector without TLS can still be reached.
        let client = builder()
            .build()
            .or_else(|_| builder().tls_certs_only([]).build())?;
        Ok(Self {
            client,
            complained: Mutex::new(None),
        })
    }

    /// Sends on a runtime of its own, which lives as long as the request: the thread of the batches
    /// has none, and neither the work of this process nor its end may have to wait for a collector.
    fn send(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = request.try_into()?;
        let runtime = runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let answer = runtime.block_on(self.exchange(request));
        // A name that is still being resolved is not waited for.
        runtime.shutdown_background();
        Ok(answer.map_err(reqwest::Error::without_url)?)
    }

    async fn exchange(&self, request: reqwest::Request) -> reqwest::Result<Response<Bytes>> {
        let mut answer = self.client.execute(request).await?;
        let mut response = Response::new(Bytes::new());
        *response.status_mut() = answer.status();
        *response.headers_mut() = std::mem::take(answer.headers_mut());
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await? {
            if body.len() + chunk.len() > MOST_BYTES {
                break;
            }
            body.extend_from_slice(&chunk);
        }
        *response.body_mut() = body.freeze();
        Ok(response)
    }

    /// Says that spans are not taken, once a minute at most.
    fn complain(&self, why: &dyn fmt::Display) {
        let mut complained = self
            .complained
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if complained.is_none_or(|at| at.elapsed() >= SILENCE) {
            *complained = Some(Instant::now());
            tracing::warn!(%why, "the collector does not take spans: traces have gaps");
        }
    }
}

impl HttpClient for Collector {
    fn send_bytes<'a, 'b>(
        &'a self,
        request: Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Result<Response<Bytes>, HttpError>> + Send + 'b>>
    where
        'a: 'b,
        Self: 'b,
    {
        let answer = self.send(request);
        match &answer {
            Ok(answer) if answer.status().is_success() => {}
            Ok(answer) => self.complain(&format_args!("it answers {}", answer.status())),
            Err(error) => self.complain(&root_cause(error.as_ref())),
        }
        Box::pin(ready(answer))
    }
}

/// The innermost error: the outer ones say no more than that a request failed.
fn root_cause<'a>(error: &'a (dyn Error + 'static)) -> &'a (dyn Error + 'static) {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_of_redrive_unless_the_environment_says_otherwise() {
        let resource = resource();
        let name = resource.get(&Key::new("service.name")).unwrap();
        assert_eq!(name.as_str(), "redrive");
    }

    #[test]
    fn a_collector_that_is_away_is_an_error_that_keeps_the_url_to_itself() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        drop(listener);
        let collector = Collector::new(Duration::from_secs(5)).unwrap();
        let request = Request::post(format!("http://user:hunter2@{address}/v1/traces"));
        let request = request.body(Bytes::from_static(b"spans")).unwrap();
        let error = collector.send(request).unwrap_err();
        let said = root_cause(error.as_ref()).to_string();
        assert!(
            said.contains("refused") && !said.contains("hunter2"),
            "{said}"
        );
    }
}
