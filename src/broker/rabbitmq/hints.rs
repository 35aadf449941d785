//! Hints from process to process: a fan-out exchange that keeps nothing, over a connection of their
//! own. Nothing is confirmed, and what can't be sent at once is dropped.

use std::time::Duration;

use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel, Connection, Consumer, ExchangeKind,
    options::{
        BasicConsumeOptions, BasicPublishOptions, ExchangeDeclareOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::connection::{Connector, Link, RabbitMqError, State, close, over_and_over, step};
use crate::broker::{Hints, hints::Hint};

/// The name and version of the message's form.
const SCHEMA: &str = "redrive.hint.v1";

/// The least time between two messages. What comes meanwhile goes out together.
const QUIET: Duration = Duration::from_millis(2);

/// The most hints of one message.
const MOST_TOGETHER: usize = 200;

/// Hints that wait for a process that is slow to read them; older ones are dropped.
const MOST_WAITING: i32 = 1_000;

#[derive(Serialize, Deserialize)]
struct Envelope {
    schema: String,
    /// The process that says it.
    from: Uuid,
    hints: Vec<Hint>,
}

/// Tells the other processes what this one has to tell, and the other way round, until it is
/// stopped.
pub(super) async fn supervise(connector: &Connector, hints: &Hints, stop: CancellationToken) {
    let state = State::default();
    let pass = || pass(connector, hints, &state);
    over_and_over("passing hints through RabbitMQ", &state, stop, pass).await;
}

/// Passes hints over one connection, to its end.
async fn pass(connector: &Connector, hints: &Hints, state: &State) -> RabbitMqError {
    let connection = match connector.connect("hints").await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    let passed = pass_over(&connection, &connector.names.hints, hints, state).await;
    close(&connection).await;
    passed.err().unwrap_or(RabbitMqError::Lost)
}

async fn pass_over(
    connection: &Connection,
    exchange: &str,
    hints: &Hints,
    state: &State,
) -> Result<(), RabbitMqError> {
    let channel = step("opening a channel", connection.create_channel()).await?;
    let mut consumer = listen(&channel, exchange).await?;
    let own = Uuid::new_v4();
    let mut telling = hints.for_elsewhere();
    let mut not_before = Instant::now();
    state.set(Link::Up);
    // Whatever was said before.
    hints.heard(Hint::Due);
    loop {
        let something_to_tell = async {
            sleep_until(not_before).await;
            tokio::select! {
                () = hints.until_due_elsewhere() => Ok(Hint::Due),
                told = telling.recv() => told,
            }
        };
        let first = tokio::select! {
            raw = consumer.next() => {
                let Some(raw) = raw else {
                    return Err(RabbitMqError::Ended(exchange.to_owned()));
                };
                hear(&raw?.data, own, hints);
                continue;
            }
            told = something_to_tell => match told {
                Ok(hint) => hint,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => return Ok(()),
            },
        };
        let more = std::iter::from_fn(|| telling.try_recv().ok());
        let together = std::iter::once(first).chain(more).take(MOST_TOGETHER);
        let together = together.collect();
        not_before = Instant::now() + QUIET;
        // A broker that is short of memory reads nothing from who publishes.
        if !connection.status().blocked() {
            tell(&channel, exchange, own, together).await?;
        }
    }
}

/// Makes the exchange, which lives as long as somebody listens, and a queue of this process's own.
async fn listen(channel: &Channel, exchange: &str) -> Result<Consumer, RabbitMqError> {
    let passing = ExchangeDeclareOptions {
        auto_delete: true,
        ..ExchangeDeclareOptions::default()
    };
    let declaring = channel.exchange_declare(
        exchange.into(),
        ExchangeKind::Fanout,
        passing,
        FieldTable::default(),
    );
    step("declaring an exchange", declaring).await?;
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let mut bounded = FieldTable::default();
    bounded.insert("x-max-length".into(), AMQPValue::LongInt(MOST_WAITING));
    let queue = step(
        "declaring a queue",
        channel.queue_declare("".into(), own, bounded),
    )
    .await?;
    let queue = queue.name().as_str();
    let binding = channel.queue_bind(
        queue.into(),
        exchange.into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    step("binding a queue", binding).await?;
    let unacked = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consuming = channel.basic_consume(queue.into(), "".into(), unacked, FieldTable::default());
    step("consuming", consuming).await
}

/// What can't be read is of a version that has other things to say.
fn hear(bytes: &[u8], own: Uuid, hints: &Hints) {
    if let Ok(envelope) = serde_json::from_slice::<Envelope>(bytes)
        && envelope.schema == SCHEMA
        && envelope.from != own
    {
        envelope
            .hints
            .into_iter()
            .for_each(|hint| hints.heard(hint));
    }
}

async fn tell(
    channel: &Channel,
    exchange: &str,
    own: Uuid,
    hints: Vec<Hint>,
) -> Result<(), RabbitMqError> {
    let envelope = Envelope {
        schema: SCHEMA.to_owned(),
        from: own,
        hints,
    };
    let Ok(bytes) = serde_json::to_vec(&envelope) else {
        return Ok(());
    };
    let publishing = channel.basic_publish(
        exchange.into(),
        "".into(),
        BasicPublishOptions::default(),
        &bytes,
        BasicProperties::default(),
    );
    step("publishing hints", publishing).await.map(drop)
}
