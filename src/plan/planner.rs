//! One pass over the nodes in the order of execution.

use serde::Serialize;

use crate::{
    domain::{EffectState, JsonText, NodePath, NodeRecord, NodeStatus, SideEffects},
    workflow::{Definition, Node, OnError, edge_is_live, side_effects_of},
};

/// What a retry does with a node.
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
    /// It started, and nobody knows whether it took effect.
    OutcomeUnknown,
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

/// One node's line in a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanNode {
    /// The node.
    pub path: NodePath,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// What happens to it.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Whether it runs depends on a branch that is decided during the retry.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub conditional: bool,
    /// Its success is reused although these parents run again or are stale themselves.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stale: Vec<NodePath>,
}

/// What a retry does, node by node: first those that the trigger leads to, in the order of
/// execution, then the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// The lines.
    pub nodes: Vec<PlanNode>,
}

impl Plan {
    /// The plan as JSON text.
    #[must_use]
    pub fn to_text(&self) -> JsonText {
        // Plain structs of text; there is nothing that can't be written.
        JsonText::trusted(serde_json::to_string(self).unwrap_or_else(|_| "null".to_owned()))
    }

    /// The nodes whose repetition needs somebody's word: in doubt, and `unsafe` by declaration or
    /// by what their kind said when they started.
    #[must_use]
    pub fn unconfirmed(&self, definition: &Definition, state: &State<'_>) -> Vec<NodePath> {
        let is_unsafe = |path: &NodePath| {
            let node = path.segments().last().map(|segment| segment.node.as_str());
            let Some(ix) = node.and_then(|node| definition.find(node)) else {
                return false;
            };
            let effect = state.get(ix).and_then(|record| record.effect.as_ref());
            definition.node(ix).side_effects == Some(SideEffects::Unsafe)
                || effect.is_some_and(|effect| effect.is_unsafe)
        };
        let in_doubt = self
            .nodes
            .iter()
            .filter(|line| line.verdict == Verdict::InDoubt);
        let unsafe_ones = in_doubt.filter(|line| is_unsafe(&line.path));
        unsafe_ones.map(|line| line.path.clone()).collect()
    }
}

/// The records of a run by the position of their node in the definition.
#[derive(Debug, Clone)]
pub struct State<'a>(Vec<Option<&'a NodeRecord>>);

impl<'a> State<'a> {
    /// Sorts `records` under the nodes of `definition`; records of nodes that it does not have
    /// are left out.
    #[must_use]
    pub fn new(definition: &Definition, records: &'a [NodeRecord]) -> Self {
        let mut state = vec![None; definition.nodes().len()];
        for record in records {
            let [segment] = record.path.segments() else {
                continue;
            };
            let place = definition
                .find(segment.node.as_str())
                .and_then(|ix| state.get_mut(ix));
            if let Some(place) = place {
                *place = Some(record);
            }
        }
        Self(state)
    }

    /// The record of the node at `ix`.
    #[must_use]
    pub fn get(&self, ix: usize) -> Option<&'a NodeRecord> {
        self.0.get(ix).copied().flatten()
    }
}

/// Whether an edge will carry execution to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Live,
    Dead,
    /// Decided during the retry.
    Open,
}

/// Plans a retry of the run whose trigger `trigger` fired and that stopped in `state`.
#[must_use]
pub fn plan(definition: &Definition, trigger: usize, state: &State<'_>) -> Plan {
    let reachable = definition.reachable(trigger);
    let mut lines: Vec<Option<PlanNode>> = vec![None; definition.nodes().len()];
    let order = definition.order(trigger);
    let others = (0..lines.len()).filter(|ix| !reachable[*ix]);
    let all: Vec<usize> = order.into_iter().chain(others).collect();
    for &ix in &all {
        let planner = Planner {
            definition,
            state,
            lines: &lines,
            reachable: &reachable,
        };
        let line = planner.line(ix, ix == trigger);
        lines[ix] = Some(line);
    }
    Plan {
        nodes: all.into_iter().filter_map(|ix| lines[ix].take()).collect(),
    }
}

struct Planner<'a> {
    definition: &'a Definition,
    state: &'a State<'a>,
    lines: &'a [Option<PlanNode>],
    reachable: &'a [bool],
}

