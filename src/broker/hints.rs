//! Hints that there is something to do, inside a process and from process to process. Losing one
//! costs time, never work: whoever waits for one also looks from time to time.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, broadcast, watch};

use crate::domain::RunId;

/// How many cancellations, resumes or ends a slow listener may be behind before it misses some.
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
    /// A run has ended.
    Ended {
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
    /// The runs whose end somebody here waits for.
    ends: Arc<Mutex<HashMap<RunId, watch::Sender<bool>>>>,
}

impl Default for Hints {
    fn default() -> Self {
        Self {
            due: Arc::default(),
            due_elsewhere: Arc::default(),
            cancelled: broadcast::Sender::new(BACKLOG),
            resumed: broadcast::Sender::new(BACKLOG),
            elsewhere: broadcast::Sender::new(BACKLOG),
            ends: Arc::default(),
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

    /// A run has ended.
    pub fn ended(&self, run: &RunId) {
        let run_id = run.clone();
        self.tell(Hint::Ended { run_id });
    }

    /// The end of a run, from now on: whoever wants it takes this before looking whether the run
    /// has ended already.
    #[must_use]
    pub fn end_of(&self, run: &RunId) -> EndOf {
        let mut ends = self.ends();
        let end = ends.entry(run.clone()).or_default();
        EndOf {
            hints: self.clone(),
            run: run.clone(),
            end: end.subscribe(),
        }
    }

    fn ends(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<bool>>> {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
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
            Hint::Ended { run_id } => {
                if let Some(end) = self.ends().get(&run_id) {
                    end.send_replace(true);
                }
            }
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

/// Somebody who waits for the end of a run.
#[derive(Debug)]
pub struct EndOf {
    hints: Hints,
    run: RunId,
    end: watch::Receiver<bool>,
}

impl EndOf {
    /// Waits until the end was heard of; for ever, if that was lost.
    pub async fn heard(&mut self) {
        if self.end.wait_for(|heard| *heard).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for EndOf {
    fn drop(&mut self) {
        let mut ends = self.hints.ends();
        let is_last = |end: &watch::Sender<bool>| end.receiver_count() == 1;
        if ends.get(&self.run).is_some_and(is_last) {
            ends.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_end_is_heard_by_all_who_wait_for_it_and_then_forgotten() {
        let hints = Hints::default();
        let run: RunId = "run_1".parse().unwrap();
        let (mut one, mut other) = (hints.end_of(&run), hints.end_of(&run));
        hints.ended(&"run_2".parse().unwrap());
        // Before anybody waits: it is kept.
        hints.ended(&run);
        one.heard().await;
        drop(one);
        other.heard().await;
        assert_eq!(hints.ends().len(), 1);
        drop(other);
        assert!(hints.ends().is_empty());
    }
}
