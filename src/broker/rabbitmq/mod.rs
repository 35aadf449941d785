//! `RabbitMQ`, through lapin, under our own supervision.
//!
//! Two connections: one publishes, one consumes, because a broker that is short of memory stops
//! reading from those that publish. Hints and dead letters have others, which nothing waits for.
//!
//! lapin's own recovery stays off: with it a consumer can wait for ever without an error. Whatever
//! goes wrong with a connection, all of it is dropped and made anew, after a pause that is left to
//! chance.

mod connection;
mod consumer;
mod dead_letters;
mod hints;
mod publisher;
mod receipt;
mod topology;

pub use connection::{Link, RabbitMqError, Status};
pub use dead_letters::{Dead, DeadLetters};
pub(super) use receipt::Unsettled;

use std::{sync::Arc, time::Duration};

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::{Delivery, Dispatch, Hints, Lanes, queue::Queue};
use crate::{
    config::BrokerConfig,
    domain::{Lane, PerLane},
};
use connection::Connector;
use consumer::Arrived;
use publisher::Publisher;

/// How long a message may wait in a process whose slots are all taken.
const PATIENCE: Duration = Duration::from_secs(20);

/// Messages of one batch, by lane: what is in flight at once is bounded by their sum.
const BATCH: PerLane<u32> = PerLane {
    interactive: 128,
    automatic: 64,
    bulk: 64,
};

/// What the consumer is to do, and how often it has been told to let go of everything: a pause that
/// is over before a connection has noticed it ends that connection all the same, since deliveries
/// were abandoned on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Wanted {
    mode: Mode,
    pauses: u64,
}

/// What the consumer is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Take what comes.
    Consume,
    /// Take nothing, and give back what waits here; what was taken can still be settled.
    Cancel,
    /// Take nothing and be connected to nothing: what is unsettled goes to others.
    Pause,
}

/// The broker. Cheap to clone; all clones are one. Nothing connects before it is used.
#[derive(Debug, Clone)]
pub struct RabbitMq(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    connector: Connector,
    publisher: Publisher,
    inbox: Queue<Arrived>,
    wanted: watch::Sender<Wanted>,
    consuming: connection::State,
}

impl RabbitMq {
    /// The broker that the configuration names.
    ///
    /// # Errors
    /// The URL can't be read.
    pub fn new(config: &BrokerConfig) -> Result<Self, RabbitMqError> {
        let connector = Connector::new(config)?;
        Ok(Self(Arc::new(Shared {
            publisher: Publisher::new(connector.clone()),
            connector,
            inbox: Queue::default(),
            wanted: watch::Sender::new(Wanted {
                mode: Mode::Consume,
                pauses: 0,
            }),
            consuming: connection::State::default(),
        })))
    }

    /// Connects, declares what is missing and disconnects.
    ///
    /// # Errors
    /// What can't be reached, or is not there and can't be made.
    pub async fn check(&self) -> Result<(), RabbitMqError> {
        let connection = self.0.connector.connect("check").await?;
        let declared = topology::declare(&connection, &self.0.connector.names).await;
        connection::close(&connection).await;
        declared
    }

    /// Connects, looks for every exchange and queue, makes none, and disconnects. The names of those
    /// that are missing; bindings can't be seen this way.
    ///
    /// # Errors
    /// The broker can't be reached, or doesn't let us look.
    pub async fn look(&self) -> Result<Vec<String>, RabbitMqError> {
        let connection = self.0.connector.connect("look").await?;
        let missing = topology::missing(&connection, &self.0.connector.names).await;
        connection::close(&connection).await;
        missing
    }

    /// How the connections stand.
    #[must_use]
    pub fn status(&self) -> Status {
        Status {
            publish: self.0.publisher.link(),
            consume: self.0.consuming.link(),
        }
    }

    pub(super) async fn vacancy(&self) -> PerLane<u32> {
        if self.0.publisher.is_ready().await {
            BATCH
        } else {
            PerLane::default()
        }
    }

    pub(super) async fn publish(&self, batch: &[(Lane, Dispatch)]) -> Vec<bool> {
        self.0.publisher.publish(batch).await
    }

    /// Closes the connection that publishes; the next use opens another.
    pub async fn close(&self) {
        self.0.publisher.close().await;
    }

    /// Consumes until it is stopped: at most `prefetch` messages of each lane are here unsettled.
    pub async fn consume(&self, prefetch: u16, stop: CancellationToken) {
        consumer::supervise(&self.0, prefetch, stop).await;
    }

    /// Takes nothing new and gives back what waits here; what was taken can still be settled.
    pub fn cancel(&self) {
        self.0
            .wanted
            .send_modify(|wanted| wanted.mode = Mode::Cancel);
    }

    /// Lets go of everything that is not settled, and takes nothing until [`resume`](Self::resume).
    pub fn pause(&self) {
        self.0.wanted.send_if_modified(|wanted| {
            if wanted.mode == Mode::Cancel {
                return false;
            }
            *wanted = Wanted {
                mode: Mode::Pause,
                pauses: wanted.pauses.wrapping_add(1),
            };
            true
        });
    }

    /// Consumes again after a [`pause`](Self::pause).
    pub fn resume(&self) {
        self.0.wanted.send_if_modified(|wanted| {
            let changes = wanted.mode == Mode::Pause;
            if changes {
                wanted.mode = Mode::Consume;
            }
            changes
        });
    }

    pub(super) async fn next(&self, lanes: Lanes) -> Delivery {
        self.0.inbox.next(lanes).await.delivery
    }

    pub(super) fn overdue(&self) -> Vec<Delivery> {
        let overdue = self
            .0
            .inbox
            .take_if(|arrived| arrived.at.elapsed() >= PATIENCE);
        overdue
            .into_iter()
            .map(|arrived| arrived.delivery)
            .collect()
    }

    /// Passes hints between this process and the others, until it is stopped.
    pub async fn pass_hints(&self, hints: &Hints, stop: CancellationToken) {
        hints::supervise(&self.0.connector, hints, stop).await;
    }

    /// Hands over what is in the dead-letter queue until it is stopped.
    pub async fn drain_dead_letters(&self, letters: &dyn DeadLetters, stop: CancellationToken) {
        dead_letters::supervise(&self.0.connector, letters, stop).await;
    }
}
