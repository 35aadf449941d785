//! Where the source stopped, as the planner sees it.

use serde_json::Value;

use crate::{
    domain::{NodePath, NodeRecord},
    workflow::{At, Definition, Frames},
};

/// The records of a run by where their node stands.
#[derive(Debug)]
pub struct State<'a>(Frames<&'a NodeRecord>);

impl<'a> State<'a> {
    /// Sorts `records` under the nodes of `definition` and the iterations of its loops; records of
    /// nodes that it does not have are left out.
    #[must_use]
    pub fn new(definition: &Definition, records: &'a [NodeRecord]) -> Self {
        let mut frames = Frames::new(definition);
        for record in records {
            if let Some(at) = frames.locate(definition, &record.path) {
                frames.put(definition, at, record);
            }
        }
        Self(frames)
    }

    /// The record of a node.
    #[must_use]
    pub fn get(&self, definition: &Definition, at: At) -> Option<&'a NodeRecord> {
        self.0.get(definition, at).copied()
    }

    /// The node at a path, if its frame is there.
    #[must_use]
    pub fn find(&self, definition: &Definition, path: &NodePath) -> Option<At> {
        self.0.find(definition, path)
    }

    pub(super) fn frames(&self) -> &Frames<&'a NodeRecord> {
        &self.0
    }
}

/// The stored array of a loop; none if its record has none.
#[must_use]
pub fn stored_array(record: &NodeRecord) -> Option<Vec<Value>> {
    match record.input.as_ref()?.value().ok()? {
        Value::Object(mut input) => match input.remove("array")? {
            Value::Array(items) => Some(items),
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Object(_) => None,
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            None
        }
    }
}
