//! What a retry does with the iterations of a loop.

use super::{
    PlanIteration, PlanNode, Reason, Verdict,
    planner::{Mode, Place, Planner, Prefix},
    stored_array,
};
use crate::{
    domain::{EffectState, NodeStatus},
    workflow::At,
};

impl Planner<'_> {
    /// The iterations of the loop whose line comes last; `changed` is what has changed above it.
    pub(super) fn iterations(&mut self, place: &Place, ix: usize, changed: Vec<String>) {
        let loop_line = self.lines.len() - 1;
        let line = &self.lines[loop_line];
        let (verdict, reason) = (line.verdict, line.reason);
        let Some(body) = self.definition.node(ix).loop_body else {
            return;
        };
        if reason == Reason::Pinned {
            return;
        }
        let path = line.path.clone();
        let mode = match verdict {
            Verdict::Reuse => Mode::Reused,
            Verdict::Execute | Verdict::InDoubt => Mode::Judge,
            Verdict::Skip => Mode::Skipped(reason),
        };
        let mut inner = Place {
            body,
            frame: None,
            prefix: Prefix::Every(format!("{path}[*]")),
            mode,
            conditional: line.conditional,
            changed,
            is_below_named: line.is_below_named,
        };
        if verdict.runs() && self.named.has(place.frame, ix) {
            self.unconfirmed_below(place, ix);
        }
        let order = self.definition.body(body).order.clone();
        let (numbered, are_all) = self.known_iterations(place, ix, verdict);
        // What array it will have is not known, so neither is which of these run.
        inner.conditional |= !are_all;
        for (number, frame) in numbered {
            let Some(path) = path.node() else { break };
            inner.frame = frame;
            let is_kept = reason == Reason::IterationNamed && !self.named.is_within(frame);
            inner.mode = if is_kept { Mode::Reused } else { mode };
            inner.prefix = Prefix::Iteration(path.clone(), number);
            let first = self.lines.len();
            self.frame(&inner, &order);
            let iteration = summary(number, &self.lines[first..], verdict);
            self.lines[loop_line].iterations.push(iteration);
        }
        if !are_all {
            inner.frame = None;
            inner.prefix = Prefix::Every(format!("{path}[*]"));
            self.frame(&inner, &order);
        }
    }

    /// A loop that is named forgets its iterations, but not that a call in them must not be repeated
    /// unasked.
    fn unconfirmed_below(&mut self, place: &Place, ix: usize) {
        let Some(frame) = place.frame else { return };
        let at = At { frame, node: ix };
        let (definition, frames) = (self.definition, self.state.frames());
        let inside = frames.all(definition).filter(|(inner, record)| {
            let effect = record.effect.as_ref();
            frames.is_inside(inner.frame, at)
                && effect.is_some_and(EffectState::is_in_doubt)
                && record.status != NodeStatus::Success
                && self.is_unsafe(Some(record), inner.node)
                && !self.is_acknowledged(&record.path)
        });
        let paths: Vec<_> = inside.map(|(_, record)| record.path.clone()).collect();
        self.unconfirmed.extend(paths);
    }

    /// The iterations of a loop that are known, with their frame of the state, and whether there
    /// are no others.
    fn known_iterations(
        &self,
        place: &Place,
        ix: usize,
        verdict: Verdict,
    ) -> (Vec<(u32, Option<usize>)>, bool) {
        let Some(frame) = place.frame else {
            return (Vec::new(), false);
        };
        let at = At { frame, node: ix };
        let recorded = || {
            let frames = self.state.frames().iterations(at);
            frames
                .map(|(number, frame)| (number, Some(frame)))
                .collect()
        };
        match verdict {
            Verdict::Reuse => (recorded(), true),
            Verdict::Skip => (Vec::new(), false),
            // A loop that is named keeps nothing: its array is resolved again.
            _ if self.named.has(place.frame, ix) => (Vec::new(), false),
            Verdict::Execute | Verdict::InDoubt => {
                let Some(items) = self.record(place, ix).and_then(stored_array) else {
                    return (recorded(), false);
                };
                let numbers = 0..u32::try_from(items.len()).unwrap_or(u32::MAX);
                let frame = |number| self.state.frames().iteration(at, number);
                (
                    numbers.map(|number| (number, frame(number))).collect(),
                    true,
                )
            }
        }
    }
}

/// What happens to an iteration with these lines.
fn summary(index: u32, lines: &[PlanNode], of_loop: Verdict) -> PlanIteration {
    let running = lines.iter().find(|line| line.verdict.runs());
    let (verdict, reason) = match (running, of_loop) {
        (Some(line), _) => (Verdict::Execute, line.reason),
        (None, Verdict::Reuse) => (Verdict::Reuse, Reason::LoopReused),
        (None, _) if lines.is_empty() => (Verdict::Execute, Reason::NeverStarted),
        (None, _) => (Verdict::Reuse, Reason::Succeeded),
    };
    PlanIteration {
        index,
        verdict,
        reason,
    }
}
