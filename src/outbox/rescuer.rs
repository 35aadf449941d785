//! The rescuer: expired leases and lost messages become due again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    broker::Hints,
    domain::RunId,
    faults,
    store::{Rescued, Store, StoreError},
};

/// How often to look.
const PERIOD: Duration = Duration::from_secs(5);

/// Runs of the queue that are looked at in one period.
const SWEEP: u32 = 5_000;

/// Idempotency keys that are forgotten in one transaction.
const MOST_KEYS: u32 = 1_000;

/// Makes due again what was forgotten, and forgets idempotency keys whose time is over.
#[derive(Debug, Clone)]
pub struct Rescuer {
    store: Store,
    hints: Hints,
    /// How far the sweep of the queue has come.
    swept: Option<RunId>,
}

impl Rescuer {
    /// A rescuer on this ledger.
    #[must_use]
    pub fn new(store: Store, hints: Hints) -> Self {
        Self {
            store,
            hints,
            swept: None,
        }
    }

    /// Rescues until it is stopped.
    pub async fn run(mut self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            if let Err(error) = self.run_once().await {
                tracing::warn!(error = %error, "the ledger can't be searched; trying again");
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(PERIOD) => {}
            }
        }
    }

    /// Looks once, for forgotten runs only at the next part of the queue; what it found.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn run_once(&mut self) -> Result<Rescued, StoreError> {
        if faults::planted("no_sweeper") {
            return Ok(Rescued::default());
        }
        let mut found = self.store.rescue().await?;
        let swept = self.store.sweep(self.swept.as_ref(), SWEEP).await?;
        self.swept = swept.next;
        found.abandoned += swept.forgotten;
        if found != Rescued::default() {
            self.tell(&found);
        }
        while self.store.forget_keys(MOST_KEYS).await? == u64::from(MOST_KEYS) {}
        Ok(found)
    }

    fn tell(&self, found: &Rescued) {
        faults::point("rescuer.rescued");
        tracing::info!(
            found.abandoned,
            found.unclaimed,
            "made forgotten runs due again"
        );
        metrics::counter!("redrive_runs_rescued_total").increment(found.abandoned);
        metrics::counter!("redrive_dispatches_resent_total").increment(found.unclaimed);
        self.hints.something_is_due();
    }
}
