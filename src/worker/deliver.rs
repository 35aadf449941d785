//! One delivery: store what was published, claim, create, execute.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use tokio::{sync::OwnedSemaphorePermit, time::Instant};
use tracing::Span;

use super::{
    create::create_run,
    process::{Work, Worker},
    slots::Slot,
};
use crate::{
    broker::{Intent, Message},
    domain::{Jitter, Retry, RetryDelay, RunId, is_traceparent},
    engine::{EngineError, Signals, Stopped},
    faults,
    intake::{IntentOutcome, record_end},
    store::{Claim, Claimed, StoreError, Written},
};

/// A run that has lost so many leases is suspected of costing its workers.
const SUSPECT_AFTER: i64 = 2;

/// How long a suspected run waits before it is tried again: a quarter of a second, doubling with
/// every lease lost, at most two seconds.
fn pause_after(lost: i64) -> Duration {
    let doublings = u32::try_from(lost - SUSPECT_AFTER).unwrap_or(0).min(3);
    Duration::from_millis(250) * 2_u32.pow(doublings)
}

/// The right to claim and execute one run.
#[derive(Debug)]
struct Turn {
    _slot: Slot,
    _alone: Option<OwnedSemaphorePermit>,
}

impl Turn {
    /// That of a run which is suspected of nothing.
    const fn at_once(slot: Slot) -> Self {
        Self {
            _slot: slot,
            _alone: None,
        }
    }
}

/// A run that was claimed.
#[derive(Debug)]
struct TakenOn {
    claim: Claim,
    /// When it was asked for: the lease began no earlier.
    claimed: Instant,
    _turn: Turn,
}

/// Which claims of a run are meant.
#[derive(Debug, Clone, Copy)]
enum First {
    /// Only its first one: nothing is known of the run that would have to be waited for.
    Only,
    /// Whichever it is.
    OrNot,
}

impl Worker {
    /// Does what a message asks. What it leaves unsettled is settled by the caller.
    pub(super) async fn process(&self, work: Work, slot: Slot) -> Result<(), EngineError> {
        let run_id = match &work.message {
            Message::Dispatch(dispatch) => dispatch.run_id.clone(),
            Message::Intent(intent) => match self.store_intent(intent, &work).await? {
                Some(run_id) => run_id,
                None => return Ok(()),
            },
        };
        let Some(taken) = self.take_on(&run_id, &work, slot).await? else {
            return Ok(());
        };
        let (claim, claimed) = (taken.claim, taken.claimed);
        faults::point("worker.claimed");
        if let Some(source) = &claim.run.source_run_id {
            Span::current().record("source_run_id", source.as_str());
        }
        self.record_wait(&claim);
        let signals = Signals::default();
        let ttl = self.parts.config.lease();
        signals.lease.good_until(claimed + ttl * 2 / 3);
        let _holding = self
            .held
            .hold(claim.fence.clone(), signals.clone(), claimed);
        if self.tasks.is_closed() {
            signals.drain.cancel();
        }
        let claim = self.created(claim, &signals).await?;
        work.settlement.ack().await;
        faults::point("worker.acked");
        let Some(claim) = claim else { return Ok(()) };
        self.execute(&run_id, &claim, &signals).await
    }

    /// Claims a run once it may be claimed; none if it can't be, or if the worker stops before.
    async fn take_on(
        &self,
        run_id: &RunId,
        work: &Work,
        slot: Slot,
    ) -> Result<Option<TakenOn>, StoreError> {
        let is_of_retry = match &work.message {
            Message::Dispatch(dispatch) => dispatch.retry_id.is_some(),
            Message::Intent(_) => true,
        };
        let claimed = Instant::now();
        if is_of_retry
            && let Some(Claimed::Claimed(claim)) = self.claim(run_id, First::Only).await?
        {
            return Ok(Some(TakenOn {
                claim: *claim,
                claimed,
                _turn: Turn::at_once(slot),
            }));
        }
        let Some(turn) = self.turn(run_id, work, slot).await? else {
            return Ok(None);
        };
        let claimed = Instant::now();
        match self.claim(run_id, First::OrNot).await? {
            Some(Claimed::Claimed(claim)) => Ok(Some(TakenOn {
                claim: *claim,
                claimed,
                _turn: turn,
            })),
            Some(Claimed::NoSuchRun) => {
                tracing::warn!(%run_id, "a message names a run that is not in the ledger");
                work.settlement.reject().await;
                Ok(None)
            }
            Some(Claimed::Refused) | None => Ok(None),
        }
    }

