//! The pure question: what is next?

use std::cmp::Reverse;

use super::state::RunState;
use crate::{
    domain::{NodeStatus, Timestamp},
    workflow::{At, TOP, edge_is_live},
};

/// What a run does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Execute this node.
    Run(At),
    /// Skip this node: no edge into it is live.
    Skip(At),
    /// Every iteration of this loop has ended.
    Settle(At),
    /// Nothing is ready before this time; without one, before somebody resumes what waits.
    Hold(Option<Timestamp>),
    /// Everything has settled.
    End,
}

/// How far a frame has come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Progress {
    /// What stands before this place in the order has been passed over.
    cursor: usize,
    /// A failure in it is not tolerated.
    pub(super) failed: bool,
    /// How it ended, once it has.
    ended: Option<IterationEnd>,
}

/// What a frame waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Held {
    Nothing,
    /// Somebody's word, and no time.
    Open,
    Until(Timestamp),
}

impl Held {
    /// The one that ends first.
    fn or(self, other: Self) -> Self {
        match (self, other) {
            (Self::Until(one), Self::Until(other)) => Self::Until(one.min(other)),
            (Self::Until(due), _) | (_, Self::Until(due)) => Self::Until(due),
            (Self::Open, _) | (_, Self::Open) => Self::Open,
            (Self::Nothing, Self::Nothing) => Self::Nothing,
        }
    }
}

/// How an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum IterationEnd {
    /// Every node of it that had to run succeeded.
    Success,
    /// A loop in it had mixed iterations.
    Partial,
    /// A node of it failed.
    Failure,
}

