//! What the request of a retry chooses, as far as it changes the plan.

use std::collections::{BTreeSet, HashMap, HashSet};

use super::{PlanNode, Reason, State};
use crate::{
    domain::{NodePath, SideEffects},
    workflow::{At, Definition, branches_of, side_effects_of},
};

/// The choices of a request; the default ones are those of an empty body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Choices {
    /// `fromNodeId`: it and everything below it runs.
    pub from: Option<NodePath>,
    /// `mode: "all"`: everything but the trigger runs.
    pub all: bool,
    /// The nodes of `nodeResults`.
    pub pinned: Vec<Pinned>,
    /// `acknowledge`.
    pub acknowledged: Vec<NodePath>,
    /// `newEffectKey`.
    pub new_effect_key: Vec<NodePath>,
    /// The values that the request changes, as expressions read them: `$props.x`, `$vars.x`.
    pub changed_values: BTreeSet<String>,
}

/// A node whose result the request gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pinned {
    /// The node.
    pub path: NodePath,
    /// The branch that the result takes, for kinds that have branches.
    pub branch: Option<String>,
}

impl Choices {
    /// Whether every path that the request names is one of the plan, and can be what it is named
    /// for.
    pub(super) fn check(
        &self,
        lines: &[PlanNode],
        definition: &Definition,
        state: &State<'_>,
    ) -> Result<(), ChoiceError> {
        let pinned = self
            .pinned
            .iter()
            .map(|pinned| ("nodeResults", &pinned.path));
        let acknowledged = self.acknowledged.iter().map(|path| ("acknowledge", path));
        let raised = self
            .new_effect_key
            .iter()
            .map(|path| ("newEffectKey", path));
        let mut named = pinned.chain(acknowledged).chain(raised).peekable();
        if named.peek().is_none() {
            return Ok(());
        }
        let by_path: HashMap<_, _> = lines
            .iter()
            .filter_map(|line| Some((line.path.node()?, line)))
            .collect();
        for (member, path) in named {
            let refuse = |why: &str| Err(ChoiceError(format!("{member}: `{path}` {why}")));
            let Some(line) = by_path.get(path) else {
                // It may be inside a loop that is named, and so have no line.
                if member == "acknowledge" && state.find(definition, path).is_some() {
                    continue;
                }
                return refuse("is no node of this run, or in an iteration that it does not have");
            };
            match member {
                "nodeResults" if line.reason == Reason::Trigger => {
                    return refuse("is the trigger that fired: its result can't be replaced");
                }
                "nodeResults" if line.reason != Reason::Pinned => {
                    return refuse("is in a loop that does not run, or runs anew");
                }
                "nodeResults" => {
                    if let Some(branches) = self.lacks_branch(definition, path) {
                        let why = format!("needs a `branch` that it has: {}", branches.join(", "));
                        return refuse(&why);
                    }
                }
                "newEffectKey" if !line.verdict.runs() => {
                    return refuse("will not run: there is no effect to have a new key");
                }
                "newEffectKey" if !has_effects(definition, path) => {
                    return refuse("has no effects, and so no effect key");
                }
                _ => {}
            }
        }
        Ok(())
    }
}

impl Choices {
    /// The branches of a node whose given result takes none of them, though something hangs on it.
    fn lacks_branch(
        &self,
        definition: &Definition,
        path: &NodePath,
    ) -> Option<&'static [&'static str]> {
        let node = definition.node(definition.find(path.node().as_str())?);
        let branches = branches_of(&node.kind)?;
        let mut children = node.children.iter().map(|child| definition.node(*child));
        let mut given = self.pinned.iter().filter(|pinned| pinned.path == *path);
        let taken = given.find_map(|pinned| pinned.branch.as_deref());
        let hangs_on_it = children.any(|child| child.branch.is_some());
        (hangs_on_it && !taken.is_some_and(|taken| branches.contains(&taken))).then_some(branches)
    }
}

