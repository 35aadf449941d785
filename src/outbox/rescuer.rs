//! The rescuer: expired leases and lost messages become due again.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{
    broker::Hints,
    faults,
    store::{Rescued, Store, StoreError},
};

/// How often to look.
const PERIOD: Duration = Duration::from_secs(5);

/// Idempotency keys that are forgotten in one transaction.
const MOST_KEYS: u32 = 1_000;

/// Makes due again what was forgotten, and forgets idempotency keys whose time is over.
#[derive(Debug, Clone)]
pub struct Rescuer {
    store: Store,
    hints: Hints,
}

impl Rescuer {
    /// A rescuer on this ledger.
    #[must_use]
    pub fn new(store: Store, hints: Hints) -> Self {
        Self { store, hints }
    }

    /// Rescues until it is stopped.
    pub async fn run(self, stop: CancellationToken) {
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

    /// Looks once.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn run_once(&self) -> Result<Rescued, StoreError> {
        if faults::planted("no_sweeper") {
            return Ok(Rescued::default());
        }
        let rescued = self.store.rescue().await?;
        if rescued != Rescued::default() {
            faults::point("rescuer.rescued");
            tracing::info!(
                rescued.abandoned,
                rescued.unclaimed,
                "made forgotten runs due again"
            );
            metrics::counter!("redrive_runs_rescued_total").increment(rescued.abandoned);
            metrics::counter!("redrive_dispatches_resent_total").increment(rescued.unclaimed);
            self.hints.something_is_due();
        }
        while self.store.forget_keys(MOST_KEYS).await? == u64::from(MOST_KEYS) {}
        Ok(rescued)
    }
}
