//! One pass over the nodes in the order of execution, into the iterations of every loop.

use std::collections::HashMap;

use super::{
    ChoiceError, Choices, Plan, PlanNode, PlanPath, Reason, State, Verdict, choices::Named,
    edges::Edge,
};
use crate::{
    domain::{EffectState, NodePath, NodeRecord, NodeStatus, SideEffects},
    workflow::{At, Definition, Node, OnError, TOP, reads_any_of, side_effects_of},
};

/// Plans a retry of the run whose trigger `trigger` fired and that stopped in `state`.
///
/// # Errors
/// A choice names what the run does not have, or what can't be done with it.
pub fn plan(
    definition: &Definition,
    trigger: usize,
    state: &State<'_>,
    choices: &Choices,
) -> Result<Plan, ChoiceError> {
    let mut planner = Planner {
        definition,
        trigger,
        state,
        choices,
        named: Named::new(definition, state, choices)?,
        reachable: definition.reachable(trigger),
        pinned: choices
            .pinned
            .iter()
            .map(|p| (&p.path, &p.branch))
            .collect(),
        lines: Vec::new(),
        unconfirmed: Vec::new(),
        refused: None,
    };
    let all = definition.body(TOP).members.iter().copied();
    let others = all.filter(|node| !planner.reachable[*node]);
    let order: Vec<usize> = definition
        .order(trigger)
        .into_iter()
        .chain(others)
        .collect();
    planner.frame(
        &Place {
            body: TOP,
            frame: Some(TOP),
            prefix: Prefix::Top,
            mode: Mode::Judge,
            conditional: false,
            changed: Vec::new(),
            is_below_named: false,
        },
        &order,
    );
    planner.finish()
}

/// How the records of a frame count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// Each node by its record.
    Judge,
    /// The loop around it is reused, and everything in it with it.
    Reused,
    /// The loop around it does not run.
    Skipped(Reason),
}

/// The path of the loop around a frame, up to the iteration.
#[derive(Debug, Clone)]
pub(super) enum Prefix {
    Top,
    Iteration(NodePath, u32),
    Every(String),
}

impl Prefix {
    fn path(&self, node: &Node) -> PlanPath {
        let own = NodePath::of(node.id.clone());
        match self {
            Self::Top => PlanPath::Node(own),
            Self::Iteration(path, number) => PlanPath::Node(path.clone().enter(*number, own)),
            Self::Every(text) => {
                let own = own.to_string();
                let dot = if own.starts_with('[') { "" } else { "." };
                PlanPath::EveryIteration(format!("{text}{dot}{own}"))
            }
        }
    }
}

/// One frame to plan.
pub(super) struct Place {
    pub(super) body: usize,
    /// The frame of the state, if it has one.
    pub(super) frame: Option<usize>,
    pub(super) prefix: Prefix,
    pub(super) mode: Mode,
    pub(super) conditional: bool,
    /// What has changed above the loop around it.
    pub(super) changed: Vec<String>,
    /// Something above the loop around it is named.
    pub(super) is_below_named: bool,
}

pub(super) struct Planner<'a> {
    pub(super) definition: &'a Definition,
    pub(super) trigger: usize,
    pub(super) state: &'a State<'a>,
    pub(super) choices: &'a Choices,
    pub(super) named: Named,
    pub(super) reachable: Vec<bool>,
    /// The branches that pinned nodes take, by path.
    pub(super) pinned: HashMap<&'a NodePath, &'a Option<String>>,
    pub(super) lines: Vec<PlanNode>,
    pub(super) unconfirmed: Vec<NodePath>,
    pub(super) refused: Option<ChoiceError>,
}

/// The lines of a frame by the place of their node.
pub(super) type Lines = Vec<Option<usize>>;

