//! `for-each`: a node that the engine itself executes, as it runs the nodes of its body.

use serde_json::{Value, json};

use super::{drive::Drive, next::IterationEnd};
use crate::{
    domain::{
        Attempt, ErrorClass, ITERATIONS, JsonText, NodeError, NodeRecord, NodeStatus, Timestamp,
        format_timestamp,
    },
    plan::stored_array,
    workflow::At,
};

impl Drive<'_> {
    /// Resolves the array, unless an earlier run has stored it, and enters the first iteration.
    pub(super) fn start_loop(&mut self, at: At) {
        let now = self.engine.clock.now();
        let record = self.state.blank(at);
        let (items, input) = match self.items(at, &record) {
            Ok(found) => found,
            Err(error) => return self.fail_unstarted(at, &error),
        };
        let mut record = started(record, input, now);
        if items.is_empty() {
            // No record of an iteration will show that it is a loop.
            record.set_extra(ITERATIONS, 0.into());
        }
        self.state.enter_loop(at, items);
        self.put(at, record, false);
    }

    /// The array and the input that holds it. One that is stored is never resolved again.
    fn items(&self, at: At, record: &NodeRecord) -> Result<(Vec<Value>, JsonText), NodeError> {
        if let (Some(items), Some(input)) = (stored_array(record), &record.input) {
            return Ok((items, input.clone()));
        }
        let resolved = self.state.resolve(at).map_err(|error| *error)?;
        let Some(Value::Array(items)) = resolved.get("array") else {
            let message = "`array` must be an array: a list, or an expression that gives one";
            return Err(refused("invalid_payload", message.to_owned()));
        };
        let limit = self.engine.limits.loop_iterations;
        if items.len() > limit {
            let message = format!(
                "the array has {} elements, more than the {limit} iterations allowed \
                 (limits.loop_iterations)",
                items.len()
            );
            return Err(refused("too_many_iterations", message));
        }
        Ok((items.clone(), self.checked_input(&resolved)?))
    }

    /// Ends a loop whose iterations have all ended.
    pub(super) fn settle_loop(&mut self, at: At) {
        let mut record = self.state.blank(at);
        let ends = self.state.iteration_ends(at);
        let failed = ends.iter().filter(|end| **end == IterationEnd::Failure);
        let status = match failed.count() {
            0 if ends.contains(&IterationEnd::Partial) => NodeStatus::Partial,
            0 => NodeStatus::Success,
            all if all == ends.len() => NodeStatus::Failure,
            _ => NodeStatus::Partial,
        };
        record.result = Some(JsonText::of(&result(&ends, status)));
        let error = (status == NodeStatus::Failure).then(|| self.all_failed(at, ends.len()));
        self.close(&mut record, status, error);
        self.state.loops.remove(&at);
        self.put(at, record, true);
    }

    /// The error of a loop of which every iteration failed: of the class of the first one's.
    fn all_failed(&self, at: At, count: usize) -> NodeError {
        let first = self.state.records().find(|(inner, record)| {
            let around = self.state.frames.around(inner.frame);
            record.status == NodeStatus::Failure
                && !self.state.tolerates(*inner)
                && around.is_some_and(|(around, _)| around == at)
        });
        let error = first.and_then(|(_, record)| record.error.as_ref()?.value().ok());
        let member = |name: &str| error.as_ref()?.get(name).cloned();
        let class = member("class").and_then(|class| serde_json::from_value(class).ok());
        let path = first.map(|(_, record)| format!("; the first at {}", record.path));
        let why = member("message").and_then(|why| Some(format!(": {}", why.as_str()?)));
        let message = format!(
            "all {count} iterations failed{}{}",
            path.unwrap_or_default(),
            why.unwrap_or_default()
        );
        let class = class.unwrap_or(ErrorClass::Permanent);
        NodeError::new(class, "iterations_failed", message)
    }
}

fn refused(code: &str, message: String) -> NodeError {
    NodeError::new(ErrorClass::Definition, code, message)
}

/// A record with the start mark of an attempt that sends nothing.
pub(super) fn started(record: NodeRecord, input: JsonText, now: Timestamp) -> NodeRecord {
    NodeRecord {
        input: Some(input),
        ..begun(record, now)
    }
}

/// The same with the input that it has.
pub(super) fn begun(mut record: NodeRecord, now: Timestamp) -> NodeRecord {
    let at = format_timestamp(now);
    let number = u32::try_from(record.attempts.len()).unwrap_or(u32::MAX);
    record.attempts.push(Attempt {
        number: number.saturating_add(1),
        effect_key: None,
        started_at: at.clone(),
        finished_at: None,
        error: None,
    });
    record.status = NodeStatus::Running;
    record.due_at = None;
    record.started_at = record.started_at.or(Some(at));
    record.error = None;
    record.finished_at = None;
    record
}

/// How the iterations ended; what their nodes gave stands in their own records.
fn result(ends: &[IterationEnd], status: NodeStatus) -> Value {
    let iterations: Vec<_> = ends
        .iter()
        .enumerate()
        .map(|(index, end)| json!({ "index": index, "status": word(*end) }))
        .collect();
    json!({
        "iterations": iterations,
        "iterationCount": ends.len(),
        "status": status.as_str(),
    })
}

fn word(end: IterationEnd) -> &'static str {
    match end {
        IterationEnd::Success => NodeStatus::Success.as_str(),
        IterationEnd::Partial => NodeStatus::Partial.as_str(),
        IterationEnd::Failure => NodeStatus::Failure.as_str(),
    }
}
