//! One node: prepare, mark, call, settle.

use std::{panic::AssertUnwindSafe, time::Instant};

use futures_util::FutureExt;
use tracing::Instrument;

use super::{
    children::TRIGGER_WORKFLOW,
    drive::{Drive, EngineError, Stopped},
    ending::doubting,
    handler::{NodeCall, NodeOutput},
    prepare::Prepared,
    signals::LEASE_OVER,
    waits::WAIT,
};
use crate::{
    domain::{ErrorClass, NodeError, NodeStatus},
    faults,
    workflow::At,
};

/// How a call came back.
pub(super) enum Answer {
    /// The handler gave an outcome.
    Outcome(Box<Result<NodeOutput, NodeError>>),
    /// The run was cancelled, and the grace is over.
    Cancelled,
    /// The lease is lost: nothing may be written.
    LeaseLost,
    /// The worker's time is over.
    Aborted,
}

impl Drive<'_> {
    /// Executes one node; `Some` when the engine has to stop.
    pub(super) async fn step(&mut self, at: At) -> Result<Option<Stopped>, EngineError> {
        if self.state.node(at).loop_body.is_some() {
            self.start_loop(at);
            return Ok(None);
        }
        match self.state.node(at).kind.as_str() {
            WAIT => return self.step_wait(at).await,
            TRIGGER_WORKFLOW => return self.step_child(at).await,
            _ => {}
        }
        let span = self.node_span(at);
        self.step_in_span(at).instrument(span).await
    }

    async fn step_in_span(&mut self, at: At) -> Result<Option<Stopped>, EngineError> {
        let prepared = match self.prepare(at, self.engine.clock.now()) {
            Ok(prepared) => prepared,
            Err(error) => {
                self.fail_unstarted(at, &error);
                return Ok(None);
            }
        };
        let has_effect = prepared.record.effect.is_some();
        if has_effect {
            self.put(at, prepared.record.clone(), false);
            if !self.checkpoint().await? {
                return Ok(Some(Stopped::LeaseLost));
            }
            if self.signals.cancelled.is_cancelled() {
                self.withdraw(at, prepared);
                return Ok(None);
            }
        }
        if has_effect {
            faults::point("node.marked");
        }
        let answer = self.call(at, &prepared).await;
        if has_effect {
            faults::point("node.called");
        }
        let stopped = match answer {
            Answer::Outcome(outcome) => {
                self.settle(at, prepared, *outcome);
                None
            }
            Answer::Cancelled => {
                self.abandon(at, prepared.record);
                None
            }
            Answer::LeaseLost => Some(Stopped::LeaseLost),
            Answer::Aborted => Some(self.release().await?),
        };
        if stopped.is_none() && has_effect {
            if !self.checkpoint().await? {
                return Ok(Some(Stopped::LeaseLost));
            }
            faults::point("node.recorded");
        }
        Ok(stopped)
    }

    /// Makes a start mark durable before its call, an outcome before anything that follows.
    async fn checkpoint(&mut self) -> Result<bool, EngineError> {
        if faults::planted("late_checkpoint") {
            return Ok(true);
        }
        self.flush().await
    }

    /// Calls the handler, and listens to the worker meanwhile.
    async fn call(&self, at: At, prepared: &Prepared) -> Answer {
        let node = self.state.node(at);
        let attempt = prepared.record.attempts.last();
        let call = NodeCall {
            run: &self.context,
            node_id: &node.id,
            path: &prepared.record.path,
            kind: &node.kind,
            input: &prepared.input,
            connector: node.connector.as_ref(),
            effect_key: attempt.and_then(|attempt| attempt.effect_key.as_deref()),
            attempt: attempt.map_or(1, |attempt| attempt.number),
            due: prepared.due,
            variables: self.state.variables(),
            now: self.engine.clock.now(),
            lease: &self.signals.lease,
        };
        // The last look at the lease before anything is sent.
        if self.signals.lost.is_cancelled() || self.signals.lease.is_over() {
            return Answer::LeaseLost;
        }
        let grace = async {
            self.signals.cancelled.cancelled().await;
            tokio::time::sleep(self.engine.cancel_grace).await;
        };
        let timeout = async {
            match node.timeout {
                Some(timeout) => tokio::time::sleep(timeout).await,
                None => std::future::pending().await,
            }
        };
        let started = Instant::now();
        let outcome = AssertUnwindSafe(async { prepared.handler.run(call).await }).catch_unwind();
        tokio::select! {
            biased;
            outcome = outcome => {
                let kind = self.label(&node.kind).to_owned();
                metrics::histogram!("redrive_node_duration_seconds", "type" => kind)
                    .record(started.elapsed().as_secs_f64());
                let has_effect = prepared.record.effect.is_some();
                self.answer(outcome.unwrap_or_else(|_| Err(panicked(has_effect))))
            }
            () = self.signals.lost.cancelled() => Answer::LeaseLost,
            () = self.signals.abort.cancelled() => Answer::Aborted,
            () = grace => Answer::Cancelled,
            () = timeout => Answer::Outcome(Box::new(Err(timed_out(prepared)))),
        }
    }

    /// An outcome, unless the handler found the lease over and did nothing.
    fn answer(&self, outcome: Result<NodeOutput, NodeError>) -> Answer {
        let gave_up = matches!(&outcome, Err(error) if error.code == LEASE_OVER);
        if gave_up && self.signals.lease.is_over() {
            return Answer::LeaseLost;
        }
        Answer::Outcome(Box::new(outcome))
    }

    /// The start mark is durable and nothing was sent: the run was cancelled in between.
    fn withdraw(&mut self, at: At, prepared: Prepared) {
        let mut record = prepared.take_back();
        let error = NodeError::new(
            ErrorClass::Cancelled,
            "cancelled",
            "the run was cancelled before the call was made",
        );
        record.attempts.pop();
        // An earlier call may have had its effect.
        let error = doubting(&mut record, &error);
        self.end_record(&mut record, NodeStatus::Cancelled, Some(&error));
        self.put(at, record, true);
    }
}

/// The node's own time-out: what has effects may have had them.
fn timed_out(prepared: &Prepared) -> NodeError {
    let class = match prepared.record.effect {
        Some(_) => ErrorClass::InDoubt,
        None => ErrorClass::Timeout,
    };
    NodeError::new(
        class,
        "timed_out",
        "the node took longer than its timeoutMs",
    )
}

/// A fault of the handler's: one with effects may have had them before it got that far.
pub(super) fn panicked(has_effect: bool) -> NodeError {
    let class = if has_effect {
        ErrorClass::InDoubt
    } else {
        ErrorClass::Internal
    };
    NodeError::new(class, "panicked", "the node's handler panicked")
}
