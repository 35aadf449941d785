//! Messages put straight into the queues, and copies of all that go through them.

use std::{collections::HashSet, sync::Mutex, time::Instant};

use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions, QueueDeleteOptions,
    },
    types::FieldTable,
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::{
    pool::{audit::neighbours::Neighbour, keyed::Accepted, members::Pool},
    support::dice::Dice,
};

const LANES: [&str; 3] = ["interactive", "automatic", "bulk"];

/// The most copies of one message.
const COPIES: usize = 50;

/// The most bytes of a message of ours.
const LONGEST: usize = 1024;

/// Somebody who may write to the exchange.
pub(in crate::pool) struct Publisher {
    url: String,
    prefix: String,
    /// Unusable messages that the broker has confirmed.
    confirmed: Mutex<Vec<Vec<u8>>>,
}

/// A message to be published into a lane.
type Message = (&'static str, Vec<u8>);

fn lane(dice: &mut Dice) -> &'static str {
    LANES[dice.below(LANES.len())]
}

/// What the relay sends for a retry.
fn dispatch(run: &str, retry: &str, organization: &str) -> Value {
    json!({
        "schema": "redrive.dispatch.v1",
        "kind": "retry",
        "runId": run,
        "retryId": retry,
        "organizationId": organization,
    })
}

/// 1 to 50 copies of the message of each of these, some of them in another's name, shuffled.
pub(in crate::pool) fn duplicates(accepted: &[Accepted], dice: &mut Dice) -> Vec<Message> {
    let mut messages = Vec::new();
    for accepted in accepted {
        for _ in 0..=dice.below(COPIES) {
            let organization = if dice.one_in(10) {
                Neighbour::ORGANIZATION
            } else {
                "org_test"
            };
            let message = dispatch(&accepted.run, &accepted.retry, organization);
            messages.push((lane(dice), message.to_string().into_bytes()));
        }
    }
    shuffle(&mut messages, dice);
    messages
}

/// Messages that nobody can use, each of them another one.
pub(in crate::pool) fn rubbish(count: usize, dice: &mut Dice) -> Vec<Message> {
    let messages = (0..count).map(|_| {
        let name = format!("forged-{:x}", dice.roll());
        let body = match dice.below(5) {
            0 => dispatch(&name, "rty_forged", "org_test").to_string(),
            1 => dispatch(&name, "rty_forged", Neighbour::ORGANIZATION).to_string(),
            2 => json!({ "schema": "redrive.dispatch.v9", "runId": name }).to_string(),
            3 => format!("{{\"schema\": \"redrive.dispatch.v1\", \"runId\": \"{name}\""),
            _ => return (lane(dice), noise(dice)),
        };
        (lane(dice), body.into_bytes())
    });
    messages.collect()
}

/// Bytes that mean nothing.
fn noise(dice: &mut Dice) -> Vec<u8> {
    let length = 8 + dice.below(500);
    let bytes = (0..length).map(|_| u8::try_from(dice.below(256)).unwrap());
    bytes.collect()
}

pub(in crate::pool) fn shuffle<T>(items: &mut [T], dice: &mut Dice) {
    for last in (1..items.len()).rev() {
        items.swap(last, dice.below(last + 1));
    }
}

impl Publisher {
    pub(in crate::pool) fn new(pool: &Pool) -> Self {
        Self {
            url: pool.amqp.clone(),
            prefix: pool.prefix.clone(),
            confirmed: Mutex::default(),
        }
    }

    /// Publishes them, as far as the broker is there; how many it has confirmed.
    pub(in crate::pool) async fn publish(&self, messages: Vec<Message>) -> usize {
        self.confirmed_of(messages).await.len()
    }

    /// The same with messages that nobody can use: what is confirmed has to be kept.
    pub(in crate::pool) async fn publish_rubbish(&self, messages: Vec<Message>) -> usize {
        let confirmed = self.confirmed_of(messages).await;
        let count = confirmed.len();
        self.confirmed.lock().unwrap().extend(confirmed);
        count
    }

