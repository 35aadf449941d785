//! What goes over from a source to its retry's run where a node is not simply reused.

use serde_json::{Map, Value};

use super::secrets::Secrets;
use crate::{
    domain::{
        CHILD_RUN_ID, EffectState, JsonText, NodePath, NodeRecord, NodeStatus, RunId, SideEffects,
        Timestamp, format_timestamp,
    },
    intake::{Planned, Request},
    plan::{PlanNode, Reason, Verdict, stored_array},
    workflow::side_effects_of,
};

pub(super) struct Carry<'a> {
    planned: &'a Planned,
    run: &'a RunId,
    now: Timestamp,
    secrets: Secrets,
}

impl<'a> Carry<'a> {
    pub(super) fn new(planned: &'a Planned, run: &'a RunId, now: Timestamp) -> Self {
        Self {
            planned,
            run,
            now,
            secrets: Secrets::of(&planned.records),
        }
    }

    /// The record of a node whose result the request gives. What is known of its effect stays: a
    /// later retry may run it after all.
    pub(super) fn pinned(
        &self,
        line: &PlanNode,
        path: &NodePath,
        source: Option<&NodeRecord>,
    ) -> Option<NodeRecord> {
        let result = self.planned.request.result_of(path)?;
        let at = format_timestamp(self.now);
        let effect = if self.is_loop(path) {
            self.mark_below(path, source)
        } else {
            source.and_then(known_effect)
        };
        let mut extra = self.secrets.kept(path, source);
        extra.insert("pinned".to_owned(), true.into());
        Some(NodeRecord {
            result: Some(JsonText::of(result)),
            branch: Request::branch_of(result),
            started_at: Some(at.clone()),
            finished_at: Some(at),
            effect,
            extra: text_of(extra),
            ..NodeRecord::new(path.clone(), line.kind.clone(), NodeStatus::Success)
        })
    }

    /// What goes over from a node that runs again; none if nothing does.
    pub(super) fn over(
        &self,
        line: &PlanNode,
        path: &NodePath,
        source: Option<&NodeRecord>,
    ) -> Option<NodeRecord> {
        let mut record = self.pending(line, path, source);
        if self.is_loop(path) {
            self.carry_loop(&mut record, line, source);
        } else {
            self.carry_effect(&mut record, line, source);
        }
        says_something(&record).then_some(record)
    }

    /// What goes over from a node that is skipped: it may run in a later retry.
    pub(super) fn skipped(
        &self,
        line: &PlanNode,
        path: &NodePath,
        source: Option<&NodeRecord>,
    ) -> Option<NodeRecord> {
        let mut record = self.pending(line, path, source);
        if self.is_loop(path) {
            // Its iterations stay behind: whatever calls it makes one day are other ones.
            let mark = self.mark_below(path, source);
            record.effect = mark.map(|mark| mark.raised(self.run));
            record.input = None;
        } else if let Some(effect) = &mut record.effect {
            effect.resolve_again |= self.is_changed(line);
        }
        says_something(&record).then_some(record)
    }

    /// A record of a node that has yet to run, with what is known of its effect, the input last sent
    /// under it, and which members of its input are secret.
    fn pending(&self, line: &PlanNode, path: &NodePath, source: Option<&NodeRecord>) -> NodeRecord {
        let mut record = NodeRecord::new(path.clone(), line.kind.clone(), NodeStatus::Pending);
        let mut extra = self.secrets.kept(path, source);
        if let Some(source) = source {
            if let Some(effect) = known_effect(source) {
                record.effect = Some(effect);
                record.input = source.sent_input().cloned();
            }
            if line.reason == Reason::Child
                && let Some(child) = source.child_run_id()
            {
                extra.insert(CHILD_RUN_ID.to_owned(), child.as_str().into());
                // What the child was started with: the node goes on with that one.
                record.input.clone_from(&source.input);
            }
        }
        record.extra = text_of(extra);
        record
    }

    fn is_loop(&self, path: &NodePath) -> bool {
        let definition = &self.planned.definition;
        let node = definition.find(path.node().as_str());
        node.is_some_and(|node| definition.node(node).loop_body.is_some())
    }

