//! A clock that only its owner moves.

use std::sync::Mutex;

use redrive::domain::{Clock, Timestamp};

/// It begins long ago, so that whatever is due by it is due by the database's clock.
#[derive(Debug)]
pub(crate) struct VirtualClock(Mutex<Timestamp>);

impl Clock for VirtualClock {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}

impl VirtualClock {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Self::began()))
    }

    pub(crate) fn set(&self, now: Timestamp) {
        *self.0.lock().unwrap() = now;
    }

    /// When it begins.
    pub(crate) fn began() -> Timestamp {
        "2020-01-01T00:00:00Z".parse().unwrap()
    }
}
