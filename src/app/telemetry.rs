//! Logs and traces.
//!
//! Logs go to stderr, because stdout is data; without colour, because they are mostly read by
//! programs. Traces are exported where OpenTelemetry's variables name a collector, and cost nothing
//! elsewhere: a collector that is away loses spans, and delays nothing but the stop, by at most
//! [`FLUSH`].

mod export;
mod lines;

use std::time::Duration;

use anyhow::Context;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::{Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, filter::Targets, fmt::layer, layer::SubscriberExt as _,
    registry::LookupSpan, util::SubscriberInitExt as _,
};

use crate::config::{LogConfig, LogFormat, OtlpConfig};

/// The filter when none is configured: the database's and the HTTP client's own chatter is left
/// out.
const DEFAULT_FILTER: &str = "info,sqlx=warn,hyper=warn,reqwest=warn";

/// How long the last spans may take to leave when the process stops.
const FLUSH: Duration = Duration::from_secs(3);

/// What is never part of a trace: the exporter sends with these, and its sending must not make
/// spans to send.
const UNTRACED: [&str; 5] = ["h2", "hyper", "opentelemetry", "reqwest", "rustls"];

/// Keeps traces going out. To be kept until everything has stopped: dropping it sends what is still
/// to be sent, and waits for that for at most three seconds.
#[derive(Debug)]
#[must_use = "dropping it ends the export of traces"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

impl Drop for Telemetry {
    fn drop(&mut self) {
        let flushed = self
            .provider
            .take()
            .map(|provider| provider.shutdown_with_timeout(FLUSH));
        if let Some(Err(error)) = flushed {
            tracing::warn!(%error, "the last spans could not be exported");
        }
    }
}

/// Starts logging to stderr, and the export of traces if the environment names a collector.
///
/// # Errors
/// The filter or one of OpenTelemetry's variables can't be read, or this has been called before.
pub fn init_telemetry(config: &LogConfig) -> anyhow::Result<Telemetry> {
    let filter = config.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).context("log.filter can't be read")?;
    let provider = OtlpConfig::from_environment()
        .map(|otlp| export::provider(otlp.timeout))
        .transpose()
        .context("the export of traces can't be set up: see the OTEL_EXPORTER_OTLP_* variables")?;
    let subscriber = Registry::default().with(provider.as_ref().map(spans));
    let lines = layer().with_writer(std::io::stderr).with_ansi(false);
    let started = match config.format {
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true);
            let lines = lines.map_event_format(lines::WithTrace);
            subscriber.with(lines.with_filter(filter)).try_init()
        }
        LogFormat::Text => {
            let lines = lines.with_target(false);
            subscriber.with(lines.with_filter(filter)).try_init()
        }
    };
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))?;
    Ok(Telemetry { provider })
}

/// Turns spans into OpenTelemetry's. What is logged is a matter of its own: `log.filter` does not
/// hold here.
fn spans<S>(provider: &SdkTracerProvider) -> impl Layer<S> + use<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let targets = UNTRACED.map(|target| (target, LevelFilter::OFF));
    tracing_opentelemetry::layer()
        .with_tracer(provider.tracer("redrive"))
        .with_location(false)
        .with_threads(false)
        .with_target(false)
        .with_tracked_inactivity(false)
        .with_filter(
            Targets::new()
                .with_default(LevelFilter::INFO)
                .with_targets(targets),
        )
}
