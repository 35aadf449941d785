//! Counts the ends of runs, whoever ends them: a worker, or a caller who cancels a run that nobody
//! holds.

use crate::domain::{Run, RunStatus, Timestamp};

/// Records that a run has ended, and its retry with it.
pub fn record_end(run: &Run, status: RunStatus, is_retry: bool, now: Timestamp) {
    let (status, trigger) = (status.as_str(), if is_retry { "retry" } else { "start" });
    metrics::counter!("redrive_runs_total", "status" => status, "trigger" => trigger).increment(1);
    if is_retry {
        metrics::counter!("redrive_retries_total", "outcome" => status).increment(1);
    }
    // Clocks of two machines may differ: what would end before it began took no time.
    let took = (now - run.created_at).to_std().unwrap_or_default();
    metrics::histogram!("redrive_run_duration_seconds", "status" => status)
        .record(took.as_secs_f64());
}
