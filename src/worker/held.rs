//! The runs that this process holds, and how to reach each of them.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    domain::RunId,
    engine::Signals,
    store::{Fence, Renewed},
};

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

    /// The fences of the leases that were not renewed for `age`.
    pub(super) fn fences(&self, age: Duration) -> Vec<Fence> {
        self.entries()
            .values()
            .filter(|entry| entry.renewed.elapsed() >= age)
            .map(|entry| entry.fence.clone())
            .collect()
    }

    pub(super) fn holds(&self, run: &RunId) -> bool {
        self.entries().contains_key(run)
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
    /// relied on for `good_for` from then. How many of what is still held are lost.
    pub(super) fn renewed(
        &self,
        fences: &[Fence],
        kept: &HashMap<RunId, Renewed>,
        asked: Instant,
        good_for: Duration,
    ) -> u64 {
        let mut entries = self.entries();
        let mut lost = 0;
        for fence in fences {
            let Some(entry) = entries.get_mut(&fence.run_id) else {
                continue;
            };
            if entry.fence != *fence {
                continue;
            }
            let Some(lease) = kept.get(&fence.run_id) else {
                entry.signals.lost.cancel();
                lost += 1;
                continue;
            };
            if lease.extended {
                entry.renewed = asked;
                entry.signals.lease.good_until(asked + good_for);
            }
            if lease.cancel_requested {
                entry.signals.cancelled.cancel();
            }
        }
        lost
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

    fn kept(run: &str, extended: bool, cancel_requested: bool) -> HashMap<RunId, Renewed> {
        let run_id: RunId = run.parse().unwrap();
        let renewed = Renewed {
            run_id: run_id.clone(),
            cancel_requested,
            extended,
        };
        HashMap::from([(run_id, renewed)])
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_not_renewed_is_lost_before_it_expires() {
        let held = Held::default();
        let signals = Signals::default();
        let holding = held.hold(fence("a", 1), signals.clone(), Instant::now());
        tokio::time::advance(Duration::from_secs(19)).await;
        assert!(held.fences(Duration::from_secs(20)).is_empty());
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(held.fences(Duration::from_secs(20)), [fence("a", 1)]);
        held.drop_stale(Duration::from_secs(40));
        assert!(!signals.lost.is_cancelled());
        let good_for = Duration::from_secs(40);
        let answer = kept("a", true, false);
        held.renewed(&[fence("a", 1)], &answer, Instant::now(), good_for);
        tokio::time::advance(Duration::from_secs(39)).await;
        held.drop_stale(Duration::from_secs(40));
        assert!(!signals.lost.is_cancelled());
        tokio::time::advance(Duration::from_secs(1)).await;
        held.drop_stale(Duration::from_secs(40));
        assert!(signals.lost.is_cancelled());
        drop(holding);
        assert!(held.fences(Duration::ZERO).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_whose_run_was_locked_is_held_for_as_long_as_it_was() {
        let held = Held::default();
        let signals = Signals::default();
        let _holding = held.hold(fence("a", 1), signals.clone(), Instant::now());
        tokio::time::advance(Duration::from_secs(39)).await;
        let (answer, good_for) = (kept("a", false, true), Duration::from_secs(40));
        assert_eq!(
            held.renewed(&[fence("a", 1)], &answer, Instant::now(), good_for),
            0
        );
        assert!(!signals.lost.is_cancelled() && signals.cancelled.is_cancelled());
        tokio::time::advance(Duration::from_secs(1)).await;
        held.drop_stale(good_for);
        assert!(signals.lost.is_cancelled());
    }

    #[tokio::test]
    async fn what_a_renewal_does_not_find_is_lost() {
        let held = Held::default();
        let (kept, gone) = (Signals::default(), Signals::default());
        let _kept = held.hold(fence("a", 1), kept.clone(), Instant::now());
        let _gone = held.hold(fence("b", 4), gone.clone(), Instant::now());
        let answer = self::kept("a", true, true);
        let good_for = Duration::from_secs(40);
        let lost = held.renewed(
            &held.fences(Duration::ZERO),
            &answer,
            Instant::now(),
            good_for,
        );
        assert_eq!(lost, 1);
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
