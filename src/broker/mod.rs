//! Distributes work: a message says which run needs a worker, and nothing else.
//!
//! The ledger is the truth. A message that is lost is sent again, a message that comes twice finds
//! its run claimed; so a broker is a wake-up, not storage, be it the queue inside the process or
//! RabbitMQ. Only an intent that somebody else publishes carries something of its own, until a
//! worker has stored it.

mod dispatch;
mod hints;
mod in_process;
mod intent;
mod message;
mod queue;
mod rabbitmq;

pub use dispatch::{Dispatch, DispatchKind, InvalidDispatch, SCHEMA};
pub use hints::{EndOf, Hints};
pub use in_process::InProcess;
pub use intent::{INTENT_SCHEMA, Intent, MOST_INTENT_BYTES};
pub use message::Message;
pub use queue::{Lanes, Queue};
pub use rabbitmq::{Dead, DeadLetters, Link, RabbitMq, RabbitMqError, Status};

use crate::domain::{Lane, PerLane};

/// The broker in use. Cheap to clone; all clones are one.
#[derive(Debug, Clone)]
pub enum Broker {
    /// A queue inside this process.
    InProcess(InProcess),
    /// `RabbitMQ`, shared by any number of processes.
    RabbitMq(RabbitMq),
}

/// A message taken from the broker. Settling consumes it, so it can't be settled twice.
#[derive(Debug)]
#[must_use = "a delivery that is not settled comes again"]
pub struct Delivery {
    /// What it says.
    pub message: Message,
    /// The lane that it came through.
    pub lane: Lane,
    /// The W3C trace context that it was published with.
    pub traceparent: Option<String>,
    /// How to settle it.
    pub receipt: Receipt,
}

/// The right to settle a delivery.
#[derive(Debug)]
#[must_use = "a delivery that is not settled comes again"]
pub struct Receipt(Origin);

#[derive(Debug)]
enum Origin {
    InProcess,
    RabbitMq(rabbitmq::Unsettled),
}

impl Receipt {
    /// Done with it: the ledger knows everything that it said.
    pub async fn ack(self) {
        match self.0 {
            Origin::InProcess => {}
            Origin::RabbitMq(unsettled) => unsettled.ack().await,
        }
    }

    /// It can't be used, now or later: it goes to the dead letters.
    pub async fn reject(self) {
        match self.0 {
            Origin::InProcess => {}
            Origin::RabbitMq(unsettled) => unsettled.reject().await,
        }
    }
}

impl Broker {
    /// Whether other processes use it too: then the ledger knows how much is on its way.
    #[must_use]
    pub const fn is_shared(&self) -> bool {
        matches!(self, Self::RabbitMq(_))
    }

    /// How many messages the broker takes now. `RabbitMQ` is connected to by this.
    pub async fn vacancy(&self) -> PerLane<u32> {
        match self {
            Self::InProcess(queue) => queue.vacancy(),
            Self::RabbitMq(rabbit) => rabbit.vacancy().await,
        }
    }

    /// Hands messages over; true for each that the broker is answerable for.
    pub async fn publish(&self, batch: Vec<(Lane, Dispatch)>) -> Vec<bool> {
        match self {
            Self::InProcess(queue) => batch
                .into_iter()
                .map(|(lane, dispatch)| queue.publish(lane, dispatch))
                .collect(),
            Self::RabbitMq(rabbit) => rabbit.publish(&batch).await,
        }
    }

    /// What nobody took and would go with this process.
    #[must_use]
    pub fn drain(&self) -> Vec<Dispatch> {
        match self {
            Self::InProcess(queue) => queue.drain(),
            Self::RabbitMq(_) => Vec::new(),
        }
    }

    /// The next message of these lanes.
    pub async fn next(&self, lanes: Lanes) -> Delivery {
        match self {
            Self::InProcess(queue) => {
                let (lane, dispatch) = queue.next(lanes).await;
                Delivery {
                    traceparent: dispatch.traceparent.clone(),
                    message: Message::Dispatch(dispatch),
                    lane,
                    receipt: Receipt(Origin::InProcess),
                }
            }
            Self::RabbitMq(rabbit) => rabbit.next(lanes).await,
        }
    }

    /// Messages that have waited here too long for somebody with time for them.
    #[must_use]
    pub fn overdue(&self) -> Vec<Delivery> {
        match self {
            // They wait in the ledger's own process; no other could take them.
            Self::InProcess(_) => Vec::new(),
            Self::RabbitMq(rabbit) => rabbit.overdue(),
        }
    }
}