    /// Claims a run. Where the answer to the commit was lost, the lease may be ours, and nobody
    /// would renew it: so it is asked for, under a name that no other claim has.
    async fn claim(&self, run_id: &RunId, first: First) -> Result<Option<Claimed>, StoreError> {
        let (store, ttl) = (&self.parts.store, self.parts.config.lease());
        let owner = format!(
            "{}/{}",
            self.name,
            self.claims.fetch_add(1, Ordering::Relaxed)
        );
        let began = Instant::now();
        let claimed = |claim| Claimed::Claimed(Box::new(claim));
        let done = match first {
            First::Only => {
                let claim = store.claim_first(run_id, &owner, ttl).await;
                claim.map(|claim| claim.map(claimed))
            }
            First::OrNot => store.claim(run_id, &owner, ttl).await.map(Some),
        };
        let mut error = match done {
            Err(error @ StoreError::InDoubt(_)) => error,
            done => return done,
        };
        let mut delay = RetryDelay::new(
            Duration::from_millis(50),
            Duration::from_secs(2),
            Jitter::Half,
        );
        while began.elapsed() < ttl * 2 / 3 {
            tracing::warn!(%run_id, %error, "asking whether it is claimed");
            tokio::select! {
                () = self.stopping.cancelled() => break,
                () = tokio::time::sleep(delay.next_delay()) => {}
            }
            match store.own_claim(run_id, &owner).await {
                Ok(Some(claim)) => return Ok(Some(claimed(claim))),
                // Nothing was committed: the message goes back, and comes again.
                Ok(None) => break,
                Err(again) => error = again,
            }
        }
        Err(error)
    }

    /// Stores a published retry; the run to go on with, if there is one.
    async fn store_intent(
        &self,
        intent: &Intent,
        work: &Work,
    ) -> Result<Option<RunId>, StoreError> {
        let traceparent = work.traceparent.clone().filter(|text| is_traceparent(text));
        let intake = &self.parts.intake;
        if faults::planted("ack_before_commit") {
            work.settlement.ack().await;
        }
        faults::point("intent.received");
        let outcome = intake.intent(intent, work.lane, traceparent).await?;
        faults::point("intent.stored");
        let (result, run_id) = match outcome {
            IntentOutcome::Accepted(run_id) => ("accepted", Some(run_id)),
            IntentOutcome::Refused => ("refused", None),
            IntentOutcome::Duplicate => ("duplicate", None),
            IntentOutcome::Unusable(unusable) => {
                tracing::warn!(
                    reason = unusable.reason,
                    retry_id = %intent.retry_id,
                    "a published retry can't be used"
                );
                work.settlement.reject().await;
                ("unusable", None)
            }
        };
        metrics::counter!("redrive_intents_total", "outcome" => result).increment(1);
        work.settlement.ack().await;
        Ok(run_id)
    }

    /// Makes a message's work due for others: nobody here has time for it.
    pub(super) async fn put_back(&self, work: Work) -> Result<(), StoreError> {
        match &work.message {
            Message::Dispatch(dispatch) => self.parts.store.unmark_sent(&dispatch.run_id).await,
            // Stored, it is due like everything else.
            Message::Intent(intent) => self.store_intent(intent, &work).await.map(|_| ()),
        }
    }

    /// How long a retry waited for a worker: what its requester feels.
    fn record_wait(&self, claim: &Claim) {
        if claim.retry.is_some() && !claim.run.created && claim.lost_leases == 0 {
            let waited = self.parts.clock.now() - claim.run.created_at;
            let seconds = waited.to_std().unwrap_or_default().as_secs_f64();
            metrics::histogram!("redrive_retry_wait_seconds").record(seconds);
        }
    }

    /// Waits until the run may be claimed. One that has lost leases may be what its workers died
    /// of: such runs are claimed one at a time, so that they don't take others along, after a pause,
    /// so that a process that is killed again and again is not taken for their doing, and hold no
    /// slot and no delivery while they wait. None when the worker stops meanwhile.
    async fn turn(
        &self,
        run_id: &RunId,
        work: &Work,
        slot: Slot,
    ) -> Result<Option<Turn>, StoreError> {
        let lost = self.parts.store.lost_leases(run_id).await?;
        if lost < SUSPECT_AFTER {
            return Ok(Some(Turn::at_once(slot)));
        }
        drop(slot);
        work.settlement.ack().await;
        let turn = async {
            tokio::time::sleep(pause_after(lost)).await;
            let alone = Arc::clone(&self.suspects).acquire_owned().await.ok()?;
            Some(Turn {
                _slot: self.slots.take_for_work().await,
                _alone: Some(alone),
            })
        };
        tokio::select! {
            () = self.stopping.cancelled() => {
                self.parts.store.unmark_sent(run_id).await?;
                Ok(None)
            }
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
            self.parts.hints.ended(run_id);
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
                faults::point("worker.created");
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
        let now = self.parts.clock.now();
        loop {
            let error = match create_run(&self.parts.store, claim, retry, now).await {
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
