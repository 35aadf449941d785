//! A worker tells that it lives and what it can take: the relays' window depends on it.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;

use super::slots::Slots;
use crate::store::{Store, WorkerReport};

/// How often; three times without a word, and others take it for gone.
const PERIOD: Duration = Duration::from_secs(5);

/// Reports until it is stopped.
pub(super) async fn report(store: Store, name: Arc<str>, slots: Slots, stop: CancellationToken) {
    loop {
        let report = WorkerReport {
            name: name.to_string(),
            slots: slots.total(),
            busy: slots.busy(),
        };
        metrics::gauge!("redrive_worker_slots").set(f64::from(report.slots));
        metrics::gauge!("redrive_worker_slots_busy").set(f64::from(report.busy));
        let reported = tokio::time::timeout(PERIOD, store.worker_seen(&report)).await;
        if !matches!(reported, Ok(Ok(()))) {
            tracing::debug!("the worker could not be reported");
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
}
