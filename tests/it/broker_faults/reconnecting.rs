//! A consumer that is cut off comes back, however that happened. With the recovery of the library
//! some of these would leave it waiting for ever, without an error.

use std::time::Duration;

use redrive::{
    broker::{Lanes, Link},
    domain::Lane,
};
use tokio::time::{Instant, timeout};

use crate::support::{
    broker::{Consumer, Place, about, next, publish, until},
    proxy::{Flow, Proxy, impossible_ack, server_of},
};

/// Those of a connection that consumes: the lanes', and the watchdog's. The first one declared the
/// queues, and is closed.
const CHANNELS: [u8; 4] = [2, 3, 4, 5];

/// How soon a consumer is back once its broker is.
const SOON: Duration = Duration::from_secs(10);

/// A consumer that a proxy stands before.
struct Wire {
    place: Place,
    proxy: Proxy,
    consumer: Consumer,
}

impl Wire {
    async fn start() -> Self {
        let place = Place::shared().await;
        let proxy = Proxy::to(server_of(&place.url));
        Self::over(place, proxy)
    }

    fn over(place: Place, proxy: Proxy) -> Self {
        let consumer = Consumer::start(&place.config_through(&proxy), 8);
        Self {
            place,
            proxy,
            consumer,
        }
    }

    fn consuming(&self) -> Link {
        self.consumer.rabbit.status().consume
    }

    /// A message that somebody else publishes arrives.
    async fn carries(&self, run: &str) {
        until("published", async || {
            self.place.try_put_dispatch(Lane::Bulk, &about(run)).await
        })
        .await;
        self.brings(run).await;
    }

    /// The message arrives, after others perhaps: an ack that was on its way when the wire was cut
    /// is lost, and its message comes again.
    async fn brings(&self, run: &str) {
        loop {
            let delivery = next(&self.consumer.broker(), Lanes::All).await;
            let is_it = delivery.message == message(run);
            delivery.receipt.ack().await;
            if is_it {
                return;
            }
        }
    }

    /// The consumer notices, and is back soon.
    async fn notices_and_comes_back(&self, what: &str) {
        let noticing = until(what, async || matches!(self.consuming(), Link::Down(_)));
        timeout(SOON, noticing).await.expect(what);
        let noticed = Instant::now();
        self.carries(what).await;
        assert!(noticed.elapsed() < SOON, "{what}: {:?}", noticed.elapsed());
        assert_eq!(self.consuming(), Link::Up);
    }

    /// Settles whatever is left: what got no confirm may be in a queue all the same.
    async fn drain(&self) {
        let broker = self.consumer.broker();
        let queue = self.place.queue(Lane::Bulk);
        while let Ok(left) = timeout(Duration::from_millis(500), broker.next(Lanes::All)).await {
            left.receipt.ack().await;
        }
        self.place.until_ready(&queue, 0).await;
    }

    async fn finish(self) {
        self.consumer.stop().await;
        for lane in Lane::ALL {
            self.place.until_ready(&self.place.queue(lane), 0).await;
        }
        self.place.until_ready(&self.place.dead_queue(), 0).await;
        self.place.remove().await;
    }
}

fn message(run: &str) -> redrive::broker::Message {
    redrive::broker::Message::Dispatch(about(run))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_queue_was_deleted_declares_it_again_and_comes_back() {
    let wire = Wire::start().await;
    wire.carries("before").await;
    for lane in Lane::ALL {
        wire.place.delete_queue(&wire.place.queue(lane)).await;
        wire.notices_and_comes_back(lane.as_str()).await;
    }
    wire.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_consumer_whose_channel_the_broker_closed_comes_back() {
    let wire = Wire::start().await;
    wire.carries("before").await;
    // The channels of the three lanes, and the one of the watchdog.
    for channel in CHANNELS {
        wire.proxy.say_to_server(impossible_ack(channel));
        let what = format!("channel-{channel}");
        wire.notices_and_comes_back(&what).await;
    }
    wire.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_whose_connections_end_comes_back() {
    let wire = Wire::start().await;
    let broker = wire.consumer.broker();
    wire.carries("before").await;
    wire.proxy.cut();
    wire.notices_and_comes_back("cut").await;
    wire.proxy.half_close();
    wire.notices_and_comes_back("half-closed").await;
    // The same with the connection that publishes.
    for run in ["first", "second"] {
        let published = publish(&broker, Lane::Bulk, about(run));
        timeout(SOON, published).await.expect("published");
        timeout(SOON, wire.brings(run)).await.expect(run);
        wire.proxy.cut();
    }
    wire.notices_and_comes_back("cut-again").await;
    wire.finish().await;
}

/// On one thread, so that the consumer sees nothing between the two.
#[tokio::test]
async fn what_was_abandoned_comes_again_however_short_the_pause_was() {
    let place = Place::shared().await;
    let consumer = Consumer::start(&place.config(), 1);
    let (broker, rabbit) = (consumer.broker(), consumer.rabbit.clone());
    publish(&broker, Lane::Bulk, about("abandoned")).await;
    drop(next(&broker, Lanes::All).await);
    rabbit.pause();
    rabbit.resume();
    let again = next(&broker, Lanes::All).await;
    assert_eq!(again.message, message("abandoned"));
    again.receipt.ack().await;
    consumer.stop().await;
    place.until_ready(&place.queue(Lane::Bulk), 0).await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_may_come_after_its_clients() {
    let place = Place::shared().await;
    let proxy = Proxy::refusing(server_of(&place.url));
    let wire = Wire::over(place, proxy);
    let broker = wire.consumer.broker();
    until("refused", async || {
        matches!(wire.consuming(), Link::Down(_))
    })
    .await;
    assert_eq!(broker.vacancy().await.interactive, 0);
    assert_eq!(
        broker.publish(vec![(Lane::Bulk, about("a"))]).await,
        [false]
    );
    wire.proxy.accept();
    let back = Instant::now();
    wire.carries("now").await;
    publish(&broker, Lane::Bulk, about("too")).await;
    assert!(back.elapsed() < SOON, "{:?}", back.elapsed());
    next(&broker, Lanes::All).await.receipt.ack().await;
    wire.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wire_that_carries_nothing_is_noticed() {
    let wire = Wire::start().await;
    let broker = wire.consumer.broker();
    publish(&broker, Lane::Bulk, about("before")).await;
    next(&broker, Lanes::All).await.receipt.ack().await;
    let began = Instant::now();
    wire.proxy.set(Flow::Nothing);
    // Nobody answers, so nothing is confirmed; and nobody waits for it for long.
    let batch = (0..100).map(|n| (Lane::Bulk, about(&n.to_string())));
    let outcomes = broker.publish(batch.collect()).await;
    assert_eq!(outcomes, [false; 100]);
    assert!(began.elapsed() < Duration::from_secs(20), "publishing");
    let limit = Duration::from_mins(1);
    let noticing = async {
        while !matches!(wire.consuming(), Link::Down(_)) {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(limit, noticing).await.expect("noticed");
    println!("noticed after {:?}", began.elapsed());
    wire.proxy.set(Flow::Both);
    let healed = Instant::now();
    publish(&broker, Lane::Interactive, about("after")).await;
    let delivery = next(&broker, Lanes::Interactive).await;
    assert_eq!(delivery.message, message("after"));
    delivery.receipt.ack().await;
    let took = healed.elapsed();
    assert!(took < Duration::from_secs(20), "{took:?}");
    wire.drain().await;
    wire.finish().await;
}
