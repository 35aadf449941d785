//! The connection that publishes. Its one user, the relay, polls; so it is made when it is needed.

use std::time::Duration;

use futures_util::future::join_all;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use tokio::{
    sync::Mutex,
    time::{Instant, timeout},
};

use super::{
    connection::{Connector, Link, RabbitMqError, State, close, failed, pauses, step},
    topology,
};
use crate::{
    broker::Dispatch,
    domain::{Lane, RetryDelay},
};

/// How long the broker may take to confirm a batch.
const CONFIRM: Duration = Duration::from_secs(10);

/// Survives a restart of the broker.
const PERSISTENT: u8 = 2;

/// Publishes, one batch at a time.
#[derive(Debug)]
pub(super) struct Publisher {
    connector: Connector,
    session: Mutex<Session>,
    state: State,
}

#[derive(Debug)]
struct Session {
    open: Option<Open>,
    pauses: RetryDelay,
    not_before: Instant,
}

#[derive(Debug)]
struct Open {
    connection: Connection,
    channel: Channel,
}

impl Open {
    fn works(&self) -> bool {
        self.connection.status().connected() && self.channel.status().connected()
    }

    fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }
}

impl Publisher {
    pub(super) fn new(connector: Connector) -> Self {
        let session = Session {
            open: None,
            pauses: pauses(),
            not_before: Instant::now(),
        };
        Self {
            connector,
            session: Mutex::new(session),
            state: State::default(),
        }
    }

    pub(super) fn link(&self) -> Link {
        self.state.link()
    }

    /// Whether something can be published now; connects, if it is time to.
    pub(super) async fn is_ready(&self) -> bool {
        let mut session = self.session.lock().await;
        if session.open.as_ref().is_some_and(|open| !open.works()) {
            self.drop_session(&mut session, &RabbitMqError::Lost).await;
        }
        if session.open.is_none() && Instant::now() >= session.not_before {
            match self.open().await {
                Ok(open) => {
                    session.open = Some(open);
                    tracing::info!("connected to RabbitMQ to publish");
                }
                Err(error) => self.drop_session(&mut session, &error).await,
            }
        }
        let Some(open) = &session.open else {
            return false;
        };
        let blocked = open.is_blocked();
        self.state
            .set(if blocked { Link::Blocked } else { Link::Up });
        !blocked
    }

    async fn open(&self) -> Result<Open, RabbitMqError> {
        let connection = self.connector.connect("publish").await?;
        topology::declare(&connection, &self.connector.names).await?;
        let channel = step("opening a channel", connection.create_channel()).await?;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        step("asking for confirms", confirms).await?;
        Ok(Open {
            connection,
            channel,
        })
    }

    async fn drop_session(&self, session: &mut Session, error: &RabbitMqError) {
        failed(&self.state, "publishing to RabbitMQ", error);
        session.not_before = Instant::now() + session.pauses.next_delay();
        if let Some(open) = session.open.take() {
            close(&open.connection).await;
        }
    }

    /// Publishes a batch; true for each message that a queue has. One that got no answer may be in a
    /// queue all the same.
    pub(super) async fn publish(&self, batch: &[(Lane, Dispatch)]) -> Vec<bool> {
        let mut session = self.session.lock().await;
        let Some(open) = &session.open else {
            return vec![false; batch.len()];
        };
        let sending = batch
            .iter()
            .map(|(lane, dispatch)| self.send(&open.channel, *lane, dispatch));
        let outcomes: Vec<_> = join_all(sending).await;
        for outcome in &outcomes {
            let result = outcome
                .as_ref()
                .map_or_else(Failure::word, |()| "confirmed");
            metrics::counter!("redrive_messages_published_total", "result" => result).increment(1);
        }
        let returned = outcomes.iter().any(|o| matches!(o, Err(Failure::Returned)));
        let broken = outcomes.iter().find_map(|o| match o {
            Err(Failure::Broker(error)) => Some(error.clone()),
            _ => None,
        });
        let silent = outcomes.iter().any(|o| matches!(o, Err(Failure::Silent)));
        let blocked = open.is_blocked();
        if let Some(error) = broken {
            self.drop_session(&mut session, &error.into()).await;
        } else if blocked {
            // What it has not read yet may still be confirmed; it goes on when it has room.
            self.state.set(Link::Blocked);
        } else if silent {
            let error = RabbitMqError::Silent("confirming");
            self.drop_session(&mut session, &error).await;
        } else if returned {
            // A queue or a binding is gone: another connection declares them again.
            let error = RabbitMqError::Ended("a lane".to_owned());
            self.drop_session(&mut session, &error).await;
        }
        let confirmed: Vec<_> = outcomes.iter().map(Result::is_ok).collect();
        if confirmed.contains(&true) {
            // Only now: a connection on which nothing gets through is no better than none.
            session.pauses.reset();
        }
        confirmed
    }

    async fn send(
        &self,
        channel: &Channel,
        lane: Lane,
        dispatch: &Dispatch,
    ) -> Result<(), Failure> {
        // Every member of a dispatch is plain text.
        let body = dispatch.to_bytes().map_err(|_| Failure::Nacked)?;
        let published = channel.basic_publish(
            self.connector.names.exchange.as_str().into(),
            lane.as_str().into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            &body,
            properties(dispatch),
        );
        let confirmed = async { published.await?.await };
        let confirmed = timeout(CONFIRM, confirmed).await;
        match confirmed
            .map_err(|_| Failure::Silent)?
            .map_err(Failure::Broker)?
        {
            // Only this is success: with a message in it, it was returned, and no queue has it.
            Confirmation::Ack(None) => Ok(()),
            Confirmation::Ack(Some(_)) => Err(Failure::Returned),
            Confirmation::Nack(_) | Confirmation::NotRequested => Err(Failure::Nacked),
        }
    }

    pub(super) async fn close(&self) {
        let mut session = self.session.lock().await;
        if let Some(open) = session.open.take() {
            close(&open.connection).await;
        }
        self.state.set(Link::Paused);
    }
}

/// Why a message is not with the broker, or not known to be.
enum Failure {
    Nacked,
    Returned,
    Silent,
    Broker(lapin::Error),
}

impl Failure {
    fn word(&self) -> &'static str {
        match self {
            Self::Nacked => "nacked",
            Self::Returned => "returned",
            Self::Silent => "unconfirmed",
            Self::Broker(_) => "failed",
        }
    }
}

fn properties(dispatch: &Dispatch) -> BasicProperties {
    let mut properties = BasicProperties::default()
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into());
    // At most 255 bytes; ids are up to 128 characters of any length.
    if let Ok(id) = ShortString::try_new(dispatch.run_id.as_str()) {
        properties = properties.with_message_id(id);
    }
    let Some(traceparent) = &dispatch.traceparent else {
        return properties;
    };
    let mut headers = FieldTable::default();
    let text = AMQPValue::LongString(traceparent.as_str().into());
    headers.insert("traceparent".into(), text);
    properties.with_headers(headers)
}
