//! The connection that consumes, and the loop that keeps it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use lapin::{
    Channel, Connection,
    message::Delivery as Raw,
    options::{BasicCancelOptions, BasicConsumeOptions, BasicQosOptions},
    types::FieldTable,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval, interval_at},
};
use tokio_util::sync::CancellationToken;

use super::{
    Mode, Shared, Unsettled, Wanted,
    connection::{Link, RabbitMqError, close, failed, pauses, step},
    topology,
};
use crate::{
    broker::{Delivery, Message, Origin, Receipt},
    domain::{Lane, PerLane},
    faults,
};

/// How often the connection is looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How often the broker is asked whether it keeps messages from a consumer that hears nothing.
const WATCHDOG: Duration = Duration::from_secs(20);

/// A delivery that waits for a slot.
#[derive(Debug)]
pub(super) struct Arrived {
    pub(super) delivery: Delivery,
    pub(super) at: Instant,
}

/// What comes from one lane, and in the end that it ended.
type Deliveries = BoxStream<'static, (Lane, Option<lapin::Result<Raw>>)>;

/// One connection and its consumers.
struct Session {
    connection: Connection,
    channels: PerLane<Channel>,
    tags: PerLane<String>,
    watch: Channel,
    deliveries: Deliveries,
    unsettled: Arc<AtomicUsize>,
    received: u64,
}

/// How a session ended without an error.
enum End {
    /// The database is away.
    Paused,
    /// The process stops.
    Stopped,
}

/// Consumes until it is stopped, over as many connections as it takes.
pub(super) async fn supervise(shared: &Shared, prefetch: u16, stop: CancellationToken) {
    let mut delays = pauses();
    let mut wanted = shared.wanted.subscribe();
    while let Some(pauses) = until_wanted(&mut wanted, &stop).await {
        let began = Instant::now();
        let ended = session(shared, prefetch, (&mut wanted, pauses), &stop).await;
        // What is left belongs to a connection that is gone; the broker delivers it again.
        drop(shared.inbox.take_if(|_| true));
        let error = match ended {
            Ok(End::Stopped) => break,
            Ok(End::Paused) => {
                shared.consuming.set(Link::Paused);
                continue;
            }
            Err(error) => error,
        };
        failed(&shared.consuming, "consuming from RabbitMQ", &error);
        if began.elapsed() > WATCHDOG {
            delays.reset();
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(delays.next_delay()) => {}
        }
    }
    shared.consuming.set(Link::Paused);
}

/// Waits until consuming is wanted, and says after how many pauses; none when the process stops
/// instead.
async fn until_wanted(
    wanted: &mut watch::Receiver<Wanted>,
    stop: &CancellationToken,
) -> Option<u64> {
    tokio::select! {
        () = stop.cancelled() => None,
        wanted = wanted.wait_for(|wanted| wanted.mode == Mode::Consume) => {
            wanted.ok().map(|wanted| wanted.pauses)
        }
    }
}

async fn session(
    shared: &Shared,
    prefetch: u16,
    (wanted, pauses): (&mut watch::Receiver<Wanted>, u64),
    stop: &CancellationToken,
) -> Result<End, RabbitMqError> {
    let mut session = tokio::select! {
        () = stop.cancelled() => return Ok(End::Stopped),
        opened = Session::open(shared, prefetch) => opened?,
    };
    shared.consuming.set(Link::Up);
    tracing::info!("connected to RabbitMQ to consume");
    let ended = session.run(shared, (wanted, pauses), stop).await;
    close(&session.connection).await;
    ended
}

