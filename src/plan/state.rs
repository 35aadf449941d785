//! Where the source stopped, as the planner sees it.

use serde_json::Value;

use crate::{
    domain::{NodePath, NodeRecord, NodeStatus},
    workflow::{At, Definition, Frames},
};

/// The records of a run by where their node stands.
#[derive(Debug)]
pub struct State<'a>(Frames<&'a NodeRecord>);

impl<'a> State<'a> {
    /// Sorts `records` under the nodes of `definition` and the iterations of its loops; records of
    /// nodes that it does not have are left out. A loop that may go on has all iterations of its
    /// stored array, those that never started too.
    #[must_use]
    pub fn new(definition: &Definition, records: &'a [NodeRecord]) -> Self {
        let mut frames = Frames::new(definition);
        for record in records {
            let Some(at) = frames.locate(definition, &record.path) else {
                continue;
            };
            frames.put(definition, at, record);
            let is_loop = definition.node(at.node).loop_body.is_some();
            if is_loop && record.status != NodeStatus::Success {
                for number in 0..length(record) {
                    frames.enter(definition, at, number);
                }
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

/// How many iterations a loop has by its stored array.
fn length(record: &NodeRecord) -> u32 {
    let items = stored_array(record).unwrap_or_default();
    u32::try_from(items.len()).unwrap_or(u32::MAX)
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
