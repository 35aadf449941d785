//! Only what a queue has confirmed is sent, and only what the broker was told is settled.

use std::time::Duration;

use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use redrive::{
    api::Metrics,
    broker::{Broker, Hints, Lanes, Link, RabbitMq},
    domain::Lane,
    outbox::Relay,
    store::WorkerReport,
};

use crate::support::{
    broker::{Consumer, Place, about, next, until},
    ledger::Ledger,
    proxy::{Proxy, server_of},
    rows::start,
};

/// Makes room in the window: somebody has slots.
pub(super) async fn somebody_has_slots(ledger: &Ledger) {
    let report = WorkerReport {
        name: "somebody".to_owned(),
        slots: 100,
        busy: 0,
    };
    ledger.store.worker_seen(&report).await.unwrap();
}

const UNSENT: &str = "select count(*) from outbox where sent_at is null";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_found_no_queue_stays_unsent_until_there_is_one() {
    let (ledger, place) = (Ledger::postgres().await, Place::shared().await);
    somebody_has_slots(&ledger).await;
    let rabbit = RabbitMq::new(&place.config()).unwrap();
    let broker = Broker::RabbitMq(rabbit.clone());
    assert!(broker.vacancy().await.interactive > 0);
    let queue = place.queue(Lane::Interactive);
    place.delete_queue(&queue).await;

    start(&ledger.store, "run_a").await;
    let relay = Relay::new(ledger.store.clone(), broker, Hints::default());
    assert_eq!(relay.run_once().await.unwrap(), 0);
    assert_eq!(ledger.count(UNSENT).await, 1);
    assert!(matches!(rabbit.status().publish, Link::Down(_)));
    // The next connection declares it again.
    until("sent", async || relay.run_once().await.unwrap() == 1).await;
    assert_eq!(ledger.count(UNSENT).await, 0);
    assert_eq!(place.ready(&queue).await, Some(1));
    rabbit.close().await;
    place.remove().await;
    ledger.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_full_queue_refuses_is_not_sent() {
    let place = Place::shared().await;
    let rabbit = RabbitMq::new(&place.config()).unwrap();
    rabbit.check().await.unwrap();
    let queue = place.queue(Lane::Bulk);
    place.delete_queue(&queue).await;
    let mut arguments = FieldTable::default();
    for (name, text) in [("x-queue-type", "quorum"), ("x-overflow", "reject-publish")] {
        arguments.insert(name.into(), AMQPValue::LongString(text.into()));
    }
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(1));
    let channel = place.channel().await;
    let declared = channel.queue_declare(
        queue.as_str().into(),
        QueueDeclareOptions::durable(),
        arguments,
    );
    declared.await.unwrap();
    let bound = channel.queue_bind(
        queue.as_str().into(),
        place.prefix.as_str().into(),
        "bulk".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.unwrap();

    // What is there with other arguments is taken as it is.
    let broker = Broker::RabbitMq(rabbit.clone());
    let (mut sent, mut refused) = (0, 0);
    until("refused", async || {
        assert!(broker.vacancy().await.bulk > 0);
        let outcome = broker.publish(vec![(Lane::Bulk, about("run"))]).await;
        *if outcome == [true] {
            &mut sent
        } else {
            &mut refused
        } += 1;
        refused > 3
    })
    .await;
    assert!(sent >= 1);
    place.until_ready(&queue, sent).await;
    // That is no fault of the connection.
    assert_eq!(rabbit.status().publish, Link::Up);
    rabbit.close().await;
    place.remove().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ack_that_nobody_heard_is_not_counted_as_one() {
    let metrics = Metrics::install();
    let place = Place::shared().await;
    let proxy = Proxy::to(server_of(&place.url));
    let consumer = Consumer::start(&place.config_through(&proxy), 1);
    let broker = consumer.broker();
    until("consuming", async || {
        consumer.rabbit.status().consume == Link::Up
    })
    .await;
    place.put_dispatch(Lane::Bulk, &about("run")).await;
    let delivery = next(&broker, Lanes::All).await;
    proxy.cut();
    until("noticed", async || {
        consumer.rabbit.status().consume != Link::Up
    })
    .await;
    delivery.receipt.ack().await;
    let counted = |result: &str| {
        let series = format!("redrive_messages_consumed_total{{result=\"{result}\"}} 1");
        metrics.render().contains(&series)
    };
    assert!(counted("unsettled") && !counted("acked"));
    // It comes again, and this time the broker hears it.
    let again = tokio::time::timeout(Duration::from_secs(10), next(&broker, Lanes::All));
    again.await.expect("it comes again").receipt.ack().await;
    assert!(counted("acked"));
    consumer.stop().await;
    place.until_ready(&place.queue(Lane::Bulk), 0).await;
    place.remove().await;
}