    async fn confirmed_of(&self, messages: Vec<Message>) -> Vec<Vec<u8>> {
        let connecting = Connection::connect(&self.url, ConnectionProperties::default());
        let Ok(connection) = connecting.await else {
            return Vec::new();
        };
        let Ok(channel) = connection.create_channel().await else {
            return Vec::new();
        };
        let confirmed = self.confirmed_on(&channel, messages).await;
        let _ = connection.close(200, "done".into()).await;
        confirmed
    }

    async fn confirmed_on(&self, channel: &Channel, messages: Vec<Message>) -> Vec<Vec<u8>> {
        let options = ConfirmSelectOptions::default();
        if channel.confirm_select(options).await.is_err() {
            return Vec::new();
        }
        let mut published = Vec::new();
        for (lane, body) in messages {
            let confirm = channel.basic_publish(
                self.prefix.as_str().into(),
                lane.into(),
                BasicPublishOptions {
                    mandatory: true,
                    ..BasicPublishOptions::default()
                },
                &body,
                BasicProperties::default().with_delivery_mode(2),
            );
            let Ok(confirm) = confirm.await else { break };
            published.push((confirm, body));
        }
        let mut confirmed = Vec::new();
        for (confirm, body) in published {
            if matches!(confirm.await, Ok(Confirmation::Ack(None))) {
                confirmed.push(body);
            }
        }
        confirmed
    }

    /// Waits until every unusable message that the broker took is kept, with its bytes, as long as
    /// there are more of them all the time. How many there are.
    pub(in crate::pool) async fn until_kept(&self, pool: &Pool) -> usize {
        let mut missing: HashSet<_> = self.confirmed.lock().unwrap().iter().cloned().collect();
        let (confirmed, mut changed) = (missing.len(), Instant::now());
        loop {
            let before = missing.len();
            let mut db = PgConnection::connect(&pool.ledger.url).await.unwrap();
            let kept = sqlx::query_scalar::<_, Vec<u8>>("select body from dead_letters");
            for body in kept.fetch_all(&mut db).await.unwrap() {
                missing.remove(&body);
            }
            if missing.is_empty() {
                return confirmed;
            }
            if missing.len() < before {
                changed = Instant::now();
            }
            let waited = changed.elapsed();
            assert!(waited < crate::pool::PATIENCE, "not kept: {missing:?}");
            tokio::time::sleep(crate::pool::LOOK * 5).await;
        }
    }

    fn tap(&self) -> String {
        format!("{}.tap", self.prefix)
    }

    /// From now on everything that is published is copied.
    pub(in crate::pool) async fn begin_to_copy(&self) {
        let connecting = Connection::connect(&self.url, ConnectionProperties::default());
        let connection = connecting.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (tap, options) = (self.tap(), QueueDeclareOptions::durable());
        let declared = channel.queue_declare(tap.as_str().into(), options, FieldTable::default());
        declared.await.unwrap();
        for lane in LANES {
            let bound = channel.queue_bind(
                tap.as_str().into(),
                self.prefix.as_str().into(),
                lane.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
        connection.close(200, "done".into()).await.unwrap();
    }

    /// The copies, as text. Those of ours are small.
    pub(in crate::pool) async fn copies(&self) -> Vec<String> {
        let connecting = Connection::connect(&self.url, ConnectionProperties::default());
        let connection = connecting.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        let (tap, options) = (self.tap(), BasicGetOptions { no_ack: true });
        let mut copies = Vec::new();
        while let Some(copy) = channel
            .basic_get(tap.as_str().into(), options)
            .await
            .unwrap()
        {
            assert!(copy.data.len() <= LONGEST, "{} bytes", copy.data.len());
            copies.push(String::from_utf8_lossy(&copy.data).into_owned());
        }
        let deleted = channel.queue_delete(tap.as_str().into(), QueueDeleteOptions::default());
        deleted.await.unwrap();
        connection.close(200, "done".into()).await.unwrap();
        copies
    }
}
