//! The time of a world, and its deaths: whoever looks at the clock may die of it.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, resume_unwind},
    sync::Mutex,
};

use chrono::TimeDelta;
use futures_util::FutureExt;
use redrive::domain::{Clock, Timestamp};

/// A process died.
struct Death;

/// A clock that its owner moves, for the ledger and everybody on it. Every look moves it a little, so
/// that no two things happen at once.
///
/// All code of the product that decides something looks at the clock: before a transaction, in it and
/// between two of them. So a death at the nth look is one at any of these places, and a seed repeats
/// it.
#[derive(Debug)]
pub(super) struct FatalClock(Mutex<State>);

#[derive(Debug)]
struct State {
    now: Timestamp,
    /// So many looks are left.
    looks: Option<usize>,
}

impl Clock for FatalClock {
    fn now(&self) -> Timestamp {
        let now = self.look();
        // Not while the clock is locked: the next process looks at it, too.
        now.unwrap_or_else(|| resume_unwind(Box::new(Death)))
    }
}

impl FatalClock {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State {
            now: "2020-01-01T00:00:00Z".parse().unwrap(),
            looks: None,
        }))
    }

    fn look(&self) -> Option<Timestamp> {
        let mut state = self.0.lock().unwrap();
        state.now += TimeDelta::microseconds(1);
        match state.looks {
            Some(0) => {
                state.looks = None;
                return None;
            }
            Some(left) => state.looks = Some(left - 1),
            None => {}
        }
        Some(state.now)
    }

    /// The time, for whoever can't die of it.
    pub(super) fn read(&self) -> Timestamp {
        self.0.lock().unwrap().now
    }

    pub(super) fn advance(&self, seconds: i64) {
        self.0.lock().unwrap().now += TimeDelta::seconds(seconds);
    }

    /// Whoever does this work dies after so many looks; none if it dies.
    pub(super) async fn until_death<T>(
        &self,
        looks: Option<usize>,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        self.0.lock().unwrap().looks = looks;
        let done = AssertUnwindSafe(work).catch_unwind().await;
        self.0.lock().unwrap().looks = None;
        match done {
            Ok(done) => Some(done),
            Err(panic) if is_death(panic.as_ref()) => None,
            Err(panic) => resume_unwind(panic),
        }
    }
}

fn is_death(panic: &(dyn Any + Send)) -> bool {
    panic.is::<Death>()
}
