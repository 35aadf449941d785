//! Distributes work: a message says which run needs a worker, and nothing else.
//!
//! The ledger is the truth. A message that is lost is sent again, a message that comes twice finds
//! its run claimed; so the queue inside the process is a wake-up, not storage.

mod dispatch;
mod hints;
mod in_process;

pub use dispatch::{Dispatch, DispatchKind, InvalidDispatch, SCHEMA};
pub use hints::Hints;
pub use in_process::InProcess;

use crate::domain::Lane;

/// The broker in use.
#[derive(Debug, Clone)]
pub enum Broker {
    /// A queue inside this process.
    InProcess(InProcess),
}

/// A message taken from the broker. Settling consumes it, so it can't be settled twice.
#[derive(Debug)]
#[must_use = "a delivery that is not settled comes again"]
pub struct Delivery {
    /// What it says.
    pub dispatch: Dispatch,
}

impl Delivery {
    /// Done with it: the ledger knows everything that it said.
    pub fn ack(self) {
        drop(self);
    }
}

impl Broker {
    /// How many messages the broker takes now.
    #[must_use]
    pub fn vacancy(&self) -> u32 {
        match self {
            Self::InProcess(queue) => queue.vacancy(),
        }
    }

    /// Hands a message over; true once the broker is answerable for it.
    #[must_use]
    pub fn publish(&self, lane: Lane, dispatch: Dispatch) -> bool {
        match self {
            Self::InProcess(queue) => queue.publish(lane, dispatch),
        }
    }

    /// What nobody took and would go with this process.
    #[must_use]
    pub fn drain(&self) -> Vec<Dispatch> {
        match self {
            Self::InProcess(queue) => queue.drain(),
        }
    }

    /// The next message, interactive ones first.
    pub async fn next(&self) -> Delivery {
        match self {
            Self::InProcess(queue) => Delivery {
                dispatch: queue.next().await,
            },
        }
    }
}
