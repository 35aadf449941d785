//! What a plan says.

use std::fmt;

use serde::{Serialize, Serializer};

use crate::domain::{JsonText, NodePath};

/// What a retry does with a node, or with an iteration of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Its record goes over; it does not run.
    Reuse,
    /// It started and its outcome is unknown: it repeats what it sent, with the same key.
    InDoubt,
    /// It runs.
    Execute,
    /// It does not run, and has nothing to reuse.
    Skip,
}

impl Verdict {
    /// Whether the node runs.
    #[must_use]
    pub const fn runs(self) -> bool {
        matches!(self, Self::Execute | Self::InDoubt)
    }
}

/// Why a node has its verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It is the trigger that fired.
    Trigger,
    /// Its success is recorded.
    Succeeded,
    /// It failed, and its definition says to go on.
    ToleratedFailure,
    /// It was skipped, and nothing that decided so runs again.
    StaysSkipped,
    /// The request gives its result.
    Pinned,
    /// The loop around it is reused as it is.
    LoopReused,
    /// It started, and nobody knows whether it took effect.
    OutcomeUnknown,
    /// The request names it, or something above it.
    Named,
    /// A loop that had ended: the request names something in one of its iterations. The others
    /// stay as they are.
    IterationNamed,
    /// It waits for a child run, whose chain is read when the node runs.
    Child,
    /// It failed.
    Failed,
    /// It was cancelled.
    Cancelled,
    /// It never started.
    NeverStarted,
    /// It was waiting; it waits again, for the full time.
    WasWaiting,
    /// It started, has no effects and no outcome.
    Interrupted,
    /// It was skipped, and what decided so runs again.
    DecidedAnew,
    /// The trigger that fired does not lead to it.
    Unreachable,
    /// No branch that leads to it was taken.
    BranchNotTaken,
}

/// Where a line of a plan stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum PlanPath {
    /// A node of the run.
    Node(NodePath),
    /// A node in the body of a loop whose iterations are not known yet: `loop[*].pay`.
    EveryIteration(String),
}

impl PlanPath {
    /// The node, if it is one of the run.
    #[must_use]
    pub fn node(&self) -> Option<&NodePath> {
        match self {
            Self::Node(path) => Some(path),
            Self::EveryIteration(_) => None,
        }
    }
}

impl fmt::Display for PlanPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Node(path) => path.fmt(f),
            Self::EveryIteration(text) => f.write_str(text),
        }
    }
}

impl Serialize for PlanPath {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// One node's line in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanNode {
    /// The node.
    pub path: PlanPath,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happens to it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Whether it runs is decided during the retry: by a branch above it, or by the array of the
    /// loop around it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// Its record is reused although this has changed: nodes above it that run again or are stale
    /// themselves, by path, and values that the request changes (`$props.x`, `$vars.x`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<String>,
    /// It is in doubt and declared unsafe to repeat: a retry has to name it in `acknowledge`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub needs_acknowledge: bool,
    /// Something above it is named: what it would repeat has to be resolved again.
    #[serde(skip)]
    pub is_below_named: bool,
    /// The iterations of a loop that are known.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub iterations: Vec<PlanIteration>,
}

/// What happens to one iteration of a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct PlanIteration {
    /// Its number, from 0.
    pub index: u32,
    /// [`Reuse`](Verdict::Reuse) if nothing in it runs.
    pub verdict: Verdict,
    /// Of what runs in it first.
    pub reason: Reason,
}

/// What a retry does, node by node: first those that the trigger leads to, in the order of
/// execution, each loop followed by its iterations, then the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The lines.
    pub nodes: Vec<PlanNode>,
    /// The nodes whose repetition needs somebody's word, those in a loop that is named too.
    #[serde(rename = "needAcknowledge", skip_serializing_if = "Vec::is_empty")]
    pub unconfirmed: Vec<NodePath>,
}

impl Plan {
    /// The same plan, as if nothing needed anybody's word: what it does is the same once it is given.
    #[must_use]
    pub fn acknowledged(&self) -> Self {
        let mut plan = self.clone();
        plan.unconfirmed.clear();
        for line in &mut plan.nodes {
            line.needs_acknowledge = false;
        }
        plan
    }

    /// The plan as JSON text.
    #[must_use]
    pub fn to_text(&self) -> JsonText {
        // Plain structs of text; there is nothing that can't be written.
        JsonText::trusted(serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned()))
    }
}
