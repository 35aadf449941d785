//! One connection: made with a time limit, watched, dropped whole.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{Connection, ConnectionProperties, uri::AMQPUri};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::topology::Names;
use crate::{
    config::BrokerConfig,
    domain::{Jitter, RetryDelay},
    faults,
};

/// How long a connection may take to be made, and a step on it.
pub(super) const STEP: Duration = Duration::from_secs(10);

/// Seconds between heartbeats; twice that without one ends a connection.
const HEARTBEAT: u16 = 15;

/// Why `RabbitMQ` did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RabbitMqError {
    /// The URL can't be read; it may hold a password, and so is not repeated.
    #[error("broker.url is no AMQP URL: {0}")]
    Url(String),
    /// The broker, or the library that talks to it, refused.
    #[error("RabbitMQ: {0}")]
    Broker(#[source] lapin::Error),
    /// No answer in time.
    #[error("RabbitMQ did not answer in time: {0}")]
    Silent(&'static str),
    /// A queue ended, was deleted, or its consumer was cancelled.
    #[error("RabbitMQ: the consumer of {0} ended")]
    Ended(String),
    /// The connection is gone.
    #[error("RabbitMQ: the connection is lost")]
    Lost,
}

impl From<lapin::Error> for RabbitMqError {
    fn from(error: lapin::Error) -> Self {
        Self::Broker(error)
    }
}

/// How one connection stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Link {
    /// Nobody has asked for it yet.
    #[default]
    Unused,
    /// It works.
    Up,
    /// The broker takes nothing from it now: it is short of memory or disk.
    Blocked,
    /// It is down on purpose: the database is away, or the process stops.
    Paused,
    /// It is being made anew; what went wrong.
    Down(String),
}

/// How the connections stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The one that publishes.
    pub publish: Link,
    /// The one that consumes.
    pub consume: Link,
}

/// A [`Link`] that is written by one and read by many.
#[derive(Debug, Clone, Default)]
pub(super) struct State(Arc<Mutex<Link>>);

impl State {
    pub(super) fn set(&self, link: Link) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = link;
    }

    pub(super) fn link(&self) -> Link {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Where to connect, and what the things there are called.
#[derive(Debug, Clone)]
pub(super) struct Connector {
    uri: Redacted,
    pub(super) names: Names,
}

/// An URL with a password.
#[derive(Clone)]
struct Redacted(AMQPUri);

impl std::fmt::Debug for Redacted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[redacted]")
    }
}

impl Connector {
    pub(super) fn new(config: &BrokerConfig) -> Result<Self, RabbitMqError> {
        let url = config.url.as_ref().map_or("", |url| url.expose());
        let mut uri: AMQPUri = url.parse().map_err(RabbitMqError::Url)?;
        uri.query.heartbeat.get_or_insert(HEARTBEAT);
        Ok(Self {
            uri: Redacted(uri),
            names: Names::new(&config.prefix),
        })
    }

    /// A new connection, named after its `purpose`.
    pub(super) async fn connect(&self, purpose: &str) -> Result<Connection, RabbitMqError> {
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("redrive {purpose}").into());
        let properties = if faults::planted("auto_recover") {
            properties.enable_auto_recover()
        } else {
            properties
        };
        let connecting = Connection::connect_uri(self.uri.0.clone(), properties);
        let connected = timeout(STEP, connecting).await;
        Ok(connected.map_err(|_| RabbitMqError::Silent("connecting"))??)
    }
}

/// A step on a connection, with its time limit.
pub(super) async fn step<T>(
    what: &'static str,
    work: impl Future<Output = lapin::Result<T>>,
) -> Result<T, RabbitMqError> {
    let done = timeout(STEP, work).await;
    Ok(done.map_err(|_| RabbitMqError::Silent(what))??)
}

/// Says goodbye, but waits no longer than a moment for the answer.
pub(super) async fn close(connection: &Connection) {
    let closing = connection.close(200, "done".into());
    let _ = timeout(Duration::from_secs(2), closing).await;
}

/// A connection that lasted so long was a good one.
const LASTING: Duration = Duration::from_secs(20);

/// Does something that lasts as long as a connection, over and over until it is stopped. It ends
/// with what went wrong; `what` says for people what it is.
pub(super) async fn over_and_over<F>(
    what: &'static str,
    state: &State,
    stop: CancellationToken,
    work: impl Fn() -> F,
) where
    F: Future<Output = RabbitMqError>,
{
    let mut delays = pauses();
    loop {
        let began = Instant::now();
        let error = tokio::select! {
            () = stop.cancelled() => return,
            error = work() => error,
        };
        failed(state, what, &error);
        if began.elapsed() > LASTING {
            delays.reset();
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
}

/// The pauses between connections: they never end, and no two processes take the same ones.
pub(super) fn pauses() -> RetryDelay {
    RetryDelay::new(
        Duration::from_millis(200),
        Duration::from_secs(7),
        Jitter::Half,
    )
}

/// Notes an error on a connection: once loud, then only where somebody looks for it.
pub(super) fn failed(state: &State, what: &'static str, error: &RabbitMqError) {
    let was_up = !matches!(state.link(), Link::Down(_));
    if was_up {
        tracing::warn!(%error, "{what}: connecting again until it works");
    } else {
        tracing::debug!(%error, "{what}: still not connected");
    }
    state.set(Link::Down(error.to_string()));
}
