//! The queue inside a process: one bounded list per lane.

use super::{
    Dispatch,
    queue::{Lanes, Queue},
};
use crate::domain::{Lane, PerLane};

/// A bounded queue with lanes. Cheap to clone; all clones are the same queue.
#[derive(Debug, Clone)]
pub struct InProcess {
    inbox: Queue<(Lane, Dispatch)>,
    capacity: usize,
}

impl InProcess {
    /// A queue that holds up to `capacity` messages of each lane.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            inbox: Queue::default(),
            capacity,
        }
    }

    /// How many messages it takes now.
    #[must_use]
    pub fn vacancy(&self) -> PerLane<u32> {
        PerLane::from_fn(|lane| {
            let free = self.capacity.saturating_sub(self.inbox.len(lane));
            u32::try_from(free).unwrap_or(u32::MAX)
        })
    }

    /// Takes a message; false when its lane is full.
    #[must_use]
    pub fn publish(&self, lane: Lane, dispatch: Dispatch) -> bool {
        self.inbox.put(lane, (lane, dispatch), self.capacity)
    }

    /// Takes everything out.
    #[must_use]
    pub fn drain(&self) -> Vec<Dispatch> {
        let all = self.inbox.take_if(|_| true);
        all.into_iter().map(|(_, dispatch)| dispatch).collect()
    }

    /// The next message of these lanes.
    pub async fn next(&self, lanes: Lanes) -> (Lane, Dispatch) {
        self.inbox.next(lanes).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(run: &str) -> Dispatch {
        Dispatch::new(run.parse().unwrap(), None, "org".parse().unwrap(), None)
    }

    #[tokio::test]
    async fn each_lane_is_bounded() {
        let queue = InProcess::new(1);
        assert!(queue.publish(Lane::Bulk, about("bulk")));
        assert!(!queue.publish(Lane::Bulk, about("too-many")));
        assert!(queue.publish(Lane::Interactive, about("interactive")));
        let vacancy = queue.vacancy();
        assert_eq!(
            (vacancy.interactive, vacancy.automatic, vacancy.bulk),
            (0, 1, 0)
        );
        let (lane, next) = queue.next(Lanes::All).await;
        assert_eq!(
            (lane, next.run_id.as_str()),
            (Lane::Interactive, "interactive")
        );
        assert_eq!(queue.drain(), [about("bulk")]);
        assert_eq!(queue.vacancy(), PerLane::from_fn(|_| 1));
    }
}
