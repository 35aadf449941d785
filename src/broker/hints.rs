//! Hints inside a process: there is something to do. Losing one costs time, never work.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::domain::RunId;

/// How many cancellations or resumes a slow listener may be behind before it misses some.
const BACKLOG: usize = 1_024;

/// Wakes those who would otherwise poll. Cheap to clone; all clones share the same hints.
#[derive(Debug, Clone)]
pub struct Hints {
    due: Arc<Notify>,
    cancelled: broadcast::Sender<RunId>,
    resumed: broadcast::Sender<RunId>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            due: Arc::default(),
            cancelled: broadcast::Sender::new(BACKLOG),
            resumed: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Hints {
    /// A row of the outbox has become due, or the broker has room again.
    pub fn something_is_due(&self) {
        self.due.notify_one();
    }

    /// Waits for [`something_is_due`](Self::something_is_due); a hint given meanwhile is kept.
    pub async fn until_something_is_due(&self) {
        self.due.notified().await;
    }

    /// Somebody asked for the cancellation of a run that a worker holds.
    pub fn cancel_requested(&self, run: &RunId) {
        // Nobody listens while no worker runs here; the request is in the ledger.
        let _ = self.cancelled.send(run.clone());
    }

    /// The cancellations asked for from now on.
    #[must_use]
    pub fn cancellations(&self) -> broadcast::Receiver<RunId> {
        self.cancelled.subscribe()
    }

    /// Somebody resumed a wait of a run that a worker may hold.
    pub fn resumed(&self, run: &RunId) {
        // As for a cancellation.
        let _ = self.resumed.send(run.clone());
    }

    /// The resumes from now on.
    #[must_use]
    pub fn resumes(&self) -> broadcast::Receiver<RunId> {
        self.resumed.subscribe()
    }
}
