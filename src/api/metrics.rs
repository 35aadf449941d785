//! `/metrics`: what Prometheus reads. No label holds an id of a run, a workflow or an
//! organisation.

use std::{sync::OnceLock, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::{counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Api;
use crate::store::Backlog;

/// Upper bounds of the buckets of every `_seconds` histogram.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// A process has one recorder, however many applications run in it.
static RECORDER: OnceLock<Metrics> = OnceLock::new();

/// What `/metrics` shows. Cheap to clone.
#[derive(Clone)]
pub struct Metrics(PrometheusHandle);

impl std::fmt::Debug for Metrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The metrics of this process; the first call begins to record them.
    #[must_use]
    pub fn install() -> Self {
        RECORDER.get_or_init(Self::record).clone()
    }

    fn record() -> Self {
        let seconds = Matcher::Suffix("_seconds".into());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, &SECONDS)
            .unwrap_or_default()
            .build_recorder();
        let handle = recorder.handle();
        if metrics::set_global_recorder(recorder).is_err() {
            tracing::warn!("another metrics recorder is installed: /metrics stays empty");
        }
        describe();
        gauge!("redrive_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
        Self(handle)
    }

    /// Moves recorded times into their buckets. To be called every few seconds: without it, times
    /// pile up until somebody reads `/metrics`.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }

    /// What Prometheus reads.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.run_upkeep();
        self.0.render()
    }
}

fn describe() {
    describe_histogram!(
        "http_server_request_duration_seconds",
        "Time from the head of a request to the head of its answer."
    );
    describe_counter!(
        "redrive_retry_requests_total",
        "Requests to retry a run, by what became of them."
    );
    describe_gauge!(
        "redrive_outbox_pending",
        "Due rows that no worker has claimed."
    );
    describe_gauge!(
        "redrive_outbox_oldest_age_seconds",
        "Age of the oldest due row that no worker has claimed."
    );
    describe_gauge!("redrive_runs_leased", "Runs that a worker holds.");
    describe_gauge!(
        "redrive_build_info",
        "The version of this program; always 1."
    );
}

/// Records one request.
pub(super) fn record_request(
    method: &'static str,
    route: &str,
    status: StatusCode,
    elapsed: Duration,
) {
    histogram!(
        "http_server_request_duration_seconds",
        "method" => method,
        "route" => route.to_owned(),
        "status" => status.as_u16().to_string(),
    )
    .record(elapsed.as_secs_f64());
}

/// Records what became of one request to retry: `accepted`, or the reason of the refusal.
pub(super) fn record_retry(outcome: &'static str) {
    counter!("redrive_retry_requests_total", "outcome" => outcome).increment(1);
}

/// `GET /metrics`.
pub(super) async fn scrape(State(api): State<Api>) -> Response {
    match api.store.backlog().await {
        Ok(backlog) => show(Some(backlog)),
        Err(error) => {
            tracing::debug!(%error, "the backlog is not known");
            show(None);
        }
    }
    let content_type = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (content_type, api.metrics.render()).into_response()
}

/// Sets the gauges of the backlog; what is not known is no number.
#[expect(
    clippy::cast_precision_loss,
    reason = "counts of rows stay far below 2^52"
)]
fn show(backlog: Option<Backlog>) {
    let [due, oldest, leased] = backlog.map_or([f64::NAN; 3], |backlog| {
        [
            backlog.due as f64,
            backlog.oldest_seconds,
            backlog.leased as f64,
        ]
    });
    gauge!("redrive_outbox_pending").set(due);
    gauge!("redrive_outbox_oldest_age_seconds").set(oldest);
    gauge!("redrive_runs_leased").set(leased);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_histograms_counters_and_the_backlog() {
        let metrics = Metrics::install();
        let status = StatusCode::CONFLICT;
        record_request("POST", "/test/{id}", status, Duration::from_millis(3));
        record_retry("already_retried");
        show(Some(Backlog {
            due: 3,
            oldest_seconds: 1.5,
            leased: 2,
            workers: 1,
            slots: 32,
        }));
        let text = Metrics::install().render();
        for line in [
            r#"http_server_request_duration_seconds_bucket{method="POST",route="/test/{id}",status="409",le="0.005"} 1"#,
            r#"redrive_retry_requests_total{outcome="already_retried"} 1"#,
            "redrive_outbox_pending 3",
            "redrive_outbox_oldest_age_seconds 1.5",
            "redrive_runs_leased 2",
            r#"redrive_build_info{version=""#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.upkeep();
    }
}
