//! The loop: what is next, do it, until the run ends or lets its worker go.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::FutureExt;
use serde_json::Value;

use super::{
    awaited::ChildRetries,
    handler::{Handlers, RunContext, VariableSet},
    next::Next,
    recorder::Recorder,
    settle::is_open,
    signals::Signals,
    state::RunState,
};
use crate::{
    config::LimitsConfig,
    domain::{Clock, JsonError, JsonText, NodeError, NodeStatus, RunStatus, Timestamp, WaitingFor},
    store::{Claim, Parking, Store, StoreError, Written},
};

/// Leases a run may lose without a node outcome between them.
pub const MOST_LOST_LEASES: i64 = 5;

/// The longest that a worker waits for the next node of a run that it holds.
const MOST_HELD: Duration = Duration::from_secs(1);

/// Executes runs. One engine serves any number of runs at once.
#[derive(Debug, Clone)]
pub struct Engine {
    pub(super) store: Store,
    pub(super) handlers: Handlers,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) limits: LimitsConfig,
    pub(super) prices: BTreeMap<String, f64>,
    pub(super) cancel_grace: Duration,
    pub(super) children: Arc<dyn ChildRetries>,
}

/// Why the engine stopped executing a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stopped {
    /// It has ended.
    Ended(RunStatus),
    /// It waits for a time; the ledger knows for which.
    Parked,
    /// The lease is given back; another worker goes on.
    Released,
    /// The lease is another worker's, or somebody ended the run.
    LeaseLost,
}

/// Why the engine could not go on. The lease expires, and another worker tries.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The ledger did not answer while the lease was good.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A stored text is no JSON.
    #[error("the stored state can't be read")]
    Unreadable(#[from] JsonError),
}

impl Engine {
    /// An engine on this ledger. `prices` are what an attempt costs by node type, 1 where not
    /// named; `cancel_grace` is how long a call may go on once its run is cancelled; `children` accepts
    /// the retries of runs that a retried run waits for.
    #[must_use]
    pub fn new(
        store: Store,
        handlers: Handlers,
        clock: Arc<dyn Clock>,
        limits: LimitsConfig,
        prices: BTreeMap<String, f64>,
        cancel_grace: Duration,
        children: Arc<dyn ChildRetries>,
    ) -> Self {
        Self {
            store,
            handlers,
            clock,
            limits,
            prices,
            cancel_grace,
            children,
        }
    }

    /// Executes the claimed run, which has its state, until it ends or lets its worker go.
    ///
    /// # Errors
    /// See [`EngineError`]; nothing is lost, the run is taken over once its lease has expired.
    pub async fn execute(&self, claim: &Claim, signals: &Signals) -> Result<Stopped, EngineError> {
        let recorder = Recorder::new(&self.store, claim.fence.clone(), signals, &self.prices);
        // One more than the last lease that a readable state is given up with: reading it is what
        // keeps costing workers.
        let unreadable = claim.lost_leases > MOST_LOST_LEASES;
        let state = match self.insist_on_load(claim, signals).await {
            _ if unreadable => return self.end_unreadable(claim, recorder, "lost workers").await,
            Ok(Ok(state)) => state,
            Ok(Err(why)) => return self.end_unreadable(claim, recorder, &why).await,
            Err(error) => return Err(error),
        };
        let context = RunContext {
            run_id: claim.run.id.clone(),
            root_run_id: claim.run.root_run_id.clone(),
            organization_id: claim.run.organization_id.clone(),
            simulation: claim.run.simulation.clone(),
        };
        let mut drive = Drive {
            engine: self,
            state,
            recorder,
            context,
            signals,
        };
        drive.charge_for_the_past();
        drive.set_requested_variables(claim)?;
        if claim.lost_leases >= MOST_LOST_LEASES {
            return drive.give_up().await;
        }
        if claim.run.cancel_requested_at.is_some() {
            signals.cancelled.cancel();
        }
        drive.apply_signals().await?;
        if let Some(stopped) = drive.look_at_children().await? {
            return Ok(stopped);
        }
        drive.run().await
    }
}

/// One run while it is executed.
pub(super) struct Drive<'a> {
    pub(super) engine: &'a Engine,
    pub(super) state: RunState,
    pub(super) recorder: Recorder<'a>,
    pub(super) context: RunContext,
    pub(super) signals: &'a Signals,
}

