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
}

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            exchange: prefix.to_owned(),
            lanes: PerLane::from_fn(|lane| format!("{prefix}.{}.v1", lane.as_str())),
            dead_exchange: format!("{prefix}.dead"),
            dead_queue: format!("{prefix}.dead.v1"),
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
    let RabbitMqError::Broker(error) = error else {
        return false;
    };
    matches!(error.kind(), lapin::ErrorKind::ProtocolError(e) if matches!(e.get_id(), 403 | 406))
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
    let exchanges = [
        (&names.exchange, ExchangeKind::Direct),
        (&names.dead_exchange, ExchangeKind::Fanout),
    ];
    for (name, kind) in exchanges {
        let passive = ExchangeDeclareOptions {
            passive: true,
            ..ExchangeDeclareOptions::default()
        };
        let found =
            channel.exchange_declare(name.as_str().into(), kind, passive, FieldTable::default());
        step("looking for an exchange", found).await?;
    }
    let queues = Lane::ALL.map(|lane| names.lanes.of(lane));
    for queue in queues.into_iter().chain([&names.dead_queue]) {
        ready(channel, queue).await?;
    }
    Ok(())
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
