//! What has to be there: an exchange, a queue for each lane, and a place for what can't be used.

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};

use super::connection::{RabbitMqError, step};
use crate::domain::{Lane, PerLane};

/// Deliveries of one message before it counts as unusable; the default of newer brokers. The ledger
/// keeps its own count, so a message that is lost by it is sent again.
const DELIVERY_LIMIT: i32 = 20;

/// The names of everything. The version in a queue's name changes with its arguments, which can't be
/// changed in place.
#[derive(Debug, Clone)]
pub(super) struct Names {
    /// The direct exchange; the routing key is the lane.
    pub(super) exchange: String,
    /// The queue of each lane.
    pub(super) lanes: PerLane<String>,
    /// The exchange that unusable messages go to.
    pub(super) dead_exchange: String,
    /// The queue that they end in.
    pub(super) dead_queue: String,
    /// The exchange that hints go through; it comes and goes with those who listen.
    pub(super) hints: String,
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            exchange: prefix.to_owned(),
            lanes: PerLane::from_fn(|lane| format!("{prefix}.{}.v1", lane.as_str())),
            dead_exchange: format!("{prefix}.dead"),
            dead_queue: format!("{prefix}.dead.v1"),
            hints: format!("{prefix}.hints"),
        }
    }
}

/// Declares everything. What is there with other arguments, or can't be declared by this user, is
/// taken as it is.
///
/// # Errors
/// Something is missing and can't be made.
pub(super) async fn declare(connection: &Connection, names: &Names) -> Result<(), RabbitMqError> {
    let channel = step("opening a channel", connection.create_channel()).await?;
    let Err(refused) = declare_on(&channel, names).await else {
        return step("closing a channel", channel.close(200, "done".into())).await;
    };
    if !is_refusal(&refused) {
        return Err(refused);
    }
    // The refusal has closed the channel.
    let channel = step("opening a channel", connection.create_channel()).await?;
    look(&channel, names).await?;
    tracing::debug!(%refused, "using exchanges and queues as they are");
    step("closing a channel", channel.close(200, "done".into())).await
}

/// 403 without the right to configure, 406 when it is there with other arguments.
fn is_refusal(error: &RabbitMqError) -> bool {
    matches!(reply_code(error), Some(403 | 406))
}

/// The code that the broker refused with.
fn reply_code(error: &RabbitMqError) -> Option<u16> {
    let RabbitMqError::Broker(error) = error else {
        return None;
    };
    if let lapin::ErrorKind::ProtocolError(error) = error.kind() {
        return Some(error.get_id());
    }
    None
}

async fn declare_on(channel: &Channel, names: &Names) -> Result<(), RabbitMqError> {
    let exchanges = [
        (&names.exchange, ExchangeKind::Direct),
        (&names.dead_exchange, ExchangeKind::Fanout),
    ];
    for (name, kind) in exchanges {
        let durable = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let declared =
            channel.exchange_declare(name.as_str().into(), kind, durable, FieldTable::default());
        step("declaring an exchange", declared).await?;
    }
    let dead = &names.dead_queue;
    declare_queue(channel, dead, FieldTable::default()).await?;
    bind(channel, dead, &names.dead_exchange, "").await?;
    for lane in Lane::ALL {
        let queue = names.lanes.of(lane);
        declare_queue(channel, queue, lane_arguments(names)).await?;
        bind(channel, queue, &names.exchange, lane.as_str()).await?;
    }
    Ok(())
}

/// What is dead-lettered gets there: the broker keeps it until the other queue has confirmed it,
/// which takes all three of strategy, overflow and exchange.
fn lane_arguments(names: &Names) -> FieldTable {
    let mut arguments = FieldTable::default();
    let texts = [
        ("x-dead-letter-exchange", names.dead_exchange.as_str()),
        ("x-dead-letter-strategy", "at-least-once"),
        ("x-overflow", "reject-publish"),
    ];
    for (name, value) in texts {
        arguments.insert(name.into(), AMQPValue::LongString(value.into()));
    }
    arguments.insert(
        "x-delivery-limit".into(),
        AMQPValue::LongInt(DELIVERY_LIMIT),
    );
    arguments
}

async fn declare_queue(
    channel: &Channel,
    name: &str,
    mut arguments: FieldTable,
) -> Result<(), RabbitMqError> {
    // Replicated, and confirmed once a majority has it; a policy can't choose the type.
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let declared = channel.queue_declare(name.into(), QueueDeclareOptions::durable(), arguments);
    step("declaring a queue", declared).await?;
    Ok(())
}

async fn bind(
    channel: &Channel,
    queue: &str,
    exchange: &str,
    key: &str,
) -> Result<(), RabbitMqError> {
    let bound = channel.queue_bind(
        queue.into(),
        exchange.into(),
        key.into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    step("binding a queue", bound).await
}

/// Finds everything there, whatever its arguments.
async fn look(channel: &Channel, names: &Names) -> Result<(), RabbitMqError> {
    for part in names.parts() {
        find(channel, part).await?;
    }
    Ok(())
}

/// The names of what is not there. Nothing is made.
///
/// # Errors
/// The broker did not answer, or doesn't let us look.
pub(super) async fn missing(
    connection: &Connection,
    names: &Names,
) -> Result<Vec<String>, RabbitMqError> {
    let mut missing = Vec::new();
    for part in names.parts() {
        // What is missing closes the channel.
        let channel = step("opening a channel", connection.create_channel()).await?;
        match find(&channel, part).await {
            Ok(()) => step("closing a channel", channel.close(200, "done".into())).await?,
            Err(error) if reply_code(&error) == Some(NOT_FOUND) => missing.push(part.to_string()),
            Err(error) => return Err(error),
        }
    }
    Ok(missing)
}

/// The broker's word for what is not there.
const NOT_FOUND: u16 = 404;

/// Something that has to be there, by its name.
#[derive(Debug, Clone, Copy)]
enum Part<'a> {
    Exchange(&'a str),
    Queue(&'a str),
}

impl std::fmt::Display for Part<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exchange(name) => write!(f, "exchange {name}"),
            Self::Queue(name) => write!(f, "queue {name}"),
        }
    }
}

impl Names {
    fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let exchanges = [&self.exchange, &self.dead_exchange];
        let lanes = Lane::ALL.map(|lane| self.lanes.of(lane));
        let queues = lanes.into_iter().chain([&self.dead_queue]);
        let exchanges = exchanges.into_iter().map(|name| Part::Exchange(name));
        exchanges.chain(queues.map(|name| Part::Queue(name)))
    }
}

/// Finds one thing there.
async fn find(channel: &Channel, part: Part<'_>) -> Result<(), RabbitMqError> {
    let name = match part {
        Part::Queue(name) => return ready(channel, name).await.map(|_| ()),
        Part::Exchange(name) => name,
    };
    let passive = ExchangeDeclareOptions {
        passive: true,
        ..ExchangeDeclareOptions::default()
    };
    // Its kind is not compared when it is only looked for.
    let kind = ExchangeKind::Direct;
    let found = channel.exchange_declare(name.into(), kind, passive, FieldTable::default());
    step("looking for an exchange", found).await
}

/// How many messages of a queue wait for a consumer.
///
/// # Errors
/// There is no such queue, or no answer.
pub(super) async fn ready(channel: &Channel, queue: &str) -> Result<u32, RabbitMqError> {
    let passive = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let found = channel.queue_declare(queue.into(), passive, FieldTable::default());
    Ok(step("looking for a queue", found).await?.message_count())
}
