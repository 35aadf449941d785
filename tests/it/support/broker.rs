//! Exchanges and queues of a test's own on the RabbitMQ of the test run.

use std::time::Duration;

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use redrive::{
    broker::{Broker, Delivery, Dispatch, Lanes, RabbitMq},
    config::{BrokerConfig, Secret},
    domain::Lane,
};
use tokio::time::{Instant, timeout};

use super::{proxy::Proxy, services::amqp_url};

/// How long anything may take that has no limit of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A place on a broker, seen by a client that is not ours.
pub(crate) struct Place {
    pub(crate) url: String,
    pub(crate) prefix: String,
    connection: Connection,
}

impl Place {
    /// On the broker that all tests share.
    pub(crate) async fn shared() -> Self {
        Self::on(&amqp_url()).await
    }

    pub(crate) async fn on(url: &str) -> Self {
        Self {
            url: url.to_owned(),
            prefix: format!("redrive-test-{}", uuid::Uuid::new_v4().simple()),
            connection: connect(url).await,
        }
    }

    /// What our side is configured with.
    pub(crate) fn config(&self) -> BrokerConfig {
        BrokerConfig {
            url: Some(Secret::new(&self.url)),
            prefix: self.prefix.clone(),
            ..BrokerConfig::default()
        }
    }

    /// The same through a proxy.
    pub(crate) fn config_through(&self, proxy: &Proxy) -> BrokerConfig {
        BrokerConfig {
            url: Some(Secret::new(proxy.instead_of_server(&self.url))),
            ..self.config()
        }
    }

    pub(crate) fn queue(&self, lane: Lane) -> String {
        format!("{}.{}.v1", self.prefix, lane.as_str())
    }

    pub(crate) fn dead_queue(&self) -> String {
        format!("{}.dead.v1", self.prefix)
    }

    pub(crate) async fn channel(&self) -> Channel {
        self.connection.create_channel().await.unwrap()
    }

    /// Puts something into the exchange as anybody may; it must find a queue.
    pub(crate) async fn put(&self, key: &str, body: &[u8]) {
        assert!(self.try_put(key, body).await, "no queue for {key}");
    }

    /// Puts something into the exchange that hints go through.
    pub(crate) async fn put_hint(&self, body: &[u8]) {
        assert!(self.try_put_hint(body).await, "nobody listens");
    }

    /// The same; whether anybody listens.
    pub(crate) async fn try_put_hint(&self, body: &[u8]) -> bool {
        let exchange = format!("{}.hints", self.prefix);
        self.try_put_into(&exchange, "", body).await
    }

    /// Puts something into the exchange; whether it found a queue.
    pub(crate) async fn try_put(&self, key: &str, body: &[u8]) -> bool {
        self.try_put_into(&self.prefix, key, body).await
    }

    async fn try_put_into(&self, exchange: &str, key: &str, body: &[u8]) -> bool {
        let channel = self.channel().await;
        let confirms = channel.confirm_select(ConfirmSelectOptions::default());
        confirms.await.unwrap();
        let published = channel.basic_publish(
            exchange.into(),
            key.into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            body,
            BasicProperties::default().with_delivery_mode(2),
        );
        // Without the exchange the broker closes the channel.
        let is_confirmed = matches!(published.await.unwrap().await, Ok(Confirmation::Ack(None)));
        let _ = channel.close(200, "done".into()).await;
        is_confirmed
    }

    pub(crate) async fn put_dispatch(&self, lane: Lane, dispatch: &Dispatch) {
        let bytes = dispatch.to_bytes().unwrap();
        self.put(lane.as_str(), &bytes).await;
    }

    /// Whether a message found a queue.
    pub(crate) async fn try_put_dispatch(&self, lane: Lane, dispatch: &Dispatch) -> bool {
        let bytes = dispatch.to_bytes().unwrap();
        self.try_put(lane.as_str(), &bytes).await
    }

    /// How many messages wait in a queue; none if there is no such queue.
    pub(crate) async fn ready(&self, queue: &str) -> Option<u32> {
        self.look(queue).await.map(|(ready, _)| ready)
    }

    /// Waits until somebody consumes from a queue, or nobody.
    pub(crate) async fn until_consumed(&self, queue: &str, is_consumed: bool) {
        until(&format!("{queue} consumed: {is_consumed}"), async || {
            let found = self.look(queue).await;
            found.is_some_and(|(_, consumers)| (consumers > 0) == is_consumed)
        })
        .await;
    }

