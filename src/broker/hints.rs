//! Hints that there is something to do, inside a process and from process to process. Losing one
//! costs time, never work: whoever waits for one also looks from time to time.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast};

use crate::domain::RunId;

/// How many cancellations or resumes a slow listener may be behind before it misses some.
const BACKLOG: usize = 1_024;

/// What one process tells the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Hint {
    /// A row of the outbox has become due, or the broker has room again.
    Due,
    /// Somebody asked for the cancellation of a run.
    CancelRequested {
        /// The run.
        #[serde(rename = "runId")]
        run_id: RunId,
    },
    /// Somebody resumed a wait of a run.
    Resumed {
        /// The run.
        #[serde(rename = "runId")]
        run_id: RunId,
    },
}

/// Wakes those who would otherwise poll. Cheap to clone; all clones share the same hints.
#[derive(Debug, Clone)]
pub struct Hints {
    due: Arc<Notify>,
    due_elsewhere: Arc<Notify>,
    cancelled: broadcast::Sender<RunId>,
    resumed: broadcast::Sender<RunId>,
    elsewhere: broadcast::Sender<Hint>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            due: Arc::default(),
            due_elsewhere: Arc::default(),
            cancelled: broadcast::Sender::new(BACKLOG),
            resumed: broadcast::Sender::new(BACKLOG),
            elsewhere: broadcast::Sender::new(BACKLOG),
        }
    }
}

impl Hints {
    /// A row of the outbox has become due, or the broker has room again.
    pub fn something_is_due(&self) {
        self.due.notify_one();
        self.due_elsewhere.notify_one();
    }

    /// Waits for [`something_is_due`](Self::something_is_due); a hint given meanwhile is kept.
    pub async fn until_something_is_due(&self) {
        self.due.notified().await;
    }

    /// Somebody asked for the cancellation of a run that a worker holds.
    pub fn cancel_requested(&self, run: &RunId) {
        let run_id = run.clone();
        self.tell(Hint::CancelRequested { run_id });
    }

    /// The cancellations asked for from now on.
    #[must_use]
    pub fn cancellations(&self) -> broadcast::Receiver<RunId> {
        self.cancelled.subscribe()
    }

    /// Somebody resumed a wait of a run that a worker may hold.
    pub fn resumed(&self, run: &RunId) {
        let run_id = run.clone();
        self.tell(Hint::Resumed { run_id });
    }

    /// The resumes from now on.
    #[must_use]
    pub fn resumes(&self) -> broadcast::Receiver<RunId> {
        self.resumed.subscribe()
    }

    /// Here and elsewhere.
    fn tell(&self, hint: Hint) {
        // Nobody listens where there is no other process.
        let _ = self.elsewhere.send(hint.clone());
        self.heard(hint);
    }

    /// What another process has told.
    pub(super) fn heard(&self, hint: Hint) {
        // Nobody listens while no worker runs here; the request is in the ledger.
        match hint {
            Hint::Due => self.due.notify_one(),
            Hint::CancelRequested { run_id } => drop(self.cancelled.send(run_id)),
            Hint::Resumed { run_id } => drop(self.resumed.send(run_id)),
        }
    }

    /// What the other processes are to be told from now on, [`Hint::Due`] aside.
    pub(super) fn for_elsewhere(&self) -> broadcast::Receiver<Hint> {
        self.elsewhere.subscribe()
    }

    /// Waits until the other processes are to be told [`Hint::Due`].
    pub(super) async fn until_due_elsewhere(&self) {
        self.due_elsewhere.notified().await;
    }
}
