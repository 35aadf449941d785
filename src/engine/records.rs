//! Records on their way into the state and the ledger: the one place that holds nodes to their
//! state machine.

use super::drive::{Drive, error_text};
use crate::{
    domain::{ErrorClass, NodeError, NodeRecord, NodeStatus, format_timestamp},
    workflow::At,
};

impl Drive<'_> {
    /// Stores a record here and for the ledger. What its node may not become is a fault of ours: a
    /// node that has ended keeps its record, any other one fails.
    pub(super) fn put(&mut self, at: At, record: NodeRecord, is_outcome: bool) {
        let (before, next) = (self.state.status(at), record.status);
        if before.may_become(next) {
            return self.write(at, record, is_outcome);
        }
        let (run, path) = (&self.context.run_id, &record.path);
        let (from, to) = (before.as_str(), next.as_str());
        tracing::error!(run_id = %run, %path, from, to, "a node may not become what it was to become");
        if before.may_become(NodeStatus::Failure) {
            let now = format_timestamp(self.engine.clock.now());
            let record = failed(record, before, now);
            self.write(at, record, true);
        }
    }

    /// Stores a record whatever its node was before.
    pub(super) fn write(&mut self, at: At, record: NodeRecord, is_outcome: bool) {
        self.recorder.add(record.clone(), is_outcome);
        self.state.put(at, record);
    }

    pub(super) fn skip(&mut self, at: At) {
        // What is known of its effect stays: a later retry may run it after all.
        let record = NodeRecord {
            status: NodeStatus::Skipped,
            ..self.state.blank(at)
        };
        self.put(at, record, false);
    }
}

/// The record of a node that may not become what it says.
fn failed(record: NodeRecord, before: NodeStatus, now: String) -> NodeRecord {
    let (from, to) = (before.as_str(), record.status.as_str());
    let message =
        format!("a fault in redrive: a node that is {from} was to become {to}; please report it");
    let error = NodeError::new(ErrorClass::Internal, "illegal_transition", message);
    NodeRecord {
        status: NodeStatus::Failure,
        error: Some(error_text(&error)),
        due_at: None,
        finished_at: Some(now),
        ..record
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_illegal_transition_fails_its_node_and_keeps_what_is_known_of_it() {
        let mut record = NodeRecord::new("pay".parse().unwrap(), "log", NodeStatus::Skipped);
        record.due_at = Some("tomorrow".to_owned());
        record.started_at = Some("yesterday".to_owned());
        let failed = failed(record, NodeStatus::Running, "today".to_owned());
        assert_eq!(failed.status, NodeStatus::Failure);
        assert_eq!(failed.started_at.as_deref(), Some("yesterday"));
        assert_eq!(failed.finished_at.as_deref(), Some("today"));
        assert_eq!(failed.due_at, None);
        let error = failed.error.unwrap();
        assert!(error.as_str().contains("running was to become skipped"));
    }
}