    /// Messages that wait in a queue, and its consumers.
    pub(crate) async fn look(&self, queue: &str) -> Option<(u32, u32)> {
        let passive = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let channel = self.channel().await;
        let found = channel.queue_declare(queue.into(), passive, FieldTable::default());
        let found = found.await.ok();
        let _ = channel.close(200, "done".into()).await;
        found.map(|queue| (queue.message_count(), queue.consumer_count()))
    }

    /// Waits until so many messages wait in a queue.
    pub(crate) async fn until_ready(&self, queue: &str, expected: u32) {
        let limit = Instant::now() + PATIENCE;
        loop {
            let found = self.look(queue).await;
            if found.is_some_and(|(ready, _)| ready == expected) {
                return;
            }
            if Instant::now() >= limit {
                let dead = self.ready(&self.dead_queue()).await;
                panic!("{queue} has {found:?} (ready, consumers), not {expected}; dead: {dead:?}");
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub(crate) async fn delete_queue(&self, queue: &str) {
        let channel = self.channel().await;
        let options = QueueDeleteOptions::default();
        let deleted = channel.queue_delete(queue.into(), options).await;
        deleted.unwrap();
        channel.close(200, "done".into()).await.unwrap();
    }

    /// Removes what our side has declared.
    pub(crate) async fn remove(self) {
        for lane in Lane::ALL {
            self.delete_queue(&self.queue(lane)).await;
        }
        self.delete_queue(&self.dead_queue()).await;
        let channel = self.channel().await;
        for exchange in [self.prefix.clone(), format!("{}.dead", self.prefix)] {
            let options = ExchangeDeleteOptions::default();
            let deleted = channel.exchange_delete(exchange.as_str().into(), options);
            deleted.await.unwrap();
        }
        self.connection.close(200, "done".into()).await.unwrap();
    }
}

/// A connection of a client that is not ours.
pub(crate) async fn connect(url: &str) -> Connection {
    let properties = ConnectionProperties::default();
    Connection::connect(url, properties).await.unwrap()
}

/// Takes a message without settling it.
pub(crate) async fn get(channel: &Channel, queue: &str) -> Option<BasicGetMessage> {
    let options = BasicGetOptions::default();
    channel.basic_get(queue.into(), options).await.unwrap()
}

/// How often the broker says that a message has been given out before.
pub(crate) fn given_out_before(message: &BasicGetMessage) -> i64 {
    let headers = message.properties.headers().clone().unwrap_or_default();
    match headers.inner().get("x-delivery-count") {
        Some(AMQPValue::LongLongInt(times)) => *times,
        Some(AMQPValue::LongInt(times)) => i64::from(*times),
        _ => 0,
    }
}

/// Waits until something is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let limit = Instant::now() + PATIENCE;
    while !is_so().await {
        assert!(Instant::now() < limit, "it did not come to this: {what}");
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A message about a run.
pub(crate) fn about(run: &str) -> Dispatch {
    let organization = "org_test".parse().unwrap();
    Dispatch::new(run.parse().unwrap(), None, organization, None)
}

/// Publishes through our side, as soon as it can.
pub(crate) async fn publish(broker: &Broker, lane: Lane, dispatch: Dispatch) {
    until("published", async || {
        broker.vacancy().await.of(lane) > &0
            && broker.publish(vec![(lane, dispatch.clone())]).await == [true]
    })
    .await;
}

/// The next delivery, within the patience of a test.
pub(crate) async fn next(broker: &Broker, lanes: Lanes) -> Delivery {
    let next = timeout(PATIENCE, broker.next(lanes)).await;
    next.expect("nothing was delivered")
}

/// A client of ours that consumes.
pub(crate) struct Consumer {
    pub(crate) rabbit: RabbitMq,
    stop: tokio_util::sync::CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Consumer {
    pub(crate) fn start(config: &BrokerConfig, prefetch: u16) -> Self {
        let rabbit = RabbitMq::new(config).unwrap();
        let stop = tokio_util::sync::CancellationToken::new();
        let (consuming, stopped) = (rabbit.clone(), stop.clone());
        let task = tokio::spawn(async move { consuming.consume(prefetch, stopped).await });
        Self { rabbit, stop, task }
    }

    pub(crate) fn broker(&self) -> Broker {
        Broker::RabbitMq(self.rabbit.clone())
    }

    /// Lets go of its connections.
    pub(crate) async fn stop(self) {
        self.stop.cancel();
        self.task.await.unwrap();
        self.rabbit.close().await;
    }
}