impl Session {
    async fn open(shared: &Shared, prefetch: u16) -> Result<Self, RabbitMqError> {
        let connector = &shared.connector;
        let connection = connector.connect("consume").await?;
        topology::declare(&connection, &connector.names).await?;
        let (mut channels, mut tags, mut streams) = (Vec::new(), Vec::new(), Vec::new());
        for lane in Lane::ALL {
            // A channel each, so that a lane that is busy takes no places from another.
            let channel = step("opening a channel", connection.create_channel()).await?;
            let qos = channel.basic_qos(prefetch, BasicQosOptions::default());
            step("setting the prefetch", qos).await?;
            let queue = connector.names.lanes.of(lane).as_str();
            let consuming = channel.basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            );
            let consumer = step("consuming", consuming).await?;
            tags.push(consumer.tag().to_string());
            channels.push(channel);
            let ended = stream::once(async move { (lane, None) });
            streams.push(
                consumer
                    .map(move |item| (lane, Some(item)))
                    .chain(ended)
                    .boxed(),
            );
        }
        let watch = step("opening a channel", connection.create_channel()).await?;
        let (mut channels, mut tags) = (channels.into_iter(), tags.into_iter());
        let lost = || RabbitMqError::Lost;
        Ok(Self {
            channels: PerLane {
                interactive: channels.next().ok_or_else(lost)?,
                automatic: channels.next().ok_or_else(lost)?,
                bulk: channels.next().ok_or_else(lost)?,
            },
            tags: PerLane {
                interactive: tags.next().ok_or_else(lost)?,
                automatic: tags.next().ok_or_else(lost)?,
                bulk: tags.next().ok_or_else(lost)?,
            },
            connection,
            watch,
            deliveries: stream::select_all(streams).boxed(),
            unsettled: Arc::default(),
            received: 0,
        })
    }

    async fn run(
        &mut self,
        shared: &Shared,
        (wanted, pauses): (&mut watch::Receiver<Wanted>, u64),
        stop: &CancellationToken,
    ) -> Result<End, RabbitMqError> {
        let mut look = interval(LOOK);
        let mut watchdog = interval_at(Instant::now() + WATCHDOG, WATCHDOG);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        watchdog.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut received = self.received;
        loop {
            tokio::select! {
                () = stop.cancelled() => return Ok(End::Stopped),
                changed = wanted.changed() => {
                    let now = *wanted.borrow_and_update();
                    match now.mode {
                        Mode::Cancel => return self.wind_up(shared, stop).await,
                        Mode::Consume if changed.is_err() => return Ok(End::Stopped),
                        Mode::Consume if now.pauses == pauses => {}
                        Mode::Consume | Mode::Pause => return Ok(End::Paused),
                    }
                }
                Some((lane, item)) = self.deliveries.next() => {
                    let ended = || RabbitMqError::Ended(shared.connector.names.lanes.of(lane).clone());
                    // Whoever has the library recover leaves errors and ends to it.
                    if !matches!(item, Some(Ok(_))) && faults::planted("auto_recover") {
                        continue;
                    }
                    self.receive(shared, lane, item.ok_or_else(ended)??).await;
                }
                _ = look.tick() => {
                    // Those of the lanes end their streams; nothing comes of the watchdog's.
                    if !(self.connection.status().connected() && self.watch.status().connected()) {
                        return Err(RabbitMqError::Lost);
                    }
                }
                _ = watchdog.tick() => {
                    self.watch(shared, received).await?;
                    received = self.received;
                }
            }
        }
    }

    /// Puts a message among those that wait for a slot; one that can't be read goes to the dead
    /// letters.
    async fn receive(&mut self, shared: &Shared, lane: Lane, raw: Raw) {
        self.received = self.received.wrapping_add(1);
        let unsettled = Unsettled::new(raw.acker.clone(), &self.unsettled);
        let message = match Message::from_bytes(&raw.data) {
            Ok(message) => message,
            Err(why) => {
                tracing::warn!(why, lane = lane.as_str(), "a message can't be read");
                unsettled.reject().await;
                return;
            }
        };
        let delivery = Delivery {
            message,
            lane,
            traceparent: header(&raw, "traceparent"),
            receipt: Receipt(Origin::RabbitMq(unsettled)),
        };
        let at = Instant::now();
        // The prefetch bounds it.
        shared.inbox.put(lane, Arrived { delivery, at }, usize::MAX);
    }

    /// Finds a consumer that is cut off without knowing: messages are ready, and it has room for
    /// them, but none has come since the last look.
    async fn watch(&mut self, shared: &Shared, received_before: u64) -> Result<(), RabbitMqError> {
        let mut waiting = None;
        for lane in Lane::ALL {
            let queue = shared.connector.names.lanes.of(lane);
            if topology::ready(&self.watch, queue).await? > 0 {
                waiting = Some(queue);
            }
        }
        let is_idle =
            self.received == received_before && self.unsettled.load(Ordering::Relaxed) == 0;
        match waiting {
            Some(queue) if is_idle => Err(RabbitMqError::Ended(queue.clone())),
            _ => Ok(()),
        }
    }

    /// Takes nothing more and gives back what waits for a slot; stays until the rest is settled.
    async fn wind_up(
        &mut self,
        shared: &Shared,
        stop: &CancellationToken,
    ) -> Result<End, RabbitMqError> {
        shared.consuming.set(Link::Paused);
        for lane in Lane::ALL {
            let tag = self.tags.of(lane).as_str();
            let cancelling = self
                .channels
                .of(lane)
                .basic_cancel(tag.into(), BasicCancelOptions::default());
            step("cancelling a consumer", cancelling).await?;
        }
        // What was on its way to us comes before the end of each stream.
        while let Some((lane, item)) = self.deliveries.next().await {
            if let Some(raw) = item {
                self.receive(shared, lane, raw?).await;
            }
        }
        for arrived in shared.inbox.take_if(|_| true) {
            if let Receipt(Origin::RabbitMq(unsettled)) = arrived.delivery.receipt {
                unsettled.requeue().await;
            }
        }
        stop.cancelled().await;
        Ok(End::Stopped)
    }
}

/// A header, if it is a text.
fn header(raw: &Raw, name: &str) -> Option<String> {
    let headers = raw.properties.headers().as_ref()?;
    let text = headers.inner().get(name)?.as_long_string()?;
    Some(text.to_string())
}