impl RunState {
    /// What is next at `now`. Amortised constant: the order is topological, so what was passed
    /// over stays passed over until a wait ends.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        let mut has_come = false;
        while self.dues.peek().is_some_and(|Reverse(due)| *due <= now) {
            self.dues.pop();
            has_come = true;
        }
        if has_come {
            self.look_again();
        }
        self.next_in(TOP, now)
    }

    /// A wait has ended: what it held up may stand before where the run has come to.
    pub(super) fn look_again(&mut self) {
        for progress in &mut self.progress {
            progress.cursor = 0;
        }
    }

    pub(super) fn progress_of(&mut self, frame: usize) -> &mut Progress {
        if self.progress.len() <= frame {
            self.progress.resize_with(frame + 1, Progress::default);
        }
        &mut self.progress[frame]
    }

    /// The node at a place in the order of a frame.
    fn ordered(&self, frame: usize, place: usize) -> Option<At> {
        let order = match self.frames.body(frame) {
            TOP => &self.order,
            body => &self.definition.body(body).order,
        };
        order.get(place).map(|&node| At { frame, node })
    }

    fn next_in(&mut self, frame: usize, now: Timestamp) -> Next {
        loop {
            loop {
                let cursor = self.progress_of(frame).cursor;
                let Some(at) = self.ordered(frame, cursor) else {
                    break;
                };
                if let Some(next) = self.look(at, now) {
                    return next;
                }
                self.progress_of(frame).cursor += 1;
            }
            match self.earliest(frame) {
                Held::Nothing => return Next::End,
                Held::Until(due) if due <= now => self.progress_of(frame).cursor = 0,
                Held::Until(due) => return Next::Hold(Some(due)),
                Held::Open => return Next::Hold(None),
            }
        }
    }

    /// What there is to do with a node; none if it has settled, or not now.
    fn look(&mut self, at: At, now: Timestamp) -> Option<Next> {
        match self.status(at) {
            NodeStatus::Success
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Cancelled => None,
            NodeStatus::Scheduled | NodeStatus::Waiting => {
                let is_due = self.due(at).is_some_and(|due| due <= now);
                is_due.then_some(Next::Run(at))
            }
            NodeStatus::Running if self.loops.contains_key(&at) => {
                match self.next_in_loop(at, now) {
                    Next::Hold(_) => None,
                    Next::End => Some(Next::Settle(at)),
                    next @ (Next::Run(_) | Next::Skip(_) | Next::Settle(_)) => Some(next),
                }
            }
            NodeStatus::Pending | NodeStatus::Running => self.ready(at),
        }
    }

    /// Iterations run one after the other; a failed one does not stop the later ones.
    fn next_in_loop(&mut self, at: At, now: Timestamp) -> Next {
        while let Some(number) = self.current_iteration(at) {
            let Some(frame) = self.frames.enter(&self.definition, at, number) else {
                return Next::End;
            };
            if self.progress_of(frame).failed {
                self.progress_of(frame).ended = Some(IterationEnd::Failure);
            } else {
                match self.next_in(frame, now) {
                    Next::End => {
                        let end = if self.has_partial(frame) {
                            IterationEnd::Partial
                        } else {
                            IterationEnd::Success
                        };
                        self.progress_of(frame).ended = Some(end);
                    }
                    next @ (Next::Run(_) | Next::Skip(_) | Next::Settle(_) | Next::Hold(_)) => {
                        return next;
                    }
                }
            }
            if let Some(entered) = self.loops.get_mut(&at) {
                entered.current += 1;
            }
        }
        Next::End
    }

    /// The iteration that a loop is at; none once all have ended.
    fn current_iteration(&self, at: At) -> Option<u32> {
        let entered = self.loops.get(&at)?;
        let count = u32::try_from(entered.items.len()).unwrap_or(u32::MAX);
        (entered.current < count).then_some(entered.current)
    }

    /// How each iteration of a loop ended.
    pub(super) fn iteration_ends(&self, at: At) -> Vec<IterationEnd> {
        let frames = self.frames.iterations(at);
        let ended = frames.filter_map(|(_, frame)| self.progress.get(frame)?.ended);
        ended.collect()
    }

    /// Whether a loop in a frame ended with mixed iterations.
    pub(super) fn has_partial(&self, frame: usize) -> bool {
        let members = &self.definition.body(self.frames.body(frame)).members;
        let mut members = members.iter().map(|&node| At { frame, node });
        members.any(|at| self.status(at) == NodeStatus::Partial)
    }

    pub(super) fn status(&self, at: At) -> NodeStatus {
        self.record(at)
            .map_or(NodeStatus::Pending, |record| record.status)
    }

    fn is_settled(&self, at: At) -> bool {
        match self.status(at) {
            NodeStatus::Success
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Cancelled => true,
            NodeStatus::Pending
            | NodeStatus::Running
            | NodeStatus::Waiting
            | NodeStatus::Scheduled => false,
        }
    }

    /// Whether a node runs or is skipped; none while a parent of it has not settled. The entries of
    /// a loop's body have no parents: they run.
    fn ready(&self, at: At) -> Option<Next> {
        let node = self.definition.node(at.node);
        let is_top = self.frames.body(at.frame) == TOP;
        let parents = node
            .parents
            .iter()
            .filter(|p| !is_top || self.reachable[**p]);
        let mut parents = parents.map(|&node| At {
            frame: at.frame,
            node,
        });
        if !parents.clone().all(|parent| self.is_settled(parent)) {
            return None;
        }
        let is_entry = !is_top && node.parents.is_empty();
        let live = is_entry
            || parents.any(|parent| {
                let record = self.record(parent);
                let taken = record.and_then(|record| record.branch.as_deref());
                let kind = &self.node(parent).kind;
                edge_is_live(kind, self.status(parent), taken, node.branch.as_deref())
            });
        Some(if live { Next::Run(at) } else { Next::Skip(at) })
    }

    /// What a frame waits for, in the iterations under way too.
    fn earliest(&self, frame: usize) -> Held {
        let mut earliest = Held::Nothing;
        let mut place = 0;
        while let Some(at) = self.ordered(frame, place) {
            place += 1;
            let held = match self.status(at) {
                NodeStatus::Scheduled | NodeStatus::Waiting => {
                    self.due(at).map_or(Held::Open, Held::Until)
                }
                NodeStatus::Running => self
                    .current_iteration(at)
                    .and_then(|number| self.frames.iteration(at, number))
                    .map_or(Held::Nothing, |frame| self.earliest(frame)),
                NodeStatus::Pending
                | NodeStatus::Success
                | NodeStatus::Partial
                | NodeStatus::Failure
                | NodeStatus::Skipped
                | NodeStatus::Cancelled => Held::Nothing,
            };
            earliest = earliest.or(held);
        }
        earliest
    }

    /// The node that a run waits for and that is due first.
    pub(super) fn first_held(&self) -> Option<At> {
        let held = self.records().filter(|(at, record)| {
            matches!(record.status, NodeStatus::Scheduled | NodeStatus::Waiting)
                && self.is_under_way(at.frame)
        });
        held.map(|(at, _)| at)
            .min_by_key(|at| self.due(*at).map_or((1, None), |due| (0, Some(due))))
    }

    /// Whether a frame is outside all loops, or the iteration that its loop is at.
    fn is_under_way(&self, frame: usize) -> bool {
        self.frames.around(frame).is_none_or(|(at, number)| {
            self.current_iteration(at) == Some(number) && self.is_under_way(at.frame)
        })
    }
}
