//! Exchanges and queues of a test's own.

use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ExchangeDeleteOptions, QueueDeleteOptions},
};

use super::services::amqp_url;

async fn connect() -> Connection {
    let url = amqp_url();
    let connecting = Connection::connect(&url, ConnectionProperties::default());
    connecting.await.unwrap()
}

/// Publishes bytes into a lane, as another program does.
pub(crate) async fn publish(prefix: &str, lane: &str, body: &[u8]) {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published = channel.basic_publish(prefix.into(), lane.into(), options, body, properties);
    published.await.unwrap().await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

/// Names of exchanges and queues that no other test has.
pub(crate) fn prefix() -> String {
    format!("test-{}", uuid::Uuid::new_v4().simple())
}

/// Removes what an application made under a prefix.
pub(crate) async fn remove_topology(prefix: &str) {
    let connection = connect().await;
    let channel = connection.create_channel().await.unwrap();
    for queue in ["interactive", "automatic", "bulk", "dead"] {
        let queue = format!("{prefix}.{queue}.v1");
        let options = QueueDeleteOptions::default();
        channel.queue_delete(queue.into(), options).await.unwrap();
    }
    for exchange in [prefix.to_owned(), format!("{prefix}.dead")] {
        let options = ExchangeDeleteOptions::default();
        channel
            .exchange_delete(exchange.into(), options)
            .await
            .unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}
