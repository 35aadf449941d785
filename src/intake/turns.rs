//! Requests about one run take turns inside a process, before they take a connection: however many
//! ask for the same retry, they hold one of the pool between them, and nobody else waits for it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::OwnedMutexGuard;

use crate::domain::RunId;

/// Whose turn it is, by run. Cheap to clone; all clones are one.
#[derive(Debug, Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<RunId, Arc<tokio::sync::Mutex<()>>>>>);

/// A turn; the next one begins when it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Turns,
    run: RunId,
    taken: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for a turn, first come first served.
    pub(super) async fn take(&self, run: &RunId) -> Turn {
        let queue = Arc::clone(self.queues().entry(run.clone()).or_default());
        let mut turn = Turn {
            turns: self.clone(),
            run: run.clone(),
            taken: None,
        };
        turn.taken = Some(queue.lock_owned().await);
        turn
    }

    fn queues(&self) -> MutexGuard<'_, HashMap<RunId, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut queues = self.turns.queues();
        drop(self.taken.take());
        // Whoever waits has a share of the queue.
        if queues
            .get(&self.run)
            .is_some_and(|queue| Arc::strong_count(queue) == 1)
        {
            queues.remove(&self.run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_of_one_run_follow_each_other_and_leave_nothing() {
        let turns = Turns::default();
        let (run, other): (RunId, RunId) = ("run_1".parse().unwrap(), "run_2".parse().unwrap());
        let first = turns.take(&run).await;
        let waiting = tokio::spawn({
            let (turns, run) = (turns.clone(), run.clone());
            async move { turns.take(&run).await }
        });
        let gives_up = tokio::time::timeout(std::time::Duration::from_secs(1), turns.take(&run));
        assert!(gives_up.await.is_err(), "it is another's turn");
        drop(turns.take(&other).await);
        assert!(!waiting.is_finished());
        drop(first);
        drop(waiting.await.unwrap());
        assert!(turns.queues().is_empty(), "{turns:?}");
    }
}
