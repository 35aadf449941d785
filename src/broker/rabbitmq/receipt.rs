//! Settling one delivery.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lapin::{
    Acker,
    options::{BasicAckOptions, BasicNackOptions, BasicRejectOptions},
};
use tokio::time::timeout;

use super::connection::STEP;

/// A delivery that is not settled: it takes a place of its lane's prefetch until it is, or until
/// its connection goes.
#[derive(Debug)]
pub(in crate::broker) struct Unsettled {
    acker: Acker,
    count: Arc<AtomicUsize>,
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        // Its connection is gone or about to go, or this would hold a place for ever.
        if self.acker.usable() {
            tracing::debug!("a delivery was dropped unsettled: it comes again");
        }
    }
}

impl Unsettled {
    /// A delivery to settle, counted in `count` until it is.
    pub(super) fn new(acker: Acker, count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self {
            acker,
            count: Arc::clone(count),
        }
    }

    pub(in crate::broker) async fn ack(self) {
        self.settle("acked", |acker| async move {
            acker.ack(BasicAckOptions::default()).await
        })
        .await;
    }

    pub(in crate::broker) async fn reject(self) {
        let once = BasicRejectOptions { requeue: false };
        self.settle("rejected", |acker| async move { acker.reject(once).await })
            .await;
    }

    /// Gives it back, for another worker.
    pub(super) async fn requeue(self) {
        let back = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        self.settle("requeued", |acker| async move { acker.nack(back).await })
            .await;
    }

    /// Only `true` means that the broker was told. Else its connection is gone and the message
    /// comes again, to find that there is nothing left to do.
    async fn settle<F>(&self, how: &'static str, tell: impl FnOnce(Acker) -> F)
    where
        F: Future<Output = lapin::Result<bool>>,
    {
        let told = timeout(STEP, tell(self.acker.clone())).await;
        let is_told = matches!(told, Ok(Ok(true)));
        let result = if is_told { how } else { "unsettled" };
        metrics::counter!("redrive_messages_consumed_total", "result" => result).increment(1);
        if !is_told {
            tracing::debug!(?told, "a delivery could not be {how}: it comes again");
        }
    }
}
