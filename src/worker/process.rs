//! The worker: takes deliveries as slots become free, and drains when it stops.

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use tokio::{sync::Semaphore, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument;

use super::{
    direct::Direct,
    held::Held,
    lease,
    settlement::Settlement,
    slots::{Slot, Slots},
    span::span,
    upkeep,
};
use crate::{
    broker::{Broker, Delivery, Hints, Lanes, Message},
    config::WorkerConfig,
    domain::{Clock, Jitter, Lane, RetryDelay},
    engine::{Engine, EngineError},
    intake::Intake,
    store::Store,
};

/// What a worker is made of.
#[derive(Debug, Clone)]
pub struct WorkerParts {
    /// The ledger.
    pub store: Store,
    /// Where deliveries come from.
    pub broker: Broker,
    /// The process's hints.
    pub hints: Hints,
    /// What stores a published retry.
    pub intake: Intake,
    /// What executes runs.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Slots, leases, drain.
    pub config: WorkerConfig,
}

/// The most messages of a lane that are here and not settled. They are settled once their runs are
/// created, which takes some tens of milliseconds under load: fewer would leave slots empty. What is
/// here is not with a worker that has time for it.
const MOST_PREFETCH: u32 = 32;

/// A pool of slots that executes runs.
#[derive(Debug, Clone)]
pub struct Worker {
    pub(super) parts: WorkerParts,
    pub(super) name: Arc<str>,
    /// How many claims were tried: it makes the owner of each of them unique.
    pub(super) claims: Arc<AtomicU64>,
    pub(super) held: Held,
    pub(super) tasks: TaskTracker,
    pub(super) slots: Slots,
    /// One for the runs that may be what their workers died of.
    pub(super) suspects: Arc<Semaphore>,
    pub(super) stopping: CancellationToken,
    direct: Direct,
    /// Locked by whoever waits for the ledger. The pauses go on where they were when it was away
    /// just before.
    away: Arc<tokio::sync::Mutex<Away>>,
}

/// How long to wait for a ledger that is away.
#[derive(Debug)]
struct Away {
    pauses: RetryDelay,
    /// When it was last found there.
    back: Instant,
}

/// How long a ledger has to be there before it counts as well again. One that answers and takes no
/// writes looks as if it was back, and each time all that is not settled comes again.
const WELL: Duration = Duration::from_mins(1);

impl Default for Away {
    fn default() -> Self {
        Self {
            pauses: RetryDelay::new(
                Duration::from_millis(200),
                Duration::from_secs(15),
                Jitter::Half,
            ),
            back: Instant::now(),
        }
    }
}

/// What came, and how to settle it.
#[derive(Debug, Clone)]
pub(super) struct Work {
    pub(super) message: Message,
    pub(super) lane: Lane,
    pub(super) traceparent: Option<String>,
    pub(super) settlement: Settlement,
}

impl From<Delivery> for Work {
    fn from(delivery: Delivery) -> Self {
        Self {
            message: delivery.message,
            lane: delivery.lane,
            traceparent: delivery.traceparent,
            settlement: Settlement::of(delivery.receipt),
        }
    }
}

impl Worker {
    /// A worker under this name, which is unique among all workers.
    #[must_use]
    pub fn new(parts: WorkerParts, name: &str) -> Self {
        let slots = Slots::new(parts.config.slots);
        Self {
            direct: Direct::new(parts.store.clone(), parts.broker.clone(), slots.clone()),
            parts,
            name: name.into(),
            claims: Arc::default(),
            held: Held::default(),
            tasks: TaskTracker::new(),
            slots,
            suspects: Arc::new(Semaphore::new(1)),
            stopping: CancellationToken::new(),
            away: Arc::default(),
        }
    }

    /// Works until it is stopped, then drains: no new runs, every run at hand goes on to the next
    /// node boundary; after the drain time the calls under way are dropped.
    pub async fn run(self, stop: CancellationToken) {
        let (keeping, consuming) = (CancellationToken::new(), CancellationToken::new());
        let keepers = self.keepers(&keeping);
        let consumer = self.consume(&consuming);
        let taking = (
            self.take(Lanes::All, &stop),
            self.take(Lanes::Interactive, &stop),
            self.clone().direct.run(stop.child_token()),
            self.return_overdue(&stop),
        );
        tokio::join!(taking.0, taking.1, taking.2, taking.3);
        if let Broker::RabbitMq(rabbit) = &self.parts.broker {
            rabbit.cancel();
        }
        self.drain().await;
        consuming.cancel();
        keeping.cancel();
        // They end as soon as they are told.
        let _ = tokio::join!(futures_util::future::join_all(keepers), consumer);
        let gone = self.parts.store.worker_gone(&self.name);
        let _ = tokio::time::timeout(Duration::from_secs(1), gone).await;
    }

    /// What goes on beside the work, to the end of the last run.
    fn keepers(&self, stop: &CancellationToken) -> Vec<tokio::task::JoinHandle<()>> {
        let (store, held) = (self.parts.store.clone(), self.held.clone());
        let ttl = self.parts.config.lease();
        let keep = lease::keep(store.clone(), held.clone(), ttl, stop.child_token());
        let hints = self.parts.hints.clone();
        let listen = lease::listen(store.clone(), hints, held.clone(), stop.child_token());
        let ask = lease::ask(store.clone(), held, stop.child_token());
        let report = upkeep::report(
            store,
            Arc::clone(&self.name),
            self.slots.clone(),
            stop.child_token(),
        );
        vec![
            tokio::spawn(keep),
            tokio::spawn(listen),
            tokio::spawn(ask),
            tokio::spawn(report),
        ]
    }

    /// Consumes from a shared broker in the background.
    fn consume(&self, stop: &CancellationToken) -> tokio::task::JoinHandle<()> {
        let prefetch = self.slots.total().min(MOST_PREFETCH);
        let prefetch = u16::try_from(prefetch).unwrap_or(1);
        let (broker, stop) = (self.parts.broker.clone(), stop.child_token());
        tokio::spawn(async move {
            if let Broker::RabbitMq(rabbit) = broker {
                rabbit.consume(prefetch, stop).await;
            }
        })
    }

    /// Takes work of these lanes as slots become free.
    async fn take(&self, lanes: Lanes, stop: &CancellationToken) {
        loop {
            let waiting = tokio::select! {
                () = stop.cancelled() => return,
                waiting = self.slots.take(lanes) => waiting,
            };
            let work = tokio::select! {
                () = stop.cancelled() => return,
                delivery = self.parts.broker.next(lanes) => delivery.into(),
                work = self.direct.next(lanes) => work,
                () = self.slots.wanted(lanes) => continue,
            };
            self.parts.hints.something_is_due();
            let (worker, slot) = (self.clone(), waiting.used());
            self.tasks
                .spawn(async move { worker.fenced(work, slot).await });
        }
    }

    /// Gives back what has waited for a slot too long: another worker may have one.
    async fn return_overdue(&self, stop: &CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
            for delivery in self.parts.broker.overdue() {
                let work = Work::from(delivery);
                let settlement = work.settlement.clone();
                let returned = self.put_back(work).await;
                self.settle(returned.map_err(EngineError::from), &settlement)
                    .await;
            }
        }
    }

    async fn drain(&self) {
        self.tasks.close();
        self.stopping.cancel();
        self.held.for_all(|signals| signals.drain.cancel());
        let time = Duration::from_millis(self.parts.config.drain_ms);
        if tokio::time::timeout(time, self.tasks.wait()).await.is_err() {
            tracing::warn!("the time to stop is over: dropping the calls under way");
            self.held.for_all(|signals| signals.abort.cancel());
            // Releasing is one transaction a run; a ledger that is away must not hold us up.
            let _ = tokio::time::timeout(Duration::from_secs(5), self.tasks.wait()).await;
        }
    }

    /// Keeps a panic in one run from the others. Its lease expires, and counts as lost.
    async fn fenced(&self, work: Work, slot: Slot) {
        let (worker, settlement) = (self.clone(), work.settlement.clone());
        let system = self.parts.broker.is_shared().then_some("rabbitmq");
        let span = span(&work, system);
        let work = async move { worker.process(work, slot).await };
        let outcome = tokio::spawn(work.instrument(span.clone())).await;
        if !matches!(outcome, Ok(Ok(()))) {
            span.record("otel.status_code", "error");
        }
        match outcome {
            Ok(done) => self.settle(done, &settlement).instrument(span).await,
            Err(panic) => {
                span.in_scope(|| tracing::error!(error = %panic, "a run's task panicked"));
                settlement.ack().await;
            }
        }
        self.parts.hints.something_is_due();
    }

    /// Settles what the work itself has not. While the ledger is away nothing can be said of a
    /// message, so it goes back with its connection; any other error is no better the next time.
    async fn settle(&self, done: Result<(), EngineError>, settlement: &Settlement) {
        let Err(error) = done else {
            return settlement.ack().await;
        };
        tracing::error!(error = %Causes(&error), "a message or a run could not go on; it is taken over");
        let EngineError::Store(cause) = &error else {
            return settlement.ack().await;
        };
        if cause.is_unavailable() {
            settlement.abandon();
            self.wait_for_ledger();
        } else {
            settlement.ack().await;
        }
    }

    /// Takes no deliveries until the ledger answers again.
    fn wait_for_ledger(&self) {
        let Broker::RabbitMq(rabbit) = self.parts.broker.clone() else {
            return;
        };
        // Even while another task waits: what was abandoned must not stay on a connection that
        // lives.
        rabbit.pause();
        let Ok(mut away) = Arc::clone(&self.away).try_lock_owned() else {
            return;
        };
        tracing::warn!("the database is away: taking no deliveries until it is back");
        let (worker, stopping) = (self.clone(), self.stopping.clone());
        tokio::spawn(async move {
            if away.back.elapsed() > WELL {
                away.pauses.reset();
            }
            loop {
                tokio::select! {
                    () = stopping.cancelled() => return,
                    () = tokio::time::sleep(away.pauses.next_delay()) => {}
                }
                if worker.parts.store.ping().await.is_ok() {
                    break;
                }
            }
            away.back = Instant::now();
            tracing::info!("the database is back");
            // In this order: who fails from here on waits for itself, and pauses what resumes.
            drop(away);
            rabbit.resume();
        });
    }
}

/// An error with its causes, on one line.
struct Causes<'a>(&'a dyn std::error::Error);

impl std::fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
