//! What a worker tells the runs it executes, and until when their leases hold.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;

/// The code of a call that was not made because its lease is over.
pub(super) const LEASE_OVER: &str = "lease_over";

/// What the worker tells a run that is being executed.
#[derive(Debug, Clone, Default)]
pub struct Signals {
    /// Somebody asked for the run's cancellation.
    pub cancelled: CancellationToken,
    /// Somebody resumed a wait of the run: a word that is kept until it is taken.
    pub resumed: Arc<Notify>,
    /// The lease is lost, or could not be renewed for too long: write and send nothing more.
    pub lost: CancellationToken,
    /// Until when the lease may be relied on: asked right before anything is sent.
    pub lease: LeaseClock,
    /// The worker stops: go no further than the node at hand.
    pub drain: CancellationToken,
    /// The worker's time to stop is over: drop the call at hand.
    pub abort: CancellationToken,
}

/// Until when a lease may be relied on. Cheap to clone; all clones are one. One that was never told
/// is relied on without end.
#[derive(Debug, Clone, Default)]
pub struct LeaseClock(Arc<Mutex<Option<Instant>>>);

impl LeaseClock {
    /// The lease was confirmed, and may be relied on until then.
    pub fn good_until(&self, deadline: Instant) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
    }

    /// Whether it may no longer be relied on: a process that was stopped for a while learns it
    /// here, before anybody could tell it.
    #[must_use]
    pub fn is_over(&self) -> bool {
        let deadline = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        deadline.is_some_and(|deadline| Instant::now() >= deadline)
    }
}