    fn has_effects(&self, path: &NodePath) -> bool {
        let definition = &self.planned.definition;
        let node = definition.find(path.node().as_str());
        node.is_some_and(|node| side_effects_of(definition.node(node)) != SideEffects::None)
    }

    /// A loop keeps its array, unless it is named: then the array is resolved again, and every
    /// effect below it is another one than any before.
    fn carry_loop(&self, record: &mut NodeRecord, line: &PlanNode, source: Option<&NodeRecord>) {
        if line.reason != Reason::Named {
            let array = source.filter(|source| stored_array(source).is_some());
            record.input = array.and_then(|array| array.input.clone());
            return;
        }
        record.input = None;
        if let Some(mark) = self.mark_below(&record.path, source) {
            record.effect = Some(mark.raised(self.run));
        }
    }

    /// The newest generation at or below a loop; none if nothing in it can have run.
    fn mark_below(&self, path: &NodePath, source: Option<&NodeRecord>) -> Option<EffectState> {
        let depth = path.segments().len();
        let mut has_begun = source.is_some_and(|source| stored_array(source).is_some());
        let mut newest = EffectState::default();
        for record in self.planned.below(path) {
            has_begun |= record.path.segments().len() > depth || record.effect.is_some();
            let effect = record.effect.as_ref();
            if let Some(effect) = effect.filter(|effect| effect.generation >= newest.generation) {
                newest = effect.mark();
            }
        }
        has_begun.then_some(newest)
    }

    fn carry_effect(&self, record: &mut NodeRecord, line: &PlanNode, source: Option<&NodeRecord>) {
        let is_success = source.is_some_and(|source| source.status == NodeStatus::Success);
        let is_repeated = is_success && self.has_effects(&record.path);
        if is_repeated || self.planned.request.forces_new_key(&record.path) {
            let known = record.effect.take();
            let base = known.unwrap_or_else(|| self.mark_around(&record.path));
            record.effect = Some(base.raised(self.run));
            record.input = None;
            return;
        }
        let Some(effect) = &mut record.effect else {
            return;
        };
        if line.verdict == Verdict::InDoubt {
            // An earlier retry may have changed what it reads, and not have come this far.
            effect.resolve_again |= self.is_changed(line);
        } else if effect.is_in_doubt() {
            // What has no effects (any more) is in no doubt, whatever an imported record says.
            record.effect = None;
            record.input = None;
        }
    }

    /// Whether the request changes what a call in doubt reads.
    fn is_changed(&self, line: &PlanNode) -> bool {
        let planned = self.planned;
        let is_latest = Some(&planned.definition_hash) != planned.source.definition_hash.as_ref();
        line.is_below_named || planned.request.changes_values() || is_latest
    }

    /// What the effects of a node that never started begin with: see the engine's own rule.
    fn mark_around(&self, path: &NodePath) -> EffectState {
        let around = |record: &&NodeRecord| record.path != *path && path.is_at_or_in(&record.path);
        let marks = self.planned.records.iter().filter(around);
        let marks = marks
            .filter_map(|record| Some((record.path.segments().len(), record.effect.as_ref()?)));
        let innermost = marks.max_by_key(|(depth, _)| *depth);
        innermost.map(|(_, mark)| mark.clone()).unwrap_or_default()
    }
}

/// The attempts stay behind, so what they left in doubt has to be said; the input last sent has a
/// place of its own on the new record.
fn known_effect(source: &NodeRecord) -> Option<EffectState> {
    let effect = source.effect.clone()?;
    Some(EffectState {
        doubted: effect.is_in_doubt(),
        sent_input: None,
        ..effect
    })
}

fn text_of(extra: Map<String, Value>) -> Option<JsonText> {
    (!extra.is_empty()).then(|| JsonText::of(&Value::Object(extra)))
}

fn says_something(record: &NodeRecord) -> bool {
    record.effect.is_some() || record.input.is_some() || record.extra.is_some()
}
