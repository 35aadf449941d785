//! The broker behind the program's back.

use lapin::{
    Connection, ConnectionProperties,
    options::{ExchangeDeleteOptions, QueueDeclareOptions, QueueDeleteOptions},
    types::FieldTable,
};

/// Deletes all queues of an installation, whoever uses them.
pub(super) async fn delete_queues(url: &str, prefix: &str) {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    for name in ["interactive", "automatic", "bulk", "dead"] {
        let queue = format!("{prefix}.{name}.v1");
        let deleting = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
        deleting.await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}

/// Deletes everything of an installation.
pub(super) async fn remove(url: &str, prefix: &str) {
    delete_queues(url, prefix).await;
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    for exchange in [prefix.to_owned(), format!("{prefix}.dead")] {
        let deleting = channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default());
        deleting.await.unwrap();
    }
    connection.close(200, "done".into()).await.unwrap();
}

async fn connect(url: &str) -> Connection {
    Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap()
}

/// How many messages wait in the lanes of an installation.
pub(super) async fn left_in_lanes(url: &str, prefix: &str) -> u32 {
    let connection = connect(url).await;
    let channel = connection.create_channel().await.unwrap();
    let mut left = 0;
    for lane in ["interactive", "automatic", "bulk"] {
        let queue = format!("{prefix}.{lane}.v1");
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let found = channel.queue_declare(queue.into(), options, FieldTable::default());
        left += found.await.unwrap().message_count();
    }
    connection.close(200, "done".into()).await.unwrap();
    left
}