impl Planner<'_> {
    pub(super) fn frame(&mut self, place: &Place, order: &[usize]) {
        let members = self.definition.body(place.body).members.len();
        let mut lines: Lines = vec![None; members];
        for &node in order {
            let line = self.line(place, &lines, node);
            let is_loop = self.definition.node(node).loop_body.is_some();
            let mut changed = if is_loop {
                self.changed_above(place, &lines, node)
            } else {
                Vec::new()
            };
            // Its items may be others too, by what the request changes.
            if is_loop && changed.is_empty() && !line.stale.is_empty() {
                changed.push(line.path.to_string());
            }
            lines[self.definition.node(node).place] = Some(self.lines.len());
            self.lines.push(line);
            if is_loop {
                self.iterations(place, node, changed);
            }
        }
    }

    pub(super) fn record(&self, place: &Place, node: usize) -> Option<&NodeRecord> {
        let at = At {
            frame: place.frame?,
            node,
        };
        self.state.get(self.definition, at)
    }

    fn line(&mut self, place: &Place, lines: &Lines, ix: usize) -> PlanNode {
        let node = self.definition.node(ix);
        let path = place.prefix.path(node);
        let (verdict, reason, conditional) = match place.mode {
            Mode::Judge if place.body == TOP && ix == self.trigger => {
                (Verdict::Reuse, Reason::Trigger, false)
            }
            Mode::Judge => self.judge(place, lines, ix, &path),
            Mode::Reused => self.inside_reused(place, ix),
            Mode::Skipped(reason) => (Verdict::Skip, reason, false),
        };
        let needs_acknowledge = verdict == Verdict::InDoubt
            && self.is_unsafe(self.record(place, ix), ix)
            && path.node().is_some_and(|path| !self.is_acknowledged(path));
        if let Some(path) = path.node().filter(|_| needs_acknowledge) {
            self.unconfirmed.push(path.clone());
        }
        PlanNode {
            kind: node.kind.clone(),
            conditional: (conditional || place.conditional) && verdict.runs(),
            stale: if matches!(reason, Reason::Succeeded | Reason::ToleratedFailure) {
                self.stale(place, lines, ix)
            } else {
                Vec::new()
            },
            needs_acknowledge,
            is_below_named: self.is_below_named(place, lines, node),
            path,
            verdict,
            reason,
            iterations: Vec::new(),
        }
    }

    pub(super) fn is_unsafe(&self, record: Option<&NodeRecord>, ix: usize) -> bool {
        let effect = record.and_then(|record| record.effect.as_ref());
        self.definition.node(ix).side_effects == Some(SideEffects::Unsafe)
            || effect.is_some_and(|effect| effect.is_unsafe)
    }

    pub(super) fn is_acknowledged(&self, path: &NodePath) -> bool {
        self.choices.acknowledged.contains(path)
    }

    fn is_below_named(&self, place: &Place, lines: &Lines, node: &Node) -> bool {
        let mut parents = node.parents.iter();
        place.is_below_named
            || parents.any(|parent| {
                let line = self.line_of(lines, *parent);
                self.named.has(place.frame, *parent) && !self.definition.node(*parent).is_trigger
                    || self.named.is_around_from(place.frame, *parent)
                    || line.is_some_and(|line| line.is_below_named)
            })
    }

    fn inside_reused(&self, place: &Place, ix: usize) -> (Verdict, Reason, bool) {
        let status = self.record(place, ix).map(|record| record.status);
        match status {
            Some(NodeStatus::Success) => (Verdict::Reuse, Reason::Succeeded, false),
            Some(_) => (Verdict::Reuse, Reason::LoopReused, false),
            None => (Verdict::Skip, Reason::LoopReused, false),
        }
    }

    /// The first rule that applies holds.
    fn judge(
        &mut self,
        place: &Place,
        lines: &Lines,
        ix: usize,
        path: &PlanPath,
    ) -> (Verdict, Reason, bool) {
        let node = self.definition.node(ix);
        let record = self.record(place, ix);
        let status = record.map_or(NodeStatus::Pending, |record| record.status);
        let is_reachable = place.body != TOP || self.reachable[ix];
        let is_named = is_reachable && self.named.has(place.frame, ix);
        if path
            .node()
            .is_some_and(|path| self.pinned.contains_key(path))
        {
            return self.pin(path, status);
        }
        let reusable = self.reusable(lines, node, status);
        let is_around = is_reachable && self.named.is_around(place.frame, ix);
        if let Some(reason) = reusable
            && !is_named
            && !is_around
        {
            return (Verdict::Reuse, reason, false);
        }
        if !is_reachable {
            return (Verdict::Skip, Reason::Unreachable, false);
        }
        let conditional = match self.edge_into(place, lines, ix) {
            Edge::Dead => return (Verdict::Skip, Reason::BranchNotTaken, false),
            Edge::Live => false,
            Edge::Open => true,
        };
        if reusable.is_some() && !is_named {
            return (Verdict::Execute, Reason::IterationNamed, conditional);
        }
        let (verdict, reason) = unsettled(node, record, status, is_named);
        (verdict, reason, conditional)
    }

    /// Why a node in this status is reused, unless the request names it.
    fn reusable(&self, lines: &Lines, node: &Node, status: NodeStatus) -> Option<Reason> {
        match status {
            NodeStatus::Success => Some(Reason::Succeeded),
            NodeStatus::Failure if node.on_error == OnError::Continue => {
                Some(Reason::ToleratedFailure)
            }
            NodeStatus::Skipped if !self.is_decided_anew(lines, node) => Some(Reason::StaysSkipped),
            NodeStatus::Pending
            | NodeStatus::Running
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Waiting
            | NodeStatus::Scheduled
            | NodeStatus::Cancelled => None,
        }
    }

    fn pin(&mut self, path: &PlanPath, status: NodeStatus) -> (Verdict, Reason, bool) {
        if status == NodeStatus::Success {
            self.refuse(format!(
                "nodeResults: `{path}` is a success already, and keeps its result"
            ));
        }
        (Verdict::Reuse, Reason::Pinned, false)
    }

    fn refuse(&mut self, message: String) {
        self.refused.get_or_insert(ChoiceError(message));
    }

    pub(super) fn line_of(&self, lines: &Lines, node: usize) -> Option<&PlanNode> {
        let line = lines[self.definition.node(node).place]?;
        self.lines.get(line)
    }

    /// What has changed for a node whose success is reused: what is above it, and the request's
    /// values that it reads.
    fn stale(&self, place: &Place, lines: &Lines, ix: usize) -> Vec<String> {
        let mut stale = self.changed_above(place, lines, ix);
        let values = &self.choices.changed_values;
        if !values.is_empty() {
            stale.extend(reads_any_of(self.definition, ix, values));
        }
        stale
    }

    /// The parents of a node that run again or are stale themselves; for the entries of a body what
    /// has changed above the loop.
    fn changed_above(&self, place: &Place, lines: &Lines, ix: usize) -> Vec<String> {
        let node = self.definition.node(ix);
        if node.parents.is_empty() {
            return place.changed.clone();
        }
        let above = node
            .parents
            .iter()
            .filter_map(|parent| self.line_of(lines, *parent));
        let changed = above.filter(|line| {
            line.verdict.runs() || line.reason == Reason::Pinned || !line.stale.is_empty()
        });
        changed.map(|line| line.path.to_string()).collect()
    }

    /// The plan, if the choices fit it.
    fn finish(self) -> Result<Plan, ChoiceError> {
        if let Some(refused) = self.refused {
            return Err(refused);
        }
        let (definition, state) = (self.definition, self.state);
        self.choices.check(&self.lines, definition, state)?;
        self.check_from()?;
        Ok(Plan {
            nodes: self.lines,
            unconfirmed: self.unconfirmed,
        })
    }

    /// What the request starts from must be where the run came to, with everything above it
    /// settled.
    fn check_from(&self) -> Result<(), ChoiceError> {
        let Some(from) = self.named.from else {
            return Ok(());
        };
        let (definition, frames) = (self.definition, self.state.frames());
        let paths = self.lines.iter().filter_map(|l| Some((l.path.node()?, l)));
        let by_path: HashMap<_, _> = paths.collect();
        let line = |at: At| by_path.get(&frames.path(definition, at)).copied();
        let path = frames.path(definition, from);
        let refuse = |why: String| Err(ChoiceError(format!("fromNodeId: `{path}` {why}")));
        if definition.node(from.node).is_trigger {
            return refuse("is a trigger, which never runs: take `mode: \"all\"`".into());
        }
        for above in self.named.above(definition, self.state) {
            // A loop with mixed iterations has ended: it runs anyway, and first.
            let status = self
                .state
                .get(definition, above)
                .map(|record| record.status);
            let is_open = line(above).is_some_and(|line| line.verdict.runs())
                && status != Some(NodeStatus::Partial);
            if is_open && !self.choices.all {
                let above = frames.path(definition, above);
                return refuse(format!(
                    "can't be started from: `{above}` above it has not settled"
                ));
            }
        }
        match line(from) {
            Some(line) if line.verdict.runs() => Ok(()),
            Some(line) if line.reason == Reason::Pinned => {
                refuse("has its result from `nodeResults`: it can't run too".into())
            }
            _ => refuse("was not reached: its branch was not taken".into()),
        }
    }
}

fn unsettled(
    node: &Node,
    record: Option<&NodeRecord>,
    status: NodeStatus,
    is_named: bool,
) -> (Verdict, Reason) {
    // A success that is repeated because somebody wants it repeated is in no doubt.
    if is_named && status == NodeStatus::Success {
        return (Verdict::Execute, Reason::Named);
    }
    let effect = record.and_then(|record| record.effect.as_ref());
    let has_effects = side_effects_of(node) != SideEffects::None;
    if has_effects && effect.is_some_and(EffectState::is_in_doubt) {
        return (Verdict::InDoubt, Reason::OutcomeUnknown);
    }
    if is_named {
        return (Verdict::Execute, Reason::Named);
    }
    if record.is_some_and(|record| record.child_run_id().is_some()) {
        return (Verdict::Execute, Reason::Child);
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
