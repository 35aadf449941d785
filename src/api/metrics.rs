//! `/metrics`: what Prometheus reads. No label holds an id of a run, a workflow or an
//! organisation.

use std::{sync::OnceLock, time::Duration};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use metrics::{
    Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};

use super::Api;
use crate::store::Backlog;

/// Upper bounds of the buckets of every `_seconds` histogram.
const SECONDS: [f64; 13] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];

/// The same for whole runs, which may wait for days.
const RUN_SECONDS: [f64; 13] = [
    0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 1_800.0, 7_200.0, 86_400.0,
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
        let whole_runs = Matcher::Full("redrive_run_duration_seconds".into());
        let recorder = PrometheusBuilder::new()
            .set_buckets_for_metric(seconds, &SECONDS)
            .and_then(|builder| builder.set_buckets_for_metric(whole_runs, &RUN_SECONDS))
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
    describe_gauge!(
        "redrive_build_info",
        "The version of this program; always 1."
    );
    describe_requests();
    describe_runs();
    describe_delivery();
}

fn describe_requests() {
    describe_histogram!(
        "http_server_request_duration_seconds",
        Unit::Seconds,
        "Time from the head of a request to the head of its answer."
    );
    describe_counter!(
        "redrive_retry_requests_total",
        "Requests to retry a run, by what became of them."
    );
}

fn describe_runs() {
    describe_counter!(
        "redrive_retries_total",
        "Accepted retries that have ended: as their run did, or refused."
    );
    describe_counter!(
        "redrive_runs_total",
        "Runs that have ended, by how they ended and whether they were started or retries."
    );
    describe_histogram!(
        "redrive_run_duration_seconds",
        Unit::Seconds,
        "Time from the acceptance of a run to its end, waits included."
    );
    describe_counter!(
        "redrive_nodes_total",
        "Nodes that have ended after they were executed, by type and how they ended."
    );
    describe_histogram!(
        "redrive_node_duration_seconds",
        Unit::Seconds,
        "Time that one execution of a node took, by type."
    );
}

fn describe_delivery() {
    describe_gauge!(
        "redrive_outbox_pending",
        "Due rows that no worker has claimed."
    );
    describe_gauge!(
        "redrive_outbox_oldest_age_seconds",
        Unit::Seconds,
        "Age of the oldest due row that no worker has claimed."
    );
    describe_gauge!("redrive_runs_leased", "Runs that a worker holds.");
    describe_counter!(
        "redrive_leases_lost_total",
        "Leases that could not be renewed: another worker has taken over, or the run was ended."
    );
    describe_histogram!(
        "redrive_retry_wait_seconds",
        Unit::Seconds,
        "Time from the acceptance of a retry to its first claim by a worker."
    );
    describe_work();
    describe_broker();
}

fn describe_work() {
    describe_gauge!(
        "redrive_worker_slots",
        "Runs that this process executes at once."
    );
    describe_gauge!(
        "redrive_worker_slots_busy",
        "How many of its slots are taken."
    );
    describe_gauge!("redrive_workers_live", "Workers of the installation.");
    describe_gauge!(
        "redrive_worker_slots_live",
        "Slots of all workers of the installation."
    );
    describe_counter!(
        "redrive_runs_rescued_total",
        "Runs whose worker was gone, or that nobody would have taken, made due again."
    );
    describe_counter!(
        "redrive_dispatches_resent_total",
        "Messages that were sent and not claimed in time, to be sent again."
    );
}

fn describe_broker() {
    describe_counter!(
        "redrive_messages_published_total",
        "Messages to RabbitMQ, by what became of them; only confirmed is success."
    );
    describe_counter!(
        "redrive_messages_consumed_total",
        "Messages from RabbitMQ, by how they were settled."
    );
    describe_counter!(
        "redrive_intents_total",
        "Published retries, by what became of them."
    );
    describe_counter!(
        "redrive_dead_letters_total",
        "Messages that could not be used and were kept."
    );
    describe_gauge!(
        "redrive_dead_letters",
        "Messages that could not be used and are still kept."
    );
    describe_gauge!(
        "redrive_broker_up",
        "Whether a connection that this process uses works: 1 or 0."
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
    for (link, is_up) in api.links.up() {
        gauge!("redrive_broker_up", "link" => link).set(f64::from(u8::from(is_up)));
    }
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
    let count = |of: fn(&Backlog) -> i64| backlog.as_ref().map_or(f64::NAN, |b| of(b) as f64);
    let oldest = backlog.as_ref().map_or(f64::NAN, |b| b.oldest_seconds);
    gauge!("redrive_outbox_pending").set(count(|b| b.due));
    gauge!("redrive_outbox_oldest_age_seconds").set(oldest);
    gauge!("redrive_runs_leased").set(count(|b| b.leased));
    gauge!("redrive_workers_live").set(count(|b| b.workers));
    gauge!("redrive_worker_slots_live").set(count(|b| b.slots));
    gauge!("redrive_dead_letters").set(count(|b| b.dead_letters));
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
            oldest_unsent_seconds: 0.5,
            leased: 2,
            workers: 1,
            slots: 32,
            dead_letters: 4,
        }));
        let text = Metrics::install().render();
        for line in [
            r#"http_server_request_duration_seconds_bucket{method="POST",route="/test/{id}",status="409",le="0.005"} 1"#,
            r#"redrive_retry_requests_total{outcome="already_retried"} 1"#,
            "redrive_outbox_pending 3",
            "redrive_outbox_oldest_age_seconds 1.5",
            "redrive_runs_leased 2",
            "redrive_workers_live 1",
            "redrive_worker_slots_live 32",
            "redrive_dead_letters 4",
            r#"redrive_build_info{version=""#,
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        metrics.upkeep();
    }
}
