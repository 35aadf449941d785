//! After a node's call: its outcome becomes its record.

use std::time::Duration;

use chrono::TimeDelta;
use serde_json::Value;
use uuid::Uuid;

use super::{
    drive::{Drive, error_text},
    handler::{NodeOutput, VariableSet},
    prepare::Prepared,
    span::mark_failed,
};
use crate::{
    domain::{
        ErrorClass, JsonText, LastAttempt, MAX_NESTING, NodeError, NodePath, NodeRecord,
        NodeStatus, SideEffects, VariableWrite, format_timestamp, parse_json,
    },
    workflow::{At, side_effects_of},
};

/// From 0 to 1.
fn chance() -> f64 {
    let bytes: [u8; 4] = Uuid::new_v4().as_bytes()[..4]
        .try_into()
        .unwrap_or_default();
    f64::from(u32::from_be_bytes(bytes)) / f64::from(u32::MAX)
}

impl Drive<'_> {
    /// Records what a call gave.
    pub(super) fn settle(
        &mut self,
        at: At,
        prepared: Prepared,
        outcome: Result<NodeOutput, NodeError>,
    ) {
        match outcome.and_then(|output| self.accept(at, &prepared.record, output)) {
            Ok((NodeOutput { due: Some(due), .. }, _)) => {
                self.schedule(at, prepared.take_back(), due);
            }
            Ok((output, text)) => self.succeed(at, prepared.record, output, text),
            Err(error) => self.fail(at, prepared, error),
        }
    }

    /// A handler's result is held to what is asked of any user JSON, and to the limits.
    fn accept(
        &self,
        at: At,
        record: &NodeRecord,
        output: NodeOutput,
    ) -> Result<(NodeOutput, JsonText), NodeError> {
        let text = JsonText::of(&output.result);
        if let Err(error) = parse_json(text.as_str().as_bytes(), MAX_NESTING) {
            let message = format!("the result can't be kept: {error}");
            return Err(permanent("invalid_result", message));
        }
        self.fits(at, record, &text)?;
        Ok((output, text))
    }

    /// Limits hold for results too: they are stored, and other nodes read them. The record has its
    /// input already, which counts as well.
    pub(super) fn fits(
        &self,
        at: At,
        record: &NodeRecord,
        result: &JsonText,
    ) -> Result<(), NodeError> {
        let (length, limits) = (result.as_str().len(), &self.engine.limits);
        if length > limits.result_bytes {
            let limit = limits.result_bytes;
            let message = format!(
                "the result has {length} bytes, more than the {limit} allowed (limits.result_bytes)"
            );
            return Err(permanent("result_too_large", message));
        }
        if self.state.bytes_with(at, record) + length > limits.state_bytes {
            let limit = limits.state_bytes;
            let message = format!(
                "the run's state would exceed the {limit} bytes allowed (limits.state_bytes)"
            );
            return Err(permanent("state_too_large", message));
        }
        Ok(())
    }

    fn succeed(&mut self, at: At, mut record: NodeRecord, output: NodeOutput, text: JsonText) {
        record.effect = record
            .effect
            .map(|effect| effect.settled(LastAttempt::Succeeded));
        record.result = Some(text);
        record.branch = output.branch;
        self.close(&mut record, NodeStatus::Success, None);
        if let Some(set) = output.variable {
            self.write_variable(Some(record.path.clone()), set);
        }
        self.put(at, record, true);
    }

    pub(super) fn write_variable(&mut self, node: Option<NodePath>, set: VariableSet) {
        let old_value = self
            .state
            .variables()
            .get(&set.name)
            .unwrap_or(&Value::Null);
        let write = VariableWrite {
            old_value: JsonText::of(old_value),
            new_value: JsonText::of(&set.value),
            lasts: node.is_some() && self.state.lasts(&set.name),
            written_by_node: node,
            written_at: self.engine.clock.now(),
            name: set.name,
        };
        self.state.set_variable(&write.name, set.value);
        self.recorder.add_variable(write);
    }

    fn schedule(&mut self, at: At, mut record: NodeRecord, due: crate::domain::Timestamp) {
        record.due_at = Some(format_timestamp(due));
        // The call that only named a time is no attempt.
        record.attempts.pop();
        record.status = NodeStatus::Scheduled;
        self.put(at, record, false);
    }

    fn fail(&mut self, at: At, prepared: Prepared, error: NodeError) {
        self.fail_attempt(at, failed(prepared, &error), error);
    }

    /// Ends an attempt that failed: there is another one, or the node has failed.
    pub(super) fn fail_attempt(&mut self, at: At, mut record: NodeRecord, error: NodeError) {
        if let Some(delay) = self.another_attempt(at, &record, &error) {
            self.attempt_again(at, record, error, delay);
            return;
        }
        self.close(&mut record, NodeStatus::Failure, Some(error));
        self.put(at, record, true);
    }

    /// The delay before the next attempt, if the node's policy has one.
    fn another_attempt(&self, at: At, record: &NodeRecord, error: &NodeError) -> Option<Duration> {
        let node = self.state.node(at);
        let policy = node.retry_policy(record.input.as_ref())?;
        let effects = match &record.effect {
            Some(effect) if effect.is_unsafe => SideEffects::Unsafe,
            _ => side_effects_of(node),
        };
        // An attempt without an outcome was interrupted: it costs none. The one at hand has its own.
        let ended = record.attempts.iter().filter(|a| a.finished_at.is_some());
        let attempts = ended.count() + 1;
        if !policy.allows(error.class, effects, attempts) || self.signals.cancelled.is_cancelled() {
            return None;
        }
        let failed = u32::try_from(attempts).unwrap_or(u32::MAX);
        Some(policy.delay(failed, error.retry_after_ms, chance()))
    }

    fn attempt_again(&mut self, at: At, mut record: NodeRecord, error: NodeError, delay: Duration) {
        let now = self.engine.clock.now();
        let due = TimeDelta::from_std(delay)
            .ok()
            .and_then(|delay| now.checked_add_signed(delay));
        record.due_at = Some(format_timestamp(due.unwrap_or(now)));
        self.close(&mut record, NodeStatus::Scheduled, Some(error));
        record.finished_at = None;
        self.put(at, record, true);
    }

    /// A node that failed before it started: it was never called.
    pub(super) fn fail_unstarted(&mut self, at: At, error: &NodeError) {
        let mut record = self.state.blank(at);
        if error.class == ErrorClass::InDoubt {
            record.effect = record
                .effect
                .map(|effect| effect.settled(LastAttempt::InDoubt));
        }
        self.end_record(&mut record, NodeStatus::Failure, Some(error));
        record.started_at = record.started_at.or_else(|| record.finished_at.clone());
        self.put(at, record, true);
    }

    /// A call that went on past the grace of its run's cancellation: nobody knows its outcome.
    pub(super) fn abandon(&mut self, at: At, mut record: NodeRecord) {
        record.effect = record
            .effect
            .map(|effect| effect.settled(LastAttempt::InDoubt));
        let class = if record.effect.is_some() {
            ErrorClass::InDoubt
        } else {
            ErrorClass::Cancelled
        };
        let message = "the run was cancelled while the call was under way";
        let error = NodeError::new(class, "cancelled", message);
        self.close(&mut record, NodeStatus::Cancelled, Some(error));
        self.put(at, record, true);
    }

    /// Ends a record and its last attempt, which is charged if it had not ended.
    pub(super) fn close(
        &mut self,
        record: &mut NodeRecord,
        status: NodeStatus,
        error: Option<NodeError>,
    ) {
        self.end_record(record, status, error.as_ref());
        if end_attempt(record, error) {
            self.recorder.charge(&record.kind, 1);
        }
    }

    /// Ends a record, counts it, and says in the node's span if it failed.
    pub(super) fn end_record(
        &self,
        record: &mut NodeRecord,
        status: NodeStatus,
        error: Option<&NodeError>,
    ) {
        record.status = status;
        record.error = error.map(error_text);
        record.finished_at = Some(format_timestamp(self.engine.clock.now()));
        if let (NodeStatus::Failure, Some(error)) = (status, error) {
            mark_failed(error);
        }
        let kind = self.label(&record.kind).to_owned();
        metrics::counter!("redrive_nodes_total", "type" => kind, "status" => status.as_str())
            .increment(1);
    }
}

