//! How many runs a worker executes at once, and for whom.

use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{broker::Lanes, domain::PerLane};

/// One in so many slots takes only what somebody waits for.
const SHARE: u32 = 8;

/// The slots of a worker. Cheap to clone; all clones are the same slots.
#[derive(Debug, Clone)]
pub(super) struct Slots {
    all: Arc<Pool>,
    interactive: Arc<Pool>,
    total: u32,
}

#[derive(Debug)]
struct Pool {
    permits: Arc<Semaphore>,
    /// Slots that were taken for work that has not come yet.
    waiting: AtomicU32,
    /// Work that has come waits for a slot.
    wanted: Notify,
}

impl Pool {
    fn new(slots: u32) -> Arc<Self> {
        Arc::new(Self {
            permits: Arc::new(Semaphore::new(
                usize::try_from(slots)
                    .unwrap_or(Semaphore::MAX_PERMITS)
                    .min(Semaphore::MAX_PERMITS),
            )),
            waiting: AtomicU32::new(0),
            wanted: Notify::new(),
        })
    }

    fn free(&self) -> u32 {
        let free = u32::try_from(self.permits.available_permits()).unwrap_or(u32::MAX);
        free.saturating_add(self.waiting.load(Ordering::Relaxed))
    }
}

/// A slot that was taken.
#[derive(Debug)]
pub(super) struct Slot {
    _permit: OwnedSemaphorePermit,
}

/// A slot that was taken and waits for work.
#[derive(Debug)]
pub(super) struct Waiting {
    slot: Slot,
    pool: Count,
}

/// Counts a slot among those that wait.
#[derive(Debug)]
struct Count(Arc<Pool>);

impl Drop for Count {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Waiting {
    /// Its work has come.
    pub(super) fn used(self) -> Slot {
        drop(self.pool);
        self.slot
    }
}

impl Slots {
    /// So many slots, an eighth of them (at least one, if there are two) for interactive work only.
    pub(super) fn new(total: u32) -> Self {
        let total = total.max(1);
        let interactive = (total / SHARE).max(1).min(total - 1);
        Self {
            all: Pool::new(total - interactive),
            interactive: Pool::new(interactive),
            total,
        }
    }

    /// All of them.
    pub(super) const fn total(&self) -> u32 {
        self.total
    }

    /// How many are taken by work.
    pub(super) fn busy(&self) -> u32 {
        self.total
            .saturating_sub(self.all.free())
            .saturating_sub(self.interactive.free())
    }

    /// How much work of each lane could begin now.
    pub(super) fn room(&self) -> PerLane<u32> {
        let (all, interactive) = (self.all.free(), self.interactive.free());
        PerLane {
            interactive: all.saturating_add(interactive),
            automatic: all.div_ceil(2),
            bulk: all.div_ceil(4),
        }
    }

    /// A slot for work of these lanes.
    pub(super) async fn take(&self, lanes: Lanes) -> Waiting {
        let pool = match lanes {
            Lanes::All => &self.all,
            Lanes::Interactive => &self.interactive,
        };
        let slot = take(pool).await;
        pool.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting {
            slot,
            pool: Count(Arc::clone(pool)),
        }
    }

    /// A slot for work that has come already, of whatever lane.
    pub(super) async fn take_for_work(&self) -> Slot {
        let taking = take(&self.all);
        let ask = async {
            self.all.wanted.notify_one();
            std::future::pending::<()>().await;
        };
        // In this order: a slot that is let go is for whoever was first to wait for it.
        tokio::select! {
            biased;
            slot = taking => slot,
            () = ask => std::future::pending().await,
        }
    }

    /// Waits until work that has come wants a slot: whoever holds one without work lets it go.
    pub(super) async fn wanted(&self, lanes: Lanes) {
        match lanes {
            Lanes::All => self.all.wanted.notified().await,
            Lanes::Interactive => std::future::pending().await,
        }
    }
}

async fn take(pool: &Pool) -> Slot {
    match Arc::clone(&pool.permits).acquire_owned().await {
        Ok(permit) => Slot { _permit: permit },
        // The semaphore is never closed.
        Err(_) => std::future::pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_eighth_of_the_slots_takes_only_what_somebody_waits_for() {
        for (total, interactive) in [(1, 0), (2, 1), (7, 1), (8, 1), (16, 2), (32, 4)] {
            let slots = Slots::new(total);
            assert_eq!(slots.interactive.free(), interactive, "of {total}");
            assert_eq!(slots.all.free(), total - interactive, "of {total}");
        }
    }

    #[tokio::test]
    async fn work_that_has_come_gets_the_slot_that_waits_for_some() {
        let slots = Slots::new(1);
        let waiting = slots.take(Lanes::All).await;
        let letting_go = async {
            slots.wanted(Lanes::All).await;
            drop(waiting);
            // Behind the one who waits already.
            slots.take(Lanes::All).await
        };
        tokio::select! {
            slot = slots.take_for_work() => drop(slot),
            _ = letting_go => panic!("the slot went to who has no work"),
        }
    }

    #[tokio::test]
    async fn a_slot_that_waits_for_work_is_free_and_one_with_work_is_busy() {
        let slots = Slots::new(2);
        let waiting = slots.take(Lanes::All).await;
        assert_eq!((slots.busy(), slots.room().interactive), (0, 2));
        let slot = waiting.used();
        assert_eq!((slots.busy(), slots.room().interactive), (1, 1));
        assert_eq!(slots.room().bulk, 0);
        drop(slot);
        assert_eq!(slots.busy(), 0);
        drop(slots.take(Lanes::Interactive).await);
        assert_eq!(slots.room().interactive, 2);
    }
}
