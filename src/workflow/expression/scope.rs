//! Where the values of paths come from.

use std::{borrow::Cow, rc::Rc};

use serde_json::{Map, Value};

use super::{Head, LoopValue, Path, RecordView, Segment};
use crate::{domain::NodeId, workflow::Definition};

/// What expressions are resolved against.
pub trait Scope {
    /// Whether `id` is a node of the definition: decides whether `<< id.x >>` is an expression.
    fn is_node(&self, id: &str) -> bool;

    /// The value at `path`; none when it is missing. Values are lent where they can be: a small
    /// piece of a large result costs nothing but the walk to it.
    fn get(&self, path: &Path) -> Option<Cow<'_, Value>>;

    /// The node whose payload is resolved, for error messages.
    fn node(&self) -> Option<&str> {
        None
    }
}

/// One of the loops around a node.
#[derive(Debug, Clone, Copy)]
pub struct LoopScope<'a> {
    /// The position of the loop.
    pub node: usize,
    /// The element of the iteration that the node is in.
    pub item: Option<&'a Value>,
    /// The number of that iteration, from 0.
    pub index: u32,
}

/// The scope of one node in one run.
///
/// A node sees the records of its ancestors and of the trigger that fired; any other record is
/// missing to it, whatever the run has of it.
#[derive(Clone, Copy)]
pub struct RunScope<'a> {
    /// The run's definition.
    pub definition: &'a Definition,
    /// The position of the trigger that fired.
    pub trigger: usize,
    /// The position of the node whose payload is resolved.
    pub node: usize,
    /// The run's record of a node, by its id in the definition.
    pub records: &'a dyn Fn(&NodeId) -> Option<&'a RecordView>,
    /// The iterations of a loop, by its id: an array of maps from node id to record.
    pub iterations: &'a dyn Fn(&NodeId) -> Option<Rc<Value>>,
    /// The loops around the node, the innermost first.
    pub loops: &'a [LoopScope<'a>],
    /// The present values of the variables by name.
    pub variables: &'a Map<String, Value>,
    /// The run's `propValues`.
    pub props: &'a Map<String, Value>,
    /// The inputs of the node's block.
    pub inputs: &'a Map<String, Value>,
    /// The workflow, when the run belongs to one.
    pub workflow_id: Option<&'a str>,
    /// The run.
    pub run_id: &'a str,
}

impl std::fmt::Debug for RunScope<'_> {
    /// Only the position: values stay out of logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunScope")
            .field("run_id", &self.run_id)
            .field("node", &self.definition.id(self.node))
            .finish_non_exhaustive()
    }
}

impl Scope for RunScope<'_> {
    fn is_node(&self, id: &str) -> bool {
        self.definition.find(id).is_some()
    }

    fn get(&self, path: &Path) -> Option<Cow<'_, Value>> {
        let steps = path.segments.as_slice();
        match &path.head {
            Head::Nodes(id) if self.definition.is_root_alias(id) => {
                root_value(self.record(self.trigger)?, steps)
            }
            Head::Node(id) | Head::Nodes(id) => self.node_value(id, steps),
            Head::Root => root_value(self.record(self.trigger)?, steps),
            Head::Trigger => trigger_value(self.record(self.trigger)?, steps),
            Head::Vars => map_value(self.variables, steps),
            Head::Props => map_value(self.props, steps),
            Head::Inputs => map_value(self.inputs, steps),
            Head::WorkflowId => text_value(self.workflow_id?, steps),
            Head::RunId => text_value(self.run_id, steps),
            Head::Item => loop_value(self.loops.first()?, LoopValue::Item, steps),
            Head::Index => loop_value(self.loops.first()?, LoopValue::Index, steps),
            Head::ParentItem => loop_value(self.loops.get(1)?, LoopValue::Item, steps),
            Head::ParentIndex => loop_value(self.loops.get(1)?, LoopValue::Index, steps),
            Head::For { node, value } => {
                let position = self.definition.find(node)?;
                let mut loops = self.loops.iter();
                loop_value(loops.find(|around| around.node == position)?, *value, steps)
            }
        }
    }

    fn node(&self) -> Option<&str> {
        Some(self.definition.id(self.node))
    }
}

impl<'a> RunScope<'a> {
    fn record(&self, position: usize) -> Option<&'a RecordView> {
        (self.records)(&self.definition.node(position).id)
    }

    fn node_value(&self, id: &str, steps: &[Segment]) -> Option<Cow<'a, Value>> {
        let position = self.definition.find(id)?;
        let is_trigger = position == self.trigger;
        if !is_trigger && !self.definition.is_ancestor(position, self.node) {
            return None;
        }
        let record = self.record(position)?;
        // The older shape reads its trigger as `{{trigger.x}}`, straight from the result.
        if is_trigger && self.definition.is_legacy {
            return root_value(record, steps);
        }
        if self.definition.node(position).loop_body.is_some() {
            let iterations = || (self.iterations)(&self.definition.node(position).id);
            return loop_record_value(record, steps, &iterations);
        }
        record_value(record, steps)
    }
}