/// The record of an attempt that failed, with what that says of its effect.
fn failed(prepared: Prepared, error: &NodeError) -> NodeRecord {
    let last = match error {
        NodeError {
            class: ErrorClass::InDoubt,
            ..
        } => LastAttempt::InDoubt,
        NodeError { rejected: true, .. } => LastAttempt::Rejected,
        NodeError { unsent: true, .. } => return prepared.take_back(),
        _ => LastAttempt::Failed,
    };
    let mut record = prepared.record;
    record.effect = record.effect.map(|effect| effect.settled(last));
    record
}

/// Whether the last attempt of a record has no outcome.
pub(super) fn is_open(record: &NodeRecord) -> bool {
    let last = record.attempts.last();
    last.is_some_and(|attempt| attempt.finished_at.is_none())
}

/// Ends the last attempt of a record with it; whether it was open.
pub(super) fn end_attempt(record: &mut NodeRecord, error: Option<NodeError>) -> bool {
    let was_open = is_open(record);
    if let Some(attempt) = record.attempts.last_mut() {
        attempt.finished_at.clone_from(&record.finished_at);
        attempt.error = error;
    }
    was_open
}

fn permanent(code: &str, message: String) -> NodeError {
    NodeError::new(ErrorClass::Permanent, code, message)
}
