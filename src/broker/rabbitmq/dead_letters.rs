//! The dead-letter queue: what is in it is handed over, and taken off it once that is done.

use futures_util::{StreamExt, future::BoxFuture};
use lapin::{
    Connection,
    message::Delivery as Raw,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions},
    types::{AMQPValue, FieldTable},
};
use serde_json::{Map, Value, json};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{
    connection::{Connector, Link, RabbitMqError, STEP, State, close, over_and_over, pauses, step},
    topology,
};

/// Dead letters that are here at once.
const PREFETCH: u16 = 16;

/// A message that could not be used, as the broker tells it.
#[derive(Debug, Clone)]
pub struct Dead {
    /// Its bytes.
    pub body: Vec<u8>,
    /// Its headers, as far as JSON can say them.
    pub headers: Map<String, Value>,
    /// The queue that it was in.
    pub queue: Option<String>,
    /// The broker's word for why it left: `rejected`, `delivery_limit`, ...
    pub reason: Option<String>,
}

/// Somebody who keeps dead letters.
pub trait DeadLetters: Send + Sync {
    /// Keeps one; false if that is not possible now, and it has to stay in its queue.
    fn keep(&self, dead: Dead) -> BoxFuture<'_, bool>;
}

/// Hands dead letters over until it is stopped.
pub(super) async fn supervise(
    connector: &Connector,
    letters: &dyn DeadLetters,
    stop: CancellationToken,
) {
    let state = State::default();
    let drain = || drain(connector, letters, &state);
    over_and_over("draining the dead letters of RabbitMQ", &state, stop, drain).await;
}

/// Drains over one connection, to its end.
async fn drain(connector: &Connector, letters: &dyn DeadLetters, state: &State) -> RabbitMqError {
    let connection = match connector.connect("dead letters").await {
        Ok(connection) => connection,
        Err(error) => return error,
    };
    let drained = drain_over(&connection, connector, letters, state).await;
    close(&connection).await;
    drained.err().unwrap_or(RabbitMqError::Lost)
}

async fn drain_over(
    connection: &Connection,
    connector: &Connector,
    letters: &dyn DeadLetters,
    state: &State,
) -> Result<(), RabbitMqError> {
    topology::declare(connection, &connector.names).await?;
    let channel = step("opening a channel", connection.create_channel()).await?;
    let qos = channel.basic_qos(PREFETCH, BasicQosOptions::default());
    step("setting the prefetch", qos).await?;
    let queue = connector.names.dead_queue.as_str();
    let consuming = channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let mut consumer = step("consuming", consuming).await?;
    state.set(Link::Up);
    while let Some(raw) = consumer.next().await {
        let raw = raw?;
        let acker = raw.acker.clone();
        keep(letters, dead(raw)).await;
        let told = timeout(STEP, acker.ack(BasicAckOptions::default())).await;
        if !matches!(told, Ok(Ok(true))) {
            return Err(RabbitMqError::Lost);
        }
    }
    Err(RabbitMqError::Ended(queue.to_owned()))
}

/// Keeps one, however long that takes: giving it back would count against it, and in the end the
/// broker would drop it.
async fn keep(letters: &dyn DeadLetters, dead: Dead) {
    let mut delays = pauses();
    while !letters.keep(dead.clone()).await {
        tokio::time::sleep(delays.next_delay()).await;
    }
}

fn dead(raw: Raw) -> Dead {
    let headers = raw.properties.headers().clone().unwrap_or_default();
    let text = |name: &str| match headers.inner().get(name) {
        Some(AMQPValue::LongString(text)) => Some(text.to_string()),
        _ => None,
    };
    Dead {
        queue: text("x-first-death-queue"),
        reason: text("x-first-death-reason"),
        headers: table(&headers),
        body: raw.data,
    }
}

fn table(table: &FieldTable) -> Map<String, Value> {
    let members = table.inner().iter();
    members
        .map(|(name, value)| (name.to_string(), value_of(value)))
        .collect()
}

fn value_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(is) => json!(is),
        AMQPValue::ShortShortInt(n) => json!(n),
        AMQPValue::ShortShortUInt(n) => json!(n),
        AMQPValue::ShortInt(n) => json!(n),
        AMQPValue::ShortUInt(n) => json!(n),
        AMQPValue::LongInt(n) => json!(n),
        AMQPValue::LongUInt(n) => json!(n),
        AMQPValue::LongLongInt(n) => json!(n),
        AMQPValue::Timestamp(seconds) => json!(seconds),
        AMQPValue::ShortString(text) => json!(text.as_str()),
        AMQPValue::LongString(text) => json!(text.to_string()),
        AMQPValue::FieldArray(array) => array.as_slice().iter().map(value_of).collect(),
        AMQPValue::FieldTable(inner) => Value::Object(table(inner)),
        AMQPValue::Void => Value::Null,
        other @ (AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::ByteArray(_)) => json!(format!("{other:?}")),
    }
}
