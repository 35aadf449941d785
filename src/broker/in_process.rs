//! The queue inside a process: one bounded list per lane.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::Notify;

use super::Dispatch;
use crate::domain::Lane;

/// A bounded queue with lanes. Cheap to clone; all clones are the same queue.
#[derive(Debug, Clone)]
pub struct InProcess(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    lanes: Mutex<Lanes>,
    arrived: Notify,
    capacity: usize,
}

#[derive(Debug, Default)]
struct Lanes {
    interactive: VecDeque<Dispatch>,
    automatic: VecDeque<Dispatch>,
    bulk: VecDeque<Dispatch>,
}

impl Lanes {
    fn of(&mut self, lane: Lane) -> &mut VecDeque<Dispatch> {
        match lane {
            Lane::Interactive => &mut self.interactive,
            Lane::Automatic => &mut self.automatic,
            Lane::Bulk => &mut self.bulk,
        }
    }

    fn len(&self) -> usize {
        self.interactive.len() + self.automatic.len() + self.bulk.len()
    }

    fn pop(&mut self) -> Option<Dispatch> {
        self.interactive
            .pop_front()
            .or_else(|| self.automatic.pop_front())
            .or_else(|| self.bulk.pop_front())
    }
}

impl InProcess {
    /// A queue that holds up to `capacity` messages.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self(Arc::new(Shared {
            lanes: Mutex::default(),
            arrived: Notify::new(),
            capacity,
        }))
    }

    fn lanes(&self) -> MutexGuard<'_, Lanes> {
        // Nothing panics while it is held.
        self.0.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many messages it takes now.
    #[must_use]
    pub fn vacancy(&self) -> u32 {
        let free = self.0.capacity.saturating_sub(self.lanes().len());
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    /// Takes a message; false when it is full.
    #[must_use]
    pub fn publish(&self, lane: Lane, dispatch: Dispatch) -> bool {
        let mut lanes = self.lanes();
        if lanes.len() >= self.0.capacity {
            return false;
        }
        lanes.of(lane).push_back(dispatch);
        drop(lanes);
        self.0.arrived.notify_one();
        true
    }

    /// Takes everything out.
    #[must_use]
    pub fn drain(&self) -> Vec<Dispatch> {
        let mut lanes = self.lanes();
        std::iter::from_fn(|| lanes.pop()).collect()
    }

    /// The next message, interactive ones first.
    pub async fn next(&self) -> Dispatch {
        loop {
            // Notified before the look, so that a message in between is not missed.
            let arrived = self.0.arrived.notified();
            let taken = self.lanes().pop();
            if let Some(dispatch) = taken {
                // One permit may stand for several messages: pass the word on.
                if self.lanes().len() > 0 {
                    self.0.arrived.notify_one();
                }
                return dispatch;
            }
            arrived.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(run: &str) -> Dispatch {
        Dispatch::new(run.parse().unwrap(), None, "org".parse().unwrap(), None)
    }

    #[tokio::test]
    async fn interactive_messages_go_first_and_the_queue_is_bounded() {
        let queue = InProcess::new(3);
        assert!(queue.publish(Lane::Bulk, about("bulk")));
        assert!(queue.publish(Lane::Automatic, about("automatic")));
        assert!(queue.publish(Lane::Interactive, about("interactive")));
        assert!(!queue.publish(Lane::Interactive, about("too-many")));
        assert_eq!(queue.vacancy(), 0);
        for expected in ["interactive", "automatic", "bulk"] {
            assert_eq!(queue.next().await.run_id.as_str(), expected);
        }
        assert_eq!(queue.vacancy(), 3);
        assert!(queue.publish(Lane::Bulk, about("left-over")));
        assert_eq!(queue.drain(), [about("left-over")]);
        assert_eq!(queue.vacancy(), 3);
    }

    #[tokio::test]
    async fn every_message_finds_one_of_many_waiting_consumers() {
        let queue = InProcess::new(100);
        let consumers: Vec<_> = (0..10)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await.run_id })
            })
            .collect();
        for n in 0..10 {
            assert!(queue.publish(Lane::Bulk, about(&format!("run{n}"))));
        }
        let mut taken = Vec::new();
        for consumer in consumers {
            taken.push(consumer.await.unwrap());
        }
        taken.sort();
        taken.dedup();
        assert_eq!(taken.len(), 10);
    }
}
