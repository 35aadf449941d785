//! One delivery: claim, create, execute, settle.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{Instrument, Span, field::Empty};

use super::{create::creation, held::Held, lease};
use crate::{
    broker::{Broker, Delivery, Dispatch, Hints},
    config::WorkerConfig,
    domain::{Clock, Jitter, Refusal, Retry, RetryDelay, RetryId, RunId, join_trace},
    engine::{Engine, EngineError, MOST_LOST_LEASES, Signals, Stopped},
    intake::{Planned, record_end},
    store::{Claim, Store, StoreError, Written},
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
    /// What executes runs.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Slots, leases, drain.
    pub config: WorkerConfig,
}

/// A run that has lost so many leases is suspected of costing its workers.
const SUSPECT_AFTER: i64 = 2;

/// How long a suspected run waits before it is tried again: a quarter of a second, doubling with
/// every lease lost, at most two seconds.
fn pause_after(lost: i64) -> Duration {
    let doublings = u32::try_from(lost - SUSPECT_AFTER).unwrap_or(0).min(3);
    Duration::from_millis(250) * 2_u32.pow(doublings)
}

/// A pool of slots that executes runs.
#[derive(Debug, Clone)]
pub struct Worker {
    parts: WorkerParts,
    name: Arc<str>,
    held: Held,
    tasks: TaskTracker,
    slots: Arc<Semaphore>,
    /// One for the runs that may be what their workers died of.
    suspects: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Worker {
    /// A worker under this name, which is unique among all workers.
    #[must_use]
    pub fn new(parts: WorkerParts, name: &str) -> Self {
        let slots = usize::try_from(parts.config.slots).unwrap_or(1).max(1);
        Self {
            parts,
            name: name.into(),
            held: Held::default(),
            tasks: TaskTracker::new(),
            slots: Arc::new(Semaphore::new(slots)),
            suspects: Arc::new(Semaphore::new(1)),
            stopping: CancellationToken::new(),
        }
    }

    /// Works until it is stopped, then drains: no new runs, every run at hand goes on to the next
    /// node boundary; after the drain time the calls under way are dropped.
    pub async fn run(self, stop: CancellationToken) {
        let keeping = CancellationToken::new();
        let ttl = self.parts.config.lease();
        let (store, hints) = (self.parts.store.clone(), self.parts.hints.clone());
        let keeper = tokio::spawn(lease::keep(
            store,
            self.held.clone(),
            ttl,
            keeping.child_token(),
        ));
        let listener = tokio::spawn(lease::listen(
            hints,
            self.held.clone(),
            keeping.child_token(),
        ));
        self.take_deliveries(&stop).await;
        self.drain().await;
        keeping.cancel();
        // Both end as soon as they are told.
        let _ = tokio::join!(keeper, listener);
    }

    async fn take_deliveries(&self, stop: &CancellationToken) {
        loop {
            let slot = tokio::select! {
                () = stop.cancelled() => return,
                slot = Arc::clone(&self.slots).acquire_owned() => slot,
            };
            // The semaphore is never closed.
            let Ok(slot) = slot else { return };
            let delivery = tokio::select! {
                () = stop.cancelled() => return,
                delivery = self.parts.broker.next() => delivery,
            };
            self.parts.hints.something_is_due();
            let worker = self.clone();
            self.tasks
                .spawn(async move { worker.fenced(delivery, slot).await });
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
    async fn fenced(&self, delivery: Delivery, slot: OwnedSemaphorePermit) {
        let run_id = delivery.dispatch.run_id.clone();
        let span = span(&delivery.dispatch);
        let worker = self.clone();
        let work = async move { worker.process(delivery, slot).await };
        let outcome = tokio::spawn(work.instrument(span.clone())).await;
        if !matches!(outcome, Ok(Ok(()))) {
            span.record("otel.status_code", "error");
        }
        span.in_scope(|| match outcome {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::error!(%run_id, error = %Causes(&error), "the run could not go on; it is taken over");
            }
            Err(panic) => tracing::error!(%run_id, error = %panic, "the run's task panicked"),
        });
        self.parts.hints.something_is_due();
    }

    async fn process(
        &self,
        delivery: Delivery,
        slot: OwnedSemaphorePermit,
    ) -> Result<(), EngineError> {
        let run_id = delivery.dispatch.run_id.clone();
        let Some(_turn) = self.turn(&run_id, slot).await? else {
            return Ok(());
        };
        let claimed = Instant::now();
        let ttl = self.parts.config.lease();
        // A claim that fails leaves the row sent and unclaimed: the rescuer sends it again.
        let claim = self.parts.store.claim(&run_id, &self.name, ttl).await?;
        let Some(claim) = claim else {
            delivery.ack();
            return Ok(());
        };
        if let Some(source) = &claim.run.source_run_id {
            Span::current().record("source_run_id", source.as_str());
        }
        let signals = Signals::default();
        signals.lease.good_until(claimed + ttl * 2 / 3);
        let _holding = self
            .held
            .hold(claim.fence.clone(), signals.clone(), claimed);
        if self.tasks.is_closed() {
            signals.drain.cancel();
        }
        let claim = self.created(claim, &signals).await?;
        delivery.ack();
        let Some(claim) = claim else { return Ok(()) };
        self.execute(&run_id, &claim, &signals).await
    }

    /// Waits until the run may be claimed. One that has lost leases may be what its workers died
    /// of: such runs are claimed one at a time, so that they don't take others along, after a pause,
    /// so that a process that is killed again and again is not taken for their doing, and hold no
    /// slot while they wait. None when the worker stops meanwhile.
    async fn turn(
        &self,
        run_id: &RunId,
        slot: OwnedSemaphorePermit,
    ) -> Result<Option<Turn>, StoreError> {
        let lost = self.parts.store.lost_leases(run_id).await?;
        if lost < SUSPECT_AFTER {
            return Ok(Some(Turn {
                _slot: slot,
                _alone: None,
            }));
        }
        drop(slot);
        let turn = async {
            tokio::time::sleep(pause_after(lost)).await;
            let alone = Arc::clone(&self.suspects).acquire_owned().await.ok()?;
            let slot = Arc::clone(&self.slots).acquire_owned().await.ok()?;
            Some(Turn {
                _slot: slot,
                _alone: Some(alone),
            })
        };
        tokio::select! {
            () = self.stopping.cancelled() => Ok(None),
            turn = turn => Ok(turn),
        }
    }

    async fn execute(
        &self,
        run_id: &RunId,
        claim: &Claim,
        signals: &Signals,
    ) -> Result<(), EngineError> {
        let stopped = self.parts.engine.execute(claim, signals).await?;
        tracing::info!(%run_id, epoch = claim.fence.epoch, outcome = ?stopped, "let go of a run");
        if let Stopped::Ended(status) = stopped {
            let now = self.parts.clock.now();
            record_end(&claim.run, status, claim.retry.is_some(), now);
        }
        Ok(())
    }

    /// The claim on a run that has its state; none if its retry is refused or the lease lost.
    async fn created(
        &self,
        mut claim: Claim,
        signals: &Signals,
    ) -> Result<Option<Claim>, StoreError> {
        let retry = match &claim.retry {
            Some(retry) if !claim.run.created => retry.clone(),
            _ => return Ok(Some(claim)),
        };
        let written = self.insist_on_create(&claim, &retry, signals).await?;
        match written {
            Some(Written::Done { cancel_requested }) => {
                claim.run.created = true;
                if cancel_requested {
                    claim.run.cancel_requested_at = Some(self.parts.clock.now());
                }
                Ok(Some(claim))
            }
            Some(Written::LeaseLost) | None => Ok(None),
        }
    }

    /// Creates again while the ledger is away and the lease is good; a repeat changes nothing.
    async fn insist_on_create(
        &self,
        claim: &Claim,
        retry: &Retry,
        signals: &Signals,
    ) -> Result<Option<Written>, StoreError> {
        let mut delay = RetryDelay::new(
            Duration::from_millis(50),
            Duration::from_secs(2),
            Jitter::Half,
        );
        loop {
            let error = match self.create(claim, retry).await {
                Err(error @ (StoreError::Unavailable(_) | StoreError::InDoubt(_))) => error,
                done => return done,
            };
            tracing::warn!(run_id = %claim.run.id, %error, "creating again");
            tokio::select! {
                () = signals.lost.cancelled() => return Err(error),
                () = signals.abort.cancelled() => return Err(error),
                () = tokio::time::sleep(delay.next_delay()) => {}
            }
        }
    }

    /// Validates the source again, then creates the run or refuses the retry (none).
    async fn create(&self, claim: &Claim, retry: &Retry) -> Result<Option<Written>, StoreError> {
        let WorkerParts { store, clock, .. } = &self.parts;
        let source = &retry.source_run_id;
        if claim.lost_leases >= MOST_LOST_LEASES {
            return self
                .refuse(
                    claim,
                    retry,
                    &Refusal::workers_lost(source, claim.lost_leases),
                )
                .await;
        }
        let planned = Planned::load(store, &retry.organization_id, source).await?;
        let refusal = match planned {
            Some(Ok(planned)) => {
                let creation = creation(&planned, clock.now());
                return store.create(&claim.fence, &creation).await.map(Some);
            }
            Some(Err(refusal)) => refusal,
            None => Refusal::missing_state(source, "record in this ledger"),
        };
        self.refuse(claim, retry, &refusal).await
    }

    /// Ends the retry with its reason on record.
    async fn refuse(
        &self,
        claim: &Claim,
        retry: &Retry,
        refusal: &Refusal,
    ) -> Result<Option<Written>, StoreError> {
        tracing::warn!(retry_id = %retry.id, reason = refusal.reason.as_str(), "refused a retry");
        let now = self.parts.clock.now();
        let written = self.parts.store.refuse(&claim.fence, refusal, now).await?;
        if matches!(written, Written::Done { .. }) {
            metrics::counter!("redrive_retries_total", "outcome" => "refused").increment(1);
        }
        Ok(None)
    }
}

/// The span of one delivery, under the trace of the request behind it.
fn span(dispatch: &Dispatch) -> Span {
    let span = tracing::info_span!(
        "process",
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
        messaging.system = Empty,
        run_id = dispatch.run_id.as_str(),
        source_run_id = Empty,
        organization_id = dispatch.organization_id.as_str(),
        retry_id = dispatch.retry_id.as_ref().map(RetryId::as_str),
    );
    let parent = dispatch.traceparent.as_deref();
    join_trace(&span, parent, "process redrive", "consumer");
    span
}

/// The right to claim and execute one run.
#[derive(Debug)]
struct Turn {
    _slot: OwnedSemaphorePermit,
    _alone: Option<OwnedSemaphorePermit>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pause_of_a_suspected_run_grows_to_two_seconds() {
        let pauses: Vec<_> = (2..8).map(|lost| pause_after(lost).as_millis()).collect();
        assert_eq!(pauses, [250, 500, 1_000, 2_000, 2_000, 2_000]);
    }
}