fn has_effects(definition: &Definition, path: &NodePath) -> bool {
    let node = definition.find(path.node().as_str());
    node.is_some_and(|node| side_effects_of(definition.node(node)) != SideEffects::None)
}

/// A choice that this run does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ChoiceError(pub(super) String);

/// The nodes that the request names, directly or from above, and the iterations that it reaches into.
#[derive(Debug, Default)]
pub(super) struct Named {
    all: bool,
    /// By frame, for every node of the definition.
    by_frame: HashMap<usize, Vec<bool>>,
    /// What `fromNodeId` names.
    pub(super) from: Option<At>,
    /// The loops around it.
    around_from: Vec<At>,
    /// Those and the loops around what `nodeResults` names.
    around: HashSet<At>,
    /// The iterations in which something is named.
    within: HashSet<usize>,
}

impl Named {
    /// What is named in an iteration goes on after its loop: what follows the loop, and what
    /// follows the loops around it.
    pub(super) fn new(
        definition: &Definition,
        state: &State<'_>,
        choices: &Choices,
    ) -> Result<Self, ChoiceError> {
        let mut named = Self {
            all: choices.all,
            ..Self::default()
        };
        for pinned in &choices.pinned {
            if let Some(at) = state.find(definition, &pinned.path) {
                named.reach_into(state, at);
            }
        }
        let Some(path) = &choices.from else {
            return Ok(named);
        };
        let Some(from) = state.find(definition, path) else {
            return Err(ChoiceError(format!(
                "fromNodeId: this run has no node `{path}`"
            )));
        };
        let mut below = definition.descendants(from.node);
        below[from.node] = true;
        named.by_frame.insert(from.frame, below);
        named.around_from = named.reach_into(state, from);
        for around in &named.around_from {
            let below = definition.descendants(around.node);
            named.by_frame.insert(around.frame, below);
        }
        named.from = Some(from);
        Ok(named)
    }

    /// Notes the iterations around a node; the loops that they are of.
    fn reach_into(&mut self, state: &State<'_>, at: At) -> Vec<At> {
        let mut loops = Vec::new();
        let mut frame = at.frame;
        while let Some((around, _)) = state.frames().around(frame) {
            self.within.insert(frame);
            self.around.insert(around);
            loops.push(around);
            frame = around.frame;
        }
        loops
    }

    /// Whether a node is named. Nodes outside every known frame are named with their loop only.
    pub(super) fn has(&self, frame: Option<usize>, node: usize) -> bool {
        let in_frame = frame.and_then(|frame| self.by_frame.get(&frame));
        self.all || in_frame.is_some_and(|below| below[node])
    }

    /// Whether a node is a loop with an iteration in which something is named or given.
    pub(super) fn is_around(&self, frame: Option<usize>, node: usize) -> bool {
        frame.is_some_and(|frame| self.around.contains(&At { frame, node }))
    }

    /// Whether a node is a loop around what `fromNodeId` names.
    pub(super) fn is_around_from(&self, frame: Option<usize>, node: usize) -> bool {
        frame.is_some_and(|frame| self.around_from.contains(&At { frame, node }))
    }

    /// Whether something is named or given in an iteration.
    pub(super) fn is_within(&self, frame: Option<usize>) -> bool {
        frame.is_some_and(|frame| self.within.contains(&frame))
    }

    /// The loops around what `fromNodeId` names, and every node above it, outside in.
    pub(super) fn above(&self, definition: &Definition, state: &State<'_>) -> Vec<At> {
        let Some(from) = self.from else {
            return Vec::new();
        };
        let mut above = Vec::new();
        let mut at = from;
        loop {
            let members = &definition.body(state.frames().body(at.frame)).members;
            let ancestors = members
                .iter()
                .filter(|member| definition.is_ancestor(**member, at.node));
            above.extend(ancestors.map(|member| At {
                frame: at.frame,
                node: *member,
            }));
            match state.frames().around(at.frame) {
                Some((around, _)) => at = around,
                None => break,
            }
        }
        above
    }
}
