//! What an executed node looks like from outside: its span, and its type as a label.

use tracing::{Span, field::Empty};

use super::drive::Drive;
use crate::{
    domain::{NodeError, traceparent_of},
    workflow::At,
};

/// The label of all types that no kind of this process is for.
const CONNECTOR: &str = "connector";

impl Drive<'_> {
    /// A node's type as a label of metrics and spans. Types are users' words: only the kinds that
    /// this process has are labels.
    pub(super) fn label<'a>(&self, kind: &'a str) -> &'a str {
        if self.engine.handlers.has(kind) {
            kind
        } else {
            CONNECTOR
        }
    }

    /// The span of one execution of a node.
    pub(super) fn node_span(&self, at: At) -> Span {
        let node = self.state.node(at);
        let record = self.state.record(at);
        let path = record.map_or_else(|| node.id.to_string(), |record| record.path.to_string());
        let before = record.map_or(0, |record| record.attempts.len());
        // The name is for the export only; a log line has the type.
        let is_exported = traceparent_of(&Span::current()).is_some();
        tracing::info_span!(
            "node",
            otel.name = is_exported.then(|| self.label(&node.kind)),
            otel.status_code = Empty,
            error.type = Empty,
            node_id = node.id.as_str(),
            node_path = path,
            node_type = node.kind.as_str(),
            attempt = before + 1,
        )
    }
}

/// Marks the span that this runs in as failed. Only words of ours: messages may hold user data.
pub(super) fn mark_failed(error: &NodeError) {
    let span = Span::current();
    span.record("otel.status_code", "error");
    span.record("error.type", error.class.as_str());
}
