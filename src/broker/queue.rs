//! What has arrived and waits for a slot: one list per lane.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use crate::domain::{Lane, PerLane};

/// Who goes first when several lanes wait: a turn that finds its lane empty goes to the most urgent
/// lane that is not.
const TURNS: [Lane; 7] = [
    Lane::Interactive,
    Lane::Automatic,
    Lane::Interactive,
    Lane::Bulk,
    Lane::Interactive,
    Lane::Automatic,
    Lane::Interactive,
];

/// Which lanes a taker serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lanes {
    /// All of them, in turns.
    All,
    /// What somebody waits for, and nothing else.
    Interactive,
}

/// Lists that many put into and take from. Cheap to clone; all clones are the same lists.
#[derive(Debug)]
pub struct Queue<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    lists: Mutex<Lists<T>>,
    arrived: Notify,
}

#[derive(Debug)]
struct Lists<T> {
    waiting: PerLane<VecDeque<T>>,
    turn: usize,
}

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        let waiting = PerLane::from_fn(|_| VecDeque::new());
        Self(Arc::new(Shared {
            lists: Mutex::new(Lists { waiting, turn: 0 }),
            arrived: Notify::new(),
        }))
    }
}

impl<T> Lists<T> {
    fn pop(&mut self, lanes: Lanes) -> Option<T> {
        if lanes == Lanes::Interactive {
            return self.waiting.interactive.pop_front();
        }
        let favoured = TURNS[self.turn % TURNS.len()];
        let item = std::iter::once(favoured)
            .chain(Lane::ALL)
            .find_map(|lane| self.waiting.of_mut(lane).pop_front());
        self.turn = self.turn.wrapping_add(usize::from(item.is_some()));
        item
    }
}

impl<T> Queue<T> {
    fn lists(&self) -> MutexGuard<'_, Lists<T>> {
        // Nothing panics while it is held.
        self.0.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many wait in a lane.
    #[must_use]
    pub fn len(&self, lane: Lane) -> usize {
        self.lists().waiting.of(lane).len()
    }

    /// Puts something in, unless `capacity` others wait in its lane; whether it did.
    pub fn put(&self, lane: Lane, item: T, capacity: usize) -> bool {
        let mut lists = self.lists();
        let list = lists.waiting.of_mut(lane);
        if list.len() >= capacity {
            return false;
        }
        list.push_back(item);
        drop(lists);
        self.0.arrived.notify_waiters();
        true
    }

    /// Takes the next thing of these lanes.
    pub async fn next(&self, lanes: Lanes) -> T {
        loop {
            // Made before the look: it hears of everything that is put in from now on.
            let arrived = self.0.arrived.notified();
            if let Some(item) = self.lists().pop(lanes) {
                return item;
            }
            arrived.await;
        }
    }

    /// Takes out what a test of the caller picks.
    pub fn take_if(&self, mut is_wanted: impl FnMut(&T) -> bool) -> Vec<T> {
        let mut lists = self.lists();
        let mut taken = Vec::new();
        for lane in Lane::ALL {
            let list = lists.waiting.of_mut(lane);
            let (wanted, kept): (VecDeque<_>, _) = list.drain(..).partition(&mut is_wanted);
            *list = kept;
            taken.extend(wanted);
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lanes_take_turns_and_none_of_them_starves() {
        let inbox = Queue::default();
        for n in 0..70 {
            for lane in Lane::ALL {
                assert!(inbox.put(lane, (lane, n), 70));
            }
        }
        let mut taken: PerLane<usize> = PerLane::default();
        for _ in 0..70 {
            let (lane, n) = inbox.next(Lanes::All).await;
            assert_eq!(n, *taken.of(lane), "a lane keeps its order");
            *taken.of_mut(lane) += 1;
        }
        assert_eq!(
            (taken.interactive, taken.automatic, taken.bulk),
            (40, 20, 10)
        );
        while inbox.len(Lane::Interactive) > 0 {
            assert_eq!(inbox.next(Lanes::Interactive).await.0, Lane::Interactive);
        }
        assert_eq!(inbox.take_if(|(lane, _)| *lane == Lane::Bulk).len(), 60);
        assert_eq!(inbox.len(Lane::Automatic), 50);
    }

    #[tokio::test]
    async fn everything_finds_one_of_many_takers() {
        let inbox = Queue::<usize>::default();
        let takers: Vec<_> = (0..10)
            .map(|n| {
                let inbox = inbox.clone();
                let lanes = if n % 2 == 0 {
                    Lanes::All
                } else {
                    Lanes::Interactive
                };
                tokio::spawn(async move { inbox.next(lanes).await })
            })
            .collect();
        for n in 0..10 {
            let lane = if n < 5 { Lane::Interactive } else { Lane::Bulk };
            assert!(inbox.put(lane, n, 10));
            tokio::task::yield_now().await;
        }
        // Bulk may find only takers of interactive work left: give them some.
        for n in 10..20 {
            assert!(inbox.put(Lane::Interactive, n, 20));
        }
        for taker in takers {
            taker.await.unwrap();
        }
        let left = inbox.take_if(|_| true).len();
        assert_eq!(left, 10);
    }
}
