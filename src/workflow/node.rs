//! One node of a definition.

use std::time::Duration;

use serde_json::Value;

use crate::domain::{NodeId, RetryPolicy, SideEffects};

/// What a node's failure means for its run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The run fails.
    #[default]
    Stop,
    /// The failure is tolerated; descendants may read it.
    Continue,
}

/// One node. `children` and `parents` are positions in the definition's nodes.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Its key in `nodes`.
    pub id: NodeId,
    /// Its `type`.
    pub kind: String,
    /// Its payload with expressions unresolved: an object, empty when none was given.
    pub payload: Value,
    /// What follows it, in order, each once.
    pub children: Vec<usize>,
    /// The nodes that it follows, each once.
    pub parents: Vec<usize>,
    /// The branch of its `if` parents that it belongs to.
    pub branch: Option<String>,
    /// The connector, as it came.
    pub connector: Option<Value>,
    /// What its failure means.
    pub on_error: OnError,
    /// What `$inputs` is in its payload, with expressions unresolved: an object. None for a node
    /// that was not expanded from a block.
    pub input_mapping: Option<Value>,
    /// Its own `retry`; see [`Node::retry_policy`].
    pub retry: Option<RetryPolicy>,
    /// How long one attempt of it may take.
    pub timeout: Option<Duration>,
    /// What repeating it means, when the node declares it.
    pub side_effects: Option<SideEffects>,
    /// Whether it is one of the definition's triggers. Triggers fire, they are never executed.
    pub is_trigger: bool,
    /// The body that it is in, a number of [`Definition::body`](super::Definition::body); 0 is
    /// outside all loops.
    pub body: usize,
    /// Its place among the members of that body.
    pub place: usize,
    /// The body that it repeats, if it is a loop.
    pub loop_body: Option<usize>,
}