impl Planner<'_> {
    fn line(&self, ix: usize, is_trigger: bool) -> PlanNode {
        let node = self.definition.node(ix);
        let (verdict, reason, conditional) = if is_trigger {
            (Verdict::Reuse, Reason::Trigger, false)
        } else {
            self.judge(ix)
        };
        let reused_success = matches!(reason, Reason::Succeeded);
        PlanNode {
            path: NodePath::of(node.id.clone()),
            kind: node.kind.clone(),
            verdict,
            reason,
            conditional,
            stale: if reused_success {
                self.changed_parents(node)
            } else {
                Vec::new()
            },
        }
    }

    /// The first rule that applies holds.
    fn judge(&self, ix: usize) -> (Verdict, Reason, bool) {
        let node = self.definition.node(ix);
        let record = self.state.get(ix);
        let status = record.map_or(NodeStatus::Pending, |record| record.status);
        if status == NodeStatus::Success {
            return (Verdict::Reuse, Reason::Succeeded, false);
        }
        if status == NodeStatus::Failure && node.on_error == OnError::Continue {
            return (Verdict::Reuse, Reason::ToleratedFailure, false);
        }
        if status == NodeStatus::Skipped && !self.is_decided_anew(node) {
            return (Verdict::Reuse, Reason::StaysSkipped, false);
        }
        if !self.reachable[ix] {
            return (Verdict::Skip, Reason::Unreachable, false);
        }
        let conditional = match self.edge_into(ix) {
            Edge::Dead => return (Verdict::Skip, Reason::BranchNotTaken, false),
            Edge::Live => false,
            Edge::Open => true,
        };
        let (verdict, reason) = unsettled(node, record, status);
        (verdict, reason, conditional)
    }

    /// Live if any edge is, dead if all are.
    fn edge_into(&self, ix: usize) -> Edge {
        let node = self.definition.node(ix);
        let mut edges = node.parents.iter().map(|parent| self.edge(*parent, node));
        edges
            .try_fold(Edge::Dead, |found, edge| match (found, edge) {
                (_, Edge::Live) => Err(Edge::Live),
                (Edge::Open, _) | (_, Edge::Open) => Ok(Edge::Open),
                (found, Edge::Dead) => Ok(found),
            })
            .unwrap_or_else(|live| live)
    }

    fn edge(&self, parent: usize, child: &Node) -> Edge {
        let above = self.definition.node(parent);
        let Some(line) = self.lines[parent].as_ref() else {
            return Edge::Dead;
        };
        match line.verdict {
            Verdict::Skip => Edge::Dead,
            Verdict::Reuse => {
                let record = self.state.get(parent);
                let status = record.map_or(NodeStatus::Success, |record| record.status);
                let taken = record.and_then(|record| record.branch.as_deref());
                let is_live = edge_is_live(&above.kind, status, taken, child.branch.as_deref());
                if is_live && self.reachable[parent] {
                    Edge::Live
                } else {
                    Edge::Dead
                }
            }
            Verdict::Execute | Verdict::InDoubt if line.conditional => Edge::Open,
            Verdict::Execute | Verdict::InDoubt => {
                // Nothing taken yet: if the edge is dead now, the branch is what decides.
                let is_live = edge_is_live(
                    &above.kind,
                    NodeStatus::Success,
                    None,
                    child.branch.as_deref(),
                );
                if is_live { Edge::Live } else { Edge::Open }
            }
        }
    }

    fn is_decided_anew(&self, node: &Node) -> bool {
        node.parents.iter().any(|parent| self.runs_again(*parent))
    }

    fn runs_again(&self, ix: usize) -> bool {
        let line = self.lines[ix].as_ref();
        line.is_some_and(|line| matches!(line.verdict, Verdict::Execute | Verdict::InDoubt))
    }

    fn changed_parents(&self, node: &Node) -> Vec<NodePath> {
        let lines = node
            .parents
            .iter()
            .filter_map(|parent| self.lines[*parent].as_ref());
        let changed = lines.filter(|line| {
            matches!(line.verdict, Verdict::Execute | Verdict::InDoubt) || !line.stale.is_empty()
        });
        changed.map(|line| line.path.clone()).collect()
    }
}

fn unsettled(node: &Node, record: Option<&NodeRecord>, status: NodeStatus) -> (Verdict, Reason) {
    let effect = record.and_then(|record| record.effect.as_ref());
    let has_effects = side_effects_of(node) != SideEffects::None;
    if has_effects && effect.is_some_and(EffectState::is_in_doubt) {
        return (Verdict::InDoubt, Reason::OutcomeUnknown);
    }
    let reason = match status {
        NodeStatus::Failure | NodeStatus::Partial => Reason::Failed,
        NodeStatus::Cancelled => Reason::Cancelled,
        NodeStatus::Waiting | NodeStatus::Scheduled => Reason::WasWaiting,
        NodeStatus::Running => Reason::Interrupted,
        NodeStatus::Skipped => Reason::DecidedAnew,
        NodeStatus::Pending | NodeStatus::Success => Reason::NeverStarted,
    };
    (Verdict::Execute, reason)
}
