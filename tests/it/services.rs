//! The servers answer, with the guarantees the product leans on.

use lapin::message::BasicReturnMessage;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use sqlx::{Connection as _, PgConnection};

use crate::support::services::{amqp_url, database_url};

#[tokio::test]
async fn postgresql_answers_a_superuser_and_keeps_fsync_on() {
    let mut connection = PgConnection::connect(&database_url()).await.unwrap();
    let (superuser, fsync): (String, String) =
        sqlx::query_as("select current_setting('is_superuser'), current_setting('fsync')")
            .fetch_one(&mut connection)
            .await
            .unwrap();
    assert_eq!((superuser.as_str(), fsync.as_str()), ("on", "on"));
    connection.close().await.unwrap();
}

#[tokio::test]
async fn rabbitmq_confirms_what_a_quorum_queue_took_and_returns_what_none_did() {
    let connection = Connection::connect(&amqp_url(), ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let queue = format!("redrive-test-{}", uuid::Uuid::new_v4());
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare(
            queue.as_str().into(),
            QueueDeclareOptions::durable(),
            arguments,
        )
        .await
        .unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();

    assert_eq!(publish(&channel, &queue).await, Confirmation::Ack(None));
    let nowhere = format!("{queue}-absent");
    let unroutable = publish(&channel, &nowhere).await;
    assert!(
        matches!(&unroutable, Confirmation::Ack(Some(returned)) if no_route(returned)),
        "{unroutable:?}"
    );

    let left = channel
        .queue_delete(queue.as_str().into(), QueueDeleteOptions::default())
        .await
        .unwrap();
    assert_eq!(left, 1);
    connection.close(200, "done".into()).await.unwrap();
}

async fn publish(channel: &Channel, queue: &str) -> Confirmation {
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            },
            b"{}",
            BasicProperties::default().with_delivery_mode(2),
        )
        .await
        .unwrap()
        .await
        .unwrap()
}

fn no_route(returned: &BasicReturnMessage) -> bool {
    returned.reply_code == 312
}
