//! What only the broker's operator can do: alarms, forced closes, restarts, short ack time-outs.

use std::{collections::HashSet, time::Duration};

use redrive::{
    broker::{Broker, Lanes, Link, Message, RabbitMq},
    domain::{Lane, PerLane},
};
use serde_json::json;
use tokio::time::{Instant, timeout};

use super::definition;
use crate::support::{
    app::TestApp,
    broker::{Consumer, Place, about, next, publish, until},
    ledger::Ledger,
    private_broker::PrivateBroker,
    target::Target,
};

const SOON: Duration = Duration::from_secs(10);

/// One broker for all of it: a start takes long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trouble_with_the_broker_passes() {
    let server = PrivateBroker::start().await;
    forced_closes_and_restarts(&server).await;
    a_memory_alarm(&server).await;
    a_delivery_that_is_held_too_long(&server).await;
}

/// Another message passes through, soon.
async fn passes(consumer: &Consumer, run: &str) {
    let broker = consumer.broker();
    let passing = async {
        publish(&broker, Lane::Bulk, about(run)).await;
        next(&broker, Lanes::All).await
    };
    let delivery = timeout(SOON, passing).await.expect(run);
    assert_eq!(delivery.message, Message::Dispatch(about(run)));
    delivery.receipt.ack().await;
}

async fn until_down(consumer: &Consumer) {
    until("noticed", async || {
        matches!(consumer.rabbit.status().consume, Link::Down(_))
    })
    .await;
}

async fn forced_closes_and_restarts(server: &PrivateBroker) {
    let place = Place::on(&server.url).await;
    let consumer = Consumer::start(&place.config(), 8);
    passes(&consumer, "before").await;
    server
        .control(&["close_all_connections", "maintenance"])
        .await;
    until_down(&consumer).await;
    passes(&consumer, "after-a-forced-close").await;
    server.control(&["stop_app"]).await;
    until_down(&consumer).await;
    assert_eq!(consumer.broker().vacancy().await, PerLane::default());
    server.control(&["start_app"]).await;
    passes(&consumer, "after-a-restart").await;
    consumer.stop().await;
}

/// The broker closes the channel of whoever does not settle.
async fn a_delivery_that_is_held_too_long(server: &PrivateBroker) {
    let set = |name| format!("application:set_env(rabbit, {name}, 500)");
    let both = format!(
        "{}, {}.",
        set("consumer_timeout"),
        set("channel_tick_interval")
    );
    server.control(&["eval", &both]).await;
    let place = Place::on(&server.url).await;
    let consumer = Consumer::start(&place.config(), 8);
    let broker = consumer.broker();
    publish(&broker, Lane::Bulk, about("held")).await;
    let held = next(&broker, Lanes::All).await;
    until_down(&consumer).await;
    held.receipt.ack().await;
    let again = timeout(SOON, next(&broker, Lanes::All)).await;
    let again = again.expect("it comes again");
    assert_eq!(again.message, Message::Dispatch(about("held")));
    again.receipt.ack().await;
    consumer.stop().await;
    place.remove().await;
}

async fn alarm(server: &PrivateBroker, is_on: bool) {
    let watermark = if is_on { "0.00001" } else { "0.4" };
    server
        .control(&["set_vm_memory_high_watermark", watermark])
        .await;
}

/// The broker reads nothing from whoever publishes.
async fn a_memory_alarm(server: &PrivateBroker) {
    let place = Place::on(&server.url).await;
    let consumer = Consumer::start(&place.config(), 8);
    for run in ["first", "second", "third"] {
        publish(&consumer.broker(), Lane::Interactive, about(run)).await;
    }
    let first = next(&consumer.broker(), Lanes::All).await;
    let office = Office::open(server).await;

    alarm(server, true).await;
    let publisher = RabbitMq::new(&place.config()).unwrap();
    let broker = Broker::RabbitMq(publisher.clone());
    let acking = async {
        // The connection that consumes goes on.
        first.receipt.ack().await;
        for _ in 0..2 {
            next(&consumer.broker(), Lanes::All)
                .await
                .receipt
                .ack()
                .await;
        }
        assert_eq!(consumer.rabbit.status().consume, Link::Up);
        consumer.stop().await;
        place.until_ready(&place.queue(Lane::Interactive), 0).await;
    };
    tokio::join!(acking, publishing_is_bounded(&publisher), office.works());

    alarm(server, false).await;
    until("unblocked", async || broker.vacancy().await.bulk > 0).await;
    assert_eq!(publisher.status().publish, Link::Up);
    publish(&broker, Lane::Bulk, about("last")).await;
    let consumer = Consumer::start(&place.config(), 8);
    nothing_comes_twice(&consumer.broker()).await;
    consumer.stop().await;
    publisher.close().await;
    place.until_ready(&place.queue(Lane::Bulk), 0).await;
    place.remove().await;
    office.close().await;
}

async fn publishing_is_bounded(publisher: &RabbitMq) {
    let broker = Broker::RabbitMq(publisher.clone());
    assert!(
        broker.vacancy().await.bulk > 0,
        "nobody says so before a try"
    );
    let began = Instant::now();
    let names = (0..256).map(|n| format!("run{n}"));
    let batch = names.map(|run| (Lane::Bulk, about(&run))).collect();
    assert_eq!(broker.publish(batch).await, [false; 256]);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(15), "{took:?}");
    assert_eq!(publisher.status().publish, Link::Blocked);
    // Nothing more is put into the memory of this process.
    let asked = Instant::now();
    assert_eq!(broker.vacancy().await, PerLane::default());
    assert!(asked.elapsed() < Duration::from_secs(1));
}

/// What had no confirm may have got through all the same, but then once.
async fn nothing_comes_twice(broker: &Broker) {
    let mut seen = HashSet::new();
    while !seen.contains("last") {
        let delivery = next(broker, Lanes::All).await;
        let Message::Dispatch(dispatch) = &delivery.message else {
            panic!("{delivery:?}");
        };
        assert!(
            seen.insert(dispatch.run_id.to_string()),
            "{dispatch:?} twice"
        );
        delivery.receipt.ack().await;
    }
}

/// A whole application beside it.
struct Office {
    place: Place,
    target: Target,
    app: TestApp,
}

impl Office {
    async fn open(server: &PrivateBroker) -> Self {
        let place = Place::on(&server.url).await;
        let app = TestApp::start_with(Ledger::postgres().await, |c| {
            c.broker = place.config();
            c.worker.slots = 4;
        })
        .await;
        let target = Target::start().await;
        Self { place, target, app }
    }

    async fn start(&self, path: &str) -> String {
        let definition = definition(&self.target.url(path));
        self.app.start_run(&definition, &json!({})).await
    }

    /// Nothing that was accepted waits for the broker.
    async fn works(&self) {
        let mut runs = Vec::new();
        for n in 0..40 {
            runs.push(self.start(&format!("/work/{n}")).await);
        }
        for run in &runs {
            assert_eq!(self.app.ended(run).await["status"], "success");
        }
    }

    async fn close(self) {
        let last = self.start("/last").await;
        assert_eq!(self.app.ended(&last).await["status"], "success");
        let ledger = self.app.stop().await;
        for lane in Lane::ALL {
            self.place.until_ready(&self.place.queue(lane), 0).await;
        }
        for n in 0..40 {
            assert_eq!(self.target.calls_of(&format!("/work/{n}")).len(), 1);
        }
        ledger.remove().await;
        self.place.remove().await;
    }
}
