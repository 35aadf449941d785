//! The relay: leases due rows, publishes them, marks them sent.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Dispatch, Hints},
    domain::{Jitter, RetryDelay, RunId},
    store::{DueRow, Store, StoreError},
};

/// How often to look without a hint: rows also become due by the passing of time.
const POLL: Duration = Duration::from_millis(250);

/// How long a row is this relay's. Publishing inside the process takes no time at all.
const LEASE: Duration = Duration::from_secs(30);

/// The most rows of one round.
const BATCH: u32 = 256;

/// Brings due rows of the outbox to the broker.
#[derive(Debug, Clone)]
pub struct Relay {
    store: Store,
    broker: Broker,
    hints: Hints,
}

impl Relay {
    /// A relay from this ledger to this broker.
    #[must_use]
    pub fn new(store: Store, broker: Broker, hints: Hints) -> Self {
        Self {
            store,
            broker,
            hints,
        }
    }

    /// Relays until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
        let mut delay = RetryDelay::new(
            Duration::from_millis(100),
            Duration::from_secs(5),
            Jitter::Half,
        );
        while !stop.is_cancelled() {
            let pause = match self.run_once().await {
                Ok(0) => POLL,
                Ok(_) => {
                    delay.reset();
                    continue;
                }
                Err(error) => {
                    tracing::warn!(error = %error, "the outbox can't be read; trying again");
                    delay.next_delay()
                }
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.hints.until_something_is_due() => {}
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Relays what is due and has room; says how much that was.
    ///
    /// # Errors
    /// The ledger did not answer. Rows that were published and could not be marked are published
    /// again once their lease is over.
    pub async fn run_once(&self) -> Result<usize, StoreError> {
        let limit = self.broker.vacancy().min(BATCH);
        if limit == 0 {
            return Ok(0);
        }
        let rows = self.store.lease_due(limit, LEASE).await?;
        // What finds no room is not marked, and comes again after its lease.
        let published: Vec<_> = rows
            .into_iter()
            .filter_map(|row| self.publish(row))
            .collect();
        // A worker may have claimed some by now, and with that removed their rows.
        if !published.is_empty() {
            self.store.mark_sent(&published).await?;
        }
        Ok(published.len())
    }

    /// The run of the row, if the broker took the message.
    fn publish(&self, row: DueRow) -> Option<RunId> {
        let run_id = row.run_id.clone();
        let dispatch = Dispatch::new(
            row.run_id,
            row.retry_id,
            row.organization_id,
            row.traceparent,
        );
        self.broker.publish(row.lane, dispatch).then_some(run_id)
    }
}