impl Drive<'_> {
    async fn run(&mut self) -> Result<Stopped, EngineError> {
        for at in self.state.unreachable() {
            self.skip(at);
            if self.recorder.is_full() && !self.flush().await? {
                return Ok(Stopped::LeaseLost);
            }
        }
        loop {
            if let Some(stopped) = self.interruption().await? {
                return Ok(stopped);
            }
            if self.signals.resumed.notified().now_or_never().is_some() {
                self.apply_signals().await?;
            }
            if self.state.has_failed() {
                return self.end(RunStatus::Failure).await;
            }
            let stopped = match self.state.next(self.engine.clock.now()) {
                Next::Run(at) => self.step(at).await?,
                Next::Skip(at) => {
                    self.skip(at);
                    None
                }
                Next::Settle(at) => {
                    self.settle_loop(at);
                    None
                }
                Next::Hold(due_at) => self.hold(due_at).await?,
                Next::End if self.state.is_partial() => Some(self.end(RunStatus::Partial).await?),
                Next::End => Some(self.end(RunStatus::Success).await?),
            };
            if let Some(stopped) = stopped {
                return Ok(stopped);
            }
            if self.recorder.is_full() && !self.flush().await? {
                return Ok(Stopped::LeaseLost);
            }
        }
    }

    async fn interruption(&mut self) -> Result<Option<Stopped>, EngineError> {
        if self.signals.lost.is_cancelled() {
            return Ok(Some(Stopped::LeaseLost));
        }
        if self.signals.cancelled.is_cancelled() {
            return self.cancel().await.map(Some);
        }
        if self.signals.drain.is_cancelled() {
            return self.release().await.map(Some);
        }
        Ok(None)
    }

    /// Makes everything durable; false when the lease is lost.
    pub(super) async fn flush(&mut self) -> Result<bool, EngineError> {
        match self.recorder.flush().await? {
            Written::LeaseLost => Ok(false),
            Written::Done { cancel_requested } => {
                if cancel_requested {
                    self.signals.cancelled.cancel();
                }
                Ok(true)
            }
        }
    }

    pub(super) async fn release(&mut self) -> Result<Stopped, EngineError> {
        Ok(match self.recorder.release().await? {
            Written::Done { .. } => Stopped::Released,
            Written::LeaseLost => Stopped::LeaseLost,
        })
    }

    /// Waits for what is due within a second; for anything else the worker is free meanwhile.
    async fn hold(&mut self, due_at: Option<Timestamp>) -> Result<Option<Stopped>, EngineError> {
        // A child may need the very slot that its parent would wait in.
        let due_soon = due_at.filter(|_| self.waiting_for() != WaitingFor::Child);
        let left = due_soon.map(|due| due - self.engine.clock.now());
        let short = left.map(|left| left.to_std().unwrap_or_default());
        let Some(short) = short.filter(|left| *left <= MOST_HELD) else {
            return self.park(due_at).await.map(Some);
        };
        tokio::select! {
            () = self.signals.lost.cancelled() => {}
            () = self.signals.cancelled.cancelled() => {}
            () = self.signals.drain.cancelled() => {}
            () = self.signals.resumed.notified() => self.apply_signals().await?,
            () = tokio::time::sleep(short) => {}
        }
        Ok(None)
    }

    async fn park(&mut self, due_at: Option<Timestamp>) -> Result<Stopped, EngineError> {
        let waiting_for = self.waiting_for();
        let children: Vec<_> = self.awaited().into_iter().map(|(_, child)| child).collect();
        let parking = |checkpoint| Parking {
            checkpoint,
            waiting_for,
            due_at,
            children,
        };
        Ok(match self.recorder.park(parking).await? {
            Written::Done { .. } => Stopped::Parked,
            Written::LeaseLost => Stopped::LeaseLost,
        })
    }

    /// What the run waits for first.
    fn waiting_for(&self) -> WaitingFor {
        let held = self.state.first_held();
        let record = held.and_then(|at| self.state.record(at));
        match record.map(|record| (record.status, record.kind.as_str())) {
            Some((NodeStatus::Waiting, "wait")) => WaitingFor::Wait,
            Some((NodeStatus::Waiting, _)) => WaitingFor::Child,
            Some(_) if record.is_some_and(|record| record.error.is_some()) => WaitingFor::NodeRetry,
            _ => WaitingFor::Delay,
        }
    }

    /// The variables that the retry's request sets are this run's first writes, by no node.
    fn set_requested_variables(&mut self, claim: &Claim) -> Result<(), EngineError> {
        let request = claim.retry.as_ref().map(|retry| retry.request.value());
        let Some(Value::Object(mut request)) = request.transpose()? else {
            return Ok(());
        };
        let Some(Value::Object(variables)) = request.remove("variables") else {
            return Ok(());
        };
        if !self.state.has_set_requested {
            for (name, value) in variables {
                self.write_variable(None, VariableSet { name, value });
            }
        }
        Ok(())
    }

    /// The attempts that earlier workers recorded in this run. One that goes on is charged when it
    /// ends; a call that its worker was lost in never does.
    fn charge_for_the_past(&mut self) {
        for (at, record) in self.state.records() {
            let going_on = usize::from(is_open(record) && self.state.goes_on(at));
            let ended = record.attempts.len() - going_on;
            self.recorder.charge(&record.kind, ended);
        }
    }
}

/// An error as the record holds it.
pub(super) fn error_text(error: &NodeError) -> JsonText {
    // Plain members and a JSON value; there is nothing that can't be written.
    JsonText::trusted(serde_json::to_string(error).unwrap_or_else(|_| "null".to_owned()))
}
