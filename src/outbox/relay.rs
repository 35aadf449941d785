//! The relay: leases due rows, publishes them, marks them sent.
//!
//! What is sent and not claimed is a bounded window; the rest waits in the ledger, where it can be
//! cancelled, counted and put in order.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    broker::{Broker, Dispatch, Hints},
    domain::{Jitter, PerLane, RetryDelay, RunId},
    faults,
    store::{DueRow, Store, StoreError, Window},
};

/// How often to look without a hint: rows also become due by the passing of time.
const POLL: Duration = Duration::from_millis(250);

/// How long to leave the ledger alone after finding nothing, whatever is hinted at meanwhile.
const LEAST: Duration = Duration::from_millis(5);

/// How long a row is this relay's: longer than a batch takes to be confirmed or given up, and no
/// longer, for when the answer to the lease is lost nobody has the rows.
const LEASE: Duration = Duration::from_secs(15);

/// The most rows of one round, by lane.
const BATCH: u32 = 128;

/// Messages of a lane that may be on their way to each slot.
pub const WINDOW_PER_SLOT: u32 = 4;

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
            // Connecting may take its time, and nothing is half done meanwhile.
            let vacancy = tokio::select! {
                () = stop.cancelled() => return,
                vacancy = self.broker.vacancy() => vacancy,
            };
            let pause = match self.fill(&vacancy).await {
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
            tokio::time::sleep(LEAST).await;
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
        self.fill(&self.broker.vacancy().await).await
    }

    async fn fill(&self, vacancy: &PerLane<u32>) -> Result<usize, StoreError> {
        let room = self.room(vacancy).await?;
        if room == PerLane::default() {
            return Ok(0);
        }
        let mut rows = self.store.lease_due(&room, Duration::ZERO, LEASE).await?;
        if faults::planted("watermark") {
            rows.retain(|row| faults::is_above_watermark(row.run_id.as_str()));
        }
        if rows.is_empty() {
            return Ok(0);
        }
        faults::point("relay.leased");
        let runs: Vec<_> = rows.iter().map(|row| row.run_id.clone()).collect();
        let batch = rows
            .into_iter()
            .map(|row| (row.lane, dispatch(row)))
            .collect();
        let outcomes = self.broker.publish(batch).await;
        let (sent, kept) = split(runs, &outcomes);
        faults::point("relay.confirmed");
        // A worker may have claimed some by now, and with that removed their rows.
        if !sent.is_empty() {
            self.store.mark_sent(&sent).await?;
            faults::point("relay.marked");
        }
        if !kept.is_empty() {
            self.store.give_back(&kept).await?;
        }
        Ok(sent.len())
    }

    /// How many messages of each lane may be sent now.
    async fn room(&self, vacancy: &PerLane<u32>) -> Result<PerLane<u32>, StoreError> {
        let room = PerLane::from_fn(|lane| BATCH.min(*vacancy.of(lane)));
        if room == PerLane::default() || !self.broker.is_shared() {
            return Ok(room);
        }
        let window = self.store.window().await?;
        Ok(within(&window, &room))
    }
}

/// What the window leaves of some room.
fn within(window: &Window, room: &PerLane<u32>) -> PerLane<u32> {
    let most = window.slots.saturating_mul(WINDOW_PER_SLOT);
    PerLane::from_fn(|lane| (*room.of(lane)).min(most.saturating_sub(*window.sent.of(lane))))
}

/// Runs whose messages are with the broker, and the others.
fn split(runs: Vec<RunId>, outcomes: &[bool]) -> (Vec<RunId>, Vec<RunId>) {
    let mut outcomes = outcomes.iter();
    runs.into_iter()
        .partition(|_| outcomes.next().copied().unwrap_or(false))
}

fn dispatch(row: DueRow) -> Dispatch {
    Dispatch::new(
        row.run_id,
        row.retry_id,
        row.organization_id,
        row.traceparent,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_of_a_lane_is_four_messages_for_each_live_slot() {
        let sent = PerLane {
            interactive: 7,
            automatic: 8,
            bulk: 100,
        };
        let room = PerLane::from_fn(|_| 128);
        let left = within(&Window { slots: 2, sent }, &room);
        assert_eq!((left.interactive, left.automatic, left.bulk), (1, 0, 0));
        let nobody = within(
            &Window {
                slots: 0,
                ..Window::default()
            },
            &room,
        );
        assert_eq!(
            nobody,
            PerLane::default(),
            "without a worker nothing is sent"
        );
        let many = within(&Window { slots: 1_000, sent }, &room);
        assert_eq!(many.bulk, 128);
    }
}
