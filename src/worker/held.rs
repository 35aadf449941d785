//! The runs that this process holds, and how to reach each of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{domain::RunId, engine::Signals, store::Fence};

/// The runs held. Cheap to clone; all clones are the same list.
#[derive(Debug, Clone, Default)]
pub(super) struct Held(Arc<Mutex<HashMap<RunId, Entry>>>);

#[derive(Debug)]
struct Entry {
    fence: Fence,
    signals: Signals,
    renewed: Instant,
}

/// Takes its run off the list when it goes.
#[derive(Debug)]
pub(super) struct Holding {
    held: Held,
    fence: Fence,
}

impl Drop for Holding {
    fn drop(&mut self) {
        let mut entries = self.held.entries();
        let is_same = entries
            .get(&self.fence.run_id)
            .is_some_and(|e| e.fence == self.fence);
        if is_same {
            entries.remove(&self.fence.run_id);
        }
    }
}

impl Held {
    fn entries(&self) -> MutexGuard<'_, HashMap<RunId, Entry>> {
        // Nothing panics while it is held.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a run on the list; `claimed` is an instant before its lease was taken.
    pub(super) fn hold(&self, fence: Fence, signals: Signals, claimed: Instant) -> Holding {
        let entry = Entry {
            fence: fence.clone(),
            signals,
            renewed: claimed,
        };
        if let Some(earlier) = self.entries().insert(fence.run_id.clone(), entry) {
            // The lease went to this process twice: the earlier holder has lost it.
            earlier.signals.lost.cancel();
        }
        Holding {
            held: self.clone(),
            fence,
        }
    }

    pub(super) fn fences(&self) -> Vec<Fence> {
        self.entries()
            .values()
            .map(|entry| entry.fence.clone())
            .collect()
    }

    /// The runs that nobody has asked to cancel yet.
    pub(super) fn runs(&self) -> Vec<RunId> {
        let entries = self.entries();
        let uncancelled = entries
            .iter()
            .filter(|(_, entry)| !entry.signals.cancelled.is_cancelled());
        uncancelled.map(|(run, _)| run.clone()).collect()
    }

    /// Notes what a renewal that began at `asked` said of these fences; a lease that goes on may be
    /// relied on for `good_for` from then.
    pub(super) fn renewed(
        &self,
        fences: &[Fence],
        kept: &HashMap<RunId, bool>,
        asked: Instant,
        good_for: Duration,
    ) {
        let mut entries = self.entries();
        for fence in fences {
            let Some(entry) = entries.get_mut(&fence.run_id) else {
                continue;
            };
            if entry.fence != *fence {
                continue;
            }
            match kept.get(&fence.run_id) {
                None => entry.signals.lost.cancel(),
                Some(cancel_requested) => {
                    entry.renewed = asked;
                    entry.signals.lease.good_until(asked + good_for);
                    if *cancel_requested {
                        entry.signals.cancelled.cancel();
                    }
                }
            }
        }
    }

    /// Drops the runs whose lease was not renewed for `limit`: it may be another's by now.
    pub(super) fn drop_stale(&self, limit: Duration) {
        for entry in self.entries().values() {
            if entry.renewed.elapsed() >= limit {
                entry.signals.lost.cancel();
            }
        }
    }

    pub(super) fn cancel(&self, run: &RunId) {
        if let Some(entry) = self.entries().get(run) {
            entry.signals.cancelled.cancel();
        }
    }

    /// A wait of the run has ended: whoever executes it looks what came.
    pub(super) fn resume(&self, run: &RunId) {
        if let Some(entry) = self.entries().get(run) {
            entry.signals.resumed.notify_one();
        }
    }

    pub(super) fn for_all(&self, tell: impl Fn(&Signals)) {
        self.entries()
            .values()
            .for_each(|entry| tell(&entry.signals));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fence(run: &str, epoch: i64) -> Fence {
        Fence {
            run_id: run.parse().unwrap(),
            epoch,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_lost_before_it_expires() {
        let held = Held::default();
        let signals = Signals::default();
        let holding = held.hold(fence("a", 1), signals.clone(), Instant::now());
        tokio::time::advance(Duration::from_secs(39)).await;
        held.drop_stale(Duration::from_secs(40));
        assert!(!signals.lost.is_cancelled());
        let kept = HashMap::from([("a".parse().unwrap(), false)]);
        held.renewed(
            &[fence("a", 1)],
            &kept,
            Instant::now(),
            Duration::from_secs(40),
        );
        tokio::time::advance(Duration::from_secs(39)).await;
        held.drop_stale(Duration::from_secs(40));
        assert!(!signals.lost.is_cancelled());
        tokio::time::advance(Duration::from_secs(1)).await;
        held.drop_stale(Duration::from_secs(40));
        assert!(signals.lost.is_cancelled());
        drop(holding);
        assert!(held.fences().is_empty());
    }

    #[tokio::test]
    async fn what_a_renewal_does_not_find_is_lost() {
        let held = Held::default();
        let (kept, gone) = (Signals::default(), Signals::default());
        let _kept = held.hold(fence("a", 1), kept.clone(), Instant::now());
        let _gone = held.hold(fence("b", 4), gone.clone(), Instant::now());
        let answer = HashMap::from([("a".parse().unwrap(), true)]);
        held.renewed(
            &held.fences(),
            &answer,
            Instant::now(),
            Duration::from_secs(40),
        );
        assert!(!kept.lost.is_cancelled() && kept.cancelled.is_cancelled());
        assert!(gone.lost.is_cancelled() && !gone.cancelled.is_cancelled());
    }

    #[tokio::test]
    async fn the_word_of_a_resume_is_kept_for_whoever_executes_the_run() {
        let held = Held::default();
        let signals = Signals::default();
        let _holding = held.hold(fence("a", 1), signals.clone(), Instant::now());
        held.resume(&"a".parse().unwrap());
        held.resume(&"b".parse().unwrap());
        signals.resumed.notified().await;
    }
}