/// A loop's record shows its iterations: `loop.iterations[0].pay.result`. Its result has them with
/// how each ended: `loop.result.iterations[0].status`, and the records too.
fn loop_record_value<'v>(
    record: &'v RecordView,
    steps: &[Segment],
    iterations: &dyn Fn() -> Option<Rc<Value>>,
) -> Option<Cow<'v, Value>> {
    let names: Vec<_> = steps.iter().take(2).map(name_of).collect();
    let names: Vec<_> = names.iter().map(AsRef::as_ref).collect();
    let (value, rest) = match names.as_slice() {
        [] => {
            let mut whole = record.whole();
            if let (Value::Object(members), Some(all)) = (&mut whole, iterations()) {
                members.insert("iterations".to_owned(), all.as_ref().clone());
            }
            return Some(Cow::Owned(whole));
        }
        ["iterations", ..] => (iterations()?, &steps[1..]),
        ["result", "iterations"] => {
            let ends = record.field("result")?.get("iterations")?;
            let all = with_ends(iterations()?.as_ref().clone(), ends);
            (Rc::new(all), &steps[2..])
        }
        _ => return record_value(record, steps),
    };
    walk(&value, rest).cloned().map(Cow::Owned)
}

/// The records of each iteration, and where no node has that name, how it ended.
fn with_ends(mut iterations: Value, ends: &Value) -> Value {
    let (Some(maps), Some(ends)) = (iterations.as_array_mut(), ends.as_array()) else {
        return ends.clone();
    };
    maps.resize_with(ends.len().max(maps.len()), || Value::Object(Map::new()));
    for (map, end) in maps.iter_mut().zip(ends) {
        let (Value::Object(map), Some(end)) = (map, end.as_object()) else {
            continue;
        };
        for (name, value) in end {
            if !map.contains_key(name) {
                map.insert(name.clone(), value.clone());
            }
        }
    }
    iterations
}

fn loop_value<'v>(
    around: &LoopScope<'v>,
    value: LoopValue,
    steps: &[Segment],
) -> Option<Cow<'v, Value>> {
    match value {
        LoopValue::Item => walk(around.item?, steps).map(Cow::Borrowed),
        LoopValue::Index => steps
            .is_empty()
            .then(|| Cow::Owned(Value::from(around.index))),
    }
}

/// `nodeId...`: the record's members.
fn record_value<'v>(record: &'v RecordView, steps: &[Segment]) -> Option<Cow<'v, Value>> {
    let Some((first, rest)) = steps.split_first() else {
        return Some(Cow::Owned(record.whole()));
    };
    walk(record.field(&name_of(first))?, rest).map(Cow::Borrowed)
}

/// `root...`: `result`, `payload` and `input` are members of the record, anything else is looked
/// up in the result first.
fn root_value<'v>(record: &'v RecordView, steps: &[Segment]) -> Option<Cow<'v, Value>> {
    let Some((first, rest)) = steps.split_first() else {
        return Some(Cow::Owned(record.whole()));
    };
    let result = record.field("result");
    match name_of(first).as_ref() {
        "result" => walk(result?, rest).map(Cow::Borrowed),
        "payload" | "input" => {
            // Imported triggers often have only a result: the payload with a time added.
            let input = record.field("input").filter(|input| !input.is_null());
            let inner = || member(result?, first).or(result);
            walk(input.or_else(inner)?, rest).map(Cow::Borrowed)
        }
        _ => match result.and_then(|result| member(result, first)) {
            Some(found) => walk(found, rest).map(Cow::Borrowed),
            None => record_value(record, steps),
        },
    }
}

/// `$trigger...`: the result; `$trigger.body` is the result itself when it has no `body`.
fn trigger_value<'v>(record: &'v RecordView, steps: &[Segment]) -> Option<Cow<'v, Value>> {
    let result = record.field("result")?;
    let steps = match steps.split_first() {
        Some((first, rest)) if name_of(first) == "body" && member(result, first).is_none() => rest,
        _ => steps,
    };
    walk(result, steps).map(Cow::Borrowed)
}

fn map_value<'v>(members: &'v Map<String, Value>, steps: &[Segment]) -> Option<Cow<'v, Value>> {
    let Some((first, rest)) = steps.split_first() else {
        return Some(Cow::Owned(Value::Object(members.clone())));
    };
    walk(members.get(name_of(first).as_ref())?, rest).map(Cow::Borrowed)
}

fn text_value<'v>(text: &str, steps: &[Segment]) -> Option<Cow<'v, Value>> {
    steps.is_empty().then(|| Cow::Owned(Value::from(text)))
}

fn name_of(segment: &Segment) -> Cow<'_, str> {
    match segment {
        Segment::Key(key) => Cow::Borrowed(key),
        Segment::Index(index) => Cow::Owned(index.to_string()),
    }
}

fn walk<'v>(value: &'v Value, steps: &[Segment]) -> Option<&'v Value> {
    steps.iter().try_fold(value, member)
}

fn member<'v>(value: &'v Value, segment: &Segment) -> Option<&'v Value> {
    match (value, segment) {
        (Value::Array(items), Segment::Index(index)) => items.get(*index),
        (Value::Object(members), segment) => members.get(name_of(segment).as_ref()),
        (
            Value::Array(_) | Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_),
            _,
        ) => None,
    }
}
