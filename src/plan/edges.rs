//! Which edges carry a retry onward, before it is known what every node will do.

use super::{
    Reason, Verdict,
    planner::{Lines, Place, Planner},
};
use crate::{
    domain::NodeStatus,
    workflow::{Node, TOP, edge_is_live},
};

/// Whether an edge will carry execution to its child.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Edge {
    Live,
    Dead,
    /// Decided during the retry.
    Open,
}

impl Planner<'_> {
    /// Live if any edge is, dead if all are. The entries of a loop's body have no edges: they run.
    pub(super) fn edge_into(&self, place: &Place, lines: &Lines, ix: usize) -> Edge {
        let node = self.definition.node(ix);
        if place.body != TOP && node.parents.is_empty() {
            return Edge::Live;
        }
        let mut edges = node
            .parents
            .iter()
            .map(|parent| self.edge(place, lines, *parent, node));
        edges
            .try_fold(Edge::Dead, |found, edge| match (found, edge) {
                (_, Edge::Live) => Err(Edge::Live),
                (Edge::Open, _) | (_, Edge::Open) => Ok(Edge::Open),
                (found, Edge::Dead) => Ok(found),
            })
            .unwrap_or_else(|live| live)
    }

    fn edge(&self, place: &Place, lines: &Lines, parent: usize, child: &Node) -> Edge {
        let above = self.definition.node(parent);
        let Some(line) = self.line_of(lines, parent) else {
            return Edge::Dead;
        };
        let branch = child.branch.as_deref();
        match line.verdict {
            Verdict::Skip => Edge::Dead,
            Verdict::Reuse => {
                let pinned = line.path.node().and_then(|path| self.pinned.get(path));
                let record = self.record(place, parent).filter(|_| pinned.is_none());
                let status = record.map_or(NodeStatus::Success, |record| record.status);
                let taken = record.and_then(|record| record.branch.as_deref());
                let taken = pinned.map_or(taken, |pinned| pinned.as_deref());
                let is_live = edge_is_live(&above.kind, status, taken, branch);
                let is_reachable = place.body != TOP || self.reachable[parent];
                if is_live && is_reachable {
                    Edge::Live
                } else {
                    Edge::Dead
                }
            }
            Verdict::Execute | Verdict::InDoubt if line.conditional => Edge::Open,
            Verdict::Execute | Verdict::InDoubt => {
                // Nothing taken yet: if the edge is dead now, the branch is what decides.
                let is_live = edge_is_live(&above.kind, NodeStatus::Success, None, branch);
                if is_live { Edge::Live } else { Edge::Open }
            }
        }
    }

    pub(super) fn is_decided_anew(&self, lines: &Lines, node: &Node) -> bool {
        let mut above = node
            .parents
            .iter()
            .filter_map(|parent| self.line_of(lines, *parent));
        above.any(|line| line.verdict.runs() || line.reason == Reason::Pinned)
    }
}
