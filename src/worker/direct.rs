//! Due rows that no message has brought: a worker with time for them takes them itself, so that
//! nothing waits for a broker that is down or for a relay that is not there.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{process::Work, settlement::Settlement, slots::Slots};
use crate::{
    broker::{Broker, Dispatch, Lanes, Link, Message, Queue},
    domain::{Jitter, Lane, PerLane, RetryDelay},
    store::{Store, StoreError},
};

/// How often to look while the broker works, and for how long a row is left to the relays.
const LOOK: Duration = Duration::from_secs(1);

/// How often to look while it does not.
const LOOK_ALONE: Duration = Duration::from_millis(250);

/// How long rows are kept for slots that have just been free.
const LEASE: Duration = Duration::from_secs(5);

/// Rows on their way from the ledger to free slots. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Direct {
    store: Store,
    broker: Broker,
    slots: Slots,
    due: Queue<(Lane, Dispatch)>,
}

impl Direct {
    pub(super) fn new(store: Store, broker: Broker, slots: Slots) -> Self {
        Self {
            store,
            broker,
            slots,
            due: Queue::default(),
        }
    }

    /// The next row of these lanes.
    pub(super) async fn next(&self, lanes: Lanes) -> Work {
        let (lane, dispatch) = self.due.next(lanes).await;
        Work {
            traceparent: dispatch.traceparent.clone(),
            message: Message::Dispatch(dispatch),
            lane,
            settlement: Settlement::default(),
        }
    }

    /// Looks until it is stopped. The queue inside a process needs none of this.
    pub(super) async fn run(self, stop: CancellationToken) {
        let Broker::RabbitMq(rabbit) = &self.broker else {
            return;
        };
        let mut delay = RetryDelay::new(LOOK_ALONE, Duration::from_secs(5), Jitter::Half);
        let mut pause = LOOK_ALONE;
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                () = tokio::time::sleep(pause) => {}
            }
            let is_alone = rabbit.status().consume != Link::Up;
            let age = if is_alone { Duration::ZERO } else { LOOK };
            pause = match self.look(age).await {
                Ok(()) => {
                    delay.reset();
                    if is_alone { LOOK_ALONE } else { LOOK }
                }
                Err(error) => {
                    tracing::debug!(%error, "due rows can't be looked for");
                    delay.next_delay()
                }
            };
        }
        self.give_back().await;
    }

    /// Takes as many rows as there are free slots.
    async fn look(&self, age: Duration) -> Result<(), StoreError> {
        let room = self.slots.room();
        let waiting = Lane::ALL.into_iter().any(|lane| self.due.len(lane) > 0);
        if waiting || room == PerLane::default() {
            return Ok(());
        }
        for row in self.store.lease_due(&room, age, LEASE).await? {
            let dispatch = Dispatch::new(
                row.run_id,
                row.retry_id,
                row.organization_id,
                row.traceparent,
            );
            self.due.put(row.lane, (row.lane, dispatch), usize::MAX);
        }
        Ok(())
    }

    /// The worker stops before it came to these.
    async fn give_back(&self) {
        let rows = self.due.take_if(|_| true);
        let runs: Vec<_> = rows.into_iter().map(|(_, row)| row.run_id).collect();
        if !runs.is_empty() {
            // Else they are due again when their lease is over.
            let given_back = self.store.give_back(&runs);
            let _ = tokio::time::timeout(Duration::from_secs(1), given_back).await;
        }
    }
}
