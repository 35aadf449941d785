//! A run's state in memory: its records by frame, its variables, what its expressions see.

use std::{
    cell::RefCell,
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    rc::Rc,
    sync::{Arc, OnceLock},
};

use serde_json::{Map, Value, json};

use super::{next::Progress, waits::WAIT};
use crate::{
    domain::{
        JsonError, JsonText, NodeError, NodeId, NodePath, NodeRecord, NodeStatus, Run, RunId,
        SECRET_KEYS, Timestamp, VariableWrite,
    },
    plan::stored_array,
    workflow::{
        At, Definition, ExpressionLimits, Frames, Lifetime, LoopScope, MISSING_VALUE, Node,
        OnError, RecordView, RunScope, TOP, inputs_read, resolve_payload,
    },
};

/// A record, and how expressions see it.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) record: NodeRecord,
    /// Made when it is first read: most records never are.
    view: OnceLock<RecordView>,
}

impl Slot {
    fn view(&self) -> &RecordView {
        self.view.get_or_init(|| RecordView::from(&self.record))
    }
}

/// A loop that has been entered.
#[derive(Debug)]
pub(super) struct Loop {
    pub(super) items: Vec<Value>,
    /// The iterations before this one have ended.
    pub(super) current: u32,
}

/// The definition, the records so far, and the variables' values.
#[derive(Debug)]
pub(super) struct RunState {
    pub(super) definition: Arc<Definition>,
    pub(super) trigger: usize,
    pub(super) order: Vec<usize>,
    pub(super) reachable: Vec<bool>,
    pub(super) frames: Frames<Slot>,
    /// By frame.
    pub(super) progress: Vec<Progress>,
    pub(super) loops: HashMap<At, Loop>,
    /// When what waits for a time was due when it began to: some of them have ended since.
    pub(super) dues: BinaryHeap<Reverse<Timestamp>>,
    variables: Map<String, Value>,
    props: Map<String, Value>,
    workflow_id: Option<String>,
    run_id: RunId,
    /// Whether what the request set has been logged in this run.
    pub(super) has_set_requested: bool,
    limits: ExpressionLimits,
    bytes: usize,
}

impl RunState {
    /// The state of `run` with these records; `writes` are all logged writes of the runs from its
    /// root to itself, in order of time.
    pub(super) fn new(
        definition: Arc<Definition>,
        trigger: usize,
        run: &Run,
        records: Vec<NodeRecord>,
        writes: &[(RunId, VariableWrite)],
        limits: ExpressionLimits,
    ) -> Result<Self, JsonError> {
        let mut state = Self {
            order: definition.order(trigger),
            reachable: definition.reachable(trigger),
            frames: Frames::new(&definition),
            progress: Vec::new(),
            loops: HashMap::new(),
            dues: BinaryHeap::new(),
            variables: Map::new(),
            props: object(run.prop_values.value()?),
            workflow_id: run.workflow_id.clone(),
            run_id: run.id.clone(),
            has_set_requested: writes
                .iter()
                .any(|(id, write)| *id == run.id && write.written_by_node.is_none()),
            definition,
            trigger,
            limits,
            bytes: 0,
        };
        for record in records {
            if let Some(at) = state.frames.locate(&state.definition, &record.path) {
                state.take_up(at, &record);
                state.put(at, record);
            }
        }
        state.variables = state.present_values(run, writes)?;
        Ok(state)
    }

    /// A loop that another worker has entered goes on with its stored array.
    fn take_up(&mut self, at: At, record: &NodeRecord) {
        let is_loop = self.definition.node(at.node).loop_body.is_some();
        if is_loop && record.status == NodeStatus::Running {
            self.enter_loop(at, stored_array(record).unwrap_or_default());
        }
    }

    /// Defaults, then what the run was accepted with, then what requests set and what the nodes
    /// wrote that succeeded, each read from the run that executed it.
    fn present_values(
        &self,
        run: &Run,
        writes: &[(RunId, VariableWrite)],
    ) -> Result<Map<String, Value>, JsonError> {
        let defaults = self.definition.variables().iter();
        let mut values: Map<String, Value> = defaults
            .map(|variable| (variable.name.clone(), variable.default.clone()))
            .collect();
        values.extend(object(run.variables.value()?));
        for (written_in, write) in writes {
            if self.counts(written_in, write) {
                values.insert(write.name.clone(), write.new_value.value()?);
            }
        }
        Ok(values)
    }

    fn counts(&self, written_in: &RunId, write: &VariableWrite) -> bool {
        // What a request set goes over to every later retry.
        let Some(path) = &write.written_by_node else {
            return true;
        };
        let at = self.frames.find(&self.definition, path);
        let record = at.and_then(|at| self.record(at));
        record.is_some_and(|record| {
            record.status == NodeStatus::Success
                && record.origin_run_id.as_ref().unwrap_or(&self.run_id) == written_in
        })
    }

    /// The definition's node at a place.
    pub(super) fn node(&self, at: At) -> &crate::workflow::Node {
        self.definition.node(at.node)
    }

    /// The node at a path.
    pub(super) fn find(&self, path: &NodePath) -> Option<At> {
        self.frames.find(&self.definition, path)
    }

    pub(super) fn record(&self, at: At) -> Option<&NodeRecord> {
        let slot = self.frames.get(&self.definition, at)?;
        Some(&slot.record)
    }

    /// The record of a node before it starts.
    pub(super) fn blank(&self, at: At) -> NodeRecord {
        self.record(at).cloned().unwrap_or_else(|| {
            let path = self.frames.path(&self.definition, at);
            NodeRecord {
                extra: self.secrets(at),
                ..NodeRecord::new(path, self.node(at).kind.clone(), NodeStatus::Pending)
            }
        })
    }

    /// What the outermost loop around a node knows of its secrets: the iterations before may be
    /// those of another run.
    fn secrets(&self, at: At) -> Option<JsonText> {
        let outwards = |frame: &usize| self.frames.around(*frame).map(|(around, _)| around.frame);
        let frames = std::iter::successors(Some(at.frame), outwards);
        let loops = frames.filter_map(|frame| Some(self.frames.around(frame)?.0));
        let outermost = self.record(loops.last()?)?;
        let id = self.node(at).id.as_str();
        let mut known = outermost.iteration_secret_keys().into_iter();
        let (_, keys) = known.find(|(of, _)| of == id)?;
        Some(JsonText::of(&json!({ SECRET_KEYS: keys })))
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (At, &NodeRecord)> {
        let all = self.frames.all(&self.definition);
        all.map(|(at, slot)| (at, &slot.record))
    }

    /// Every node but the trigger with its record, if it has one: those outside all loops, and
    /// those of each iteration that was entered.
    pub(super) fn declared(&self) -> impl Iterator<Item = Option<&NodeRecord>> {
        let frames = 0..self.frames.count();
        let nodes = frames.flat_map(|frame| {
            let members = &self.definition.body(self.frames.body(frame)).members;
            members.iter().map(move |&node| At { frame, node })
        });
        let nodes = nodes.filter(|at| at.node != self.trigger);
        nodes.map(|at| self.record(at))
    }

    /// Nodes that the trigger does not lead to and that are not skipped yet.
    pub(super) fn unreachable(&self) -> Vec<At> {
        let all = self.definition.body(TOP).members.iter();
        let all = all.map(|node| At {
            frame: TOP,
            node: *node,
        });
        all.filter(|at| !self.reachable[at.node] && self.status(*at) == NodeStatus::Pending)
            .collect()
    }

    /// Whether somebody may end the wait of a node.
    pub(super) fn has_waits(&self) -> bool {
        self.definition.nodes().iter().any(|node| node.kind == WAIT)
    }

    pub(super) fn variables(&self) -> &Map<String, Value> {
        &self.variables
    }

    /// Whether a variable lives on the run's workflow.
    pub(super) fn lasts(&self, name: &str) -> bool {
        let variable = self.definition.variable(name);
        self.workflow_id.is_some()
            && variable.is_some_and(|variable| variable.lifetime == Lifetime::Persist)
    }

    pub(super) fn set_variable(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Whether a failure stops the run.
    pub(super) fn has_failed(&self) -> bool {
        self.progress.first().is_some_and(|top| top.failed)
    }

    /// Whether a loop of the run itself ended with mixed iterations.
    pub(super) fn is_partial(&self) -> bool {
        self.has_partial(TOP)
    }

    /// Whether what a node has begun goes on although nobody executes it: a wait, or a loop that
    /// was entered.
    pub(super) fn goes_on(&self, at: At) -> bool {
        match self.status(at) {
            NodeStatus::Waiting => true,
            NodeStatus::Running => self.loops.contains_key(&at),
            NodeStatus::Pending
            | NodeStatus::Success
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Scheduled
            | NodeStatus::Cancelled => false,
        }
    }

    /// Bytes of all inputs and results, with this record in its place.
    pub(super) fn bytes_with(&self, at: At, record: &NodeRecord) -> usize {
        let before = self.record(at).map_or(0, record_bytes);
        self.bytes - before + record_bytes(record)
    }

    /// Replaces a node's record.
    pub(super) fn put(&mut self, at: At, record: NodeRecord) {
        self.bytes += record_bytes(&record);
        if record.status == NodeStatus::Failure && !self.tolerates(at) {
            self.progress_of(at.frame).failed = true;
        }
        let slot = Slot {
            record,
            view: OnceLock::new(),
        };
        let before = self.frames.put(&self.definition, at, slot);
        self.bytes -= before.map_or(0, |slot| record_bytes(&slot.record));
        self.dues.extend(self.due(at).map(Reverse));
    }

    /// Whether a node's failure lets the nodes below it run.
    pub(super) fn tolerates(&self, at: At) -> bool {
        self.node(at).on_error == OnError::Continue
    }

    /// The loop at `at` runs over these items.
    pub(super) fn enter_loop(&mut self, at: At, items: Vec<Value>) {
        self.loops.insert(at, Loop { items, current: 0 });
    }

    /// When a scheduled or waiting node is due; none if it isn't, or waits for no time.
    pub(super) fn due(&self, at: At) -> Option<Timestamp> {
        let record = self.record(at)?;
        match record.status {
            NodeStatus::Scheduled | NodeStatus::Waiting => record.due_at.as_ref()?.parse().ok(),
            NodeStatus::Pending
            | NodeStatus::Running
            | NodeStatus::Success
            | NodeStatus::Partial
            | NodeStatus::Failure
            | NodeStatus::Skipped
            | NodeStatus::Cancelled => None,
        }
    }

    /// The node's payload with its expressions resolved.
    pub(super) fn resolve(&self, at: At) -> Result<Value, Box<NodeError>> {
        let visible = |id: &NodeId| {
            let position = self.definition.find(id.as_str())?;
            self.frames.visible(&self.definition, at.frame, position)
        };
        let records = |id: &NodeId| {
            let slot = self.frames.get(&self.definition, visible(id)?)?;
            Some(slot.view())
        };
        // Read again and again, they are made once.
        let made = RefCell::new(HashMap::new());
        let iterations = |id: &NodeId| {
            let at = visible(id)?;
            let mut made = made.borrow_mut();
            let value = made
                .entry(at)
                .or_insert_with(|| Rc::new(self.iterations_value(at)));
            Some(Rc::clone(value))
        };
        let loops = self.loops_around(at.frame);
        let nothing = Map::new();
        let scope = RunScope {
            definition: &self.definition,
            trigger: self.trigger,
            node: at.node,
            records: &records,
            iterations: &iterations,
            loops: &loops,
            variables: &self.variables,
            props: &self.props,
            inputs: &nothing,
            workflow_id: self.workflow_id.as_deref(),
            run_id: self.run_id.as_str(),
        };
        let (node, limits) = (self.node(at), self.limits);
        let inputs = self.inputs(node, &scope, &limits)?;
        let scope = RunScope {
            inputs: &inputs,
            ..scope
        };
        resolve_payload(&node.kind, &node.payload, &scope, &limits)
    }

    /// The inputs of a node's block that its payload reads. One that points at nothing is missing
    /// itself: a fallback may stand in for it.
    fn inputs(
        &self,
        node: &Node,
        scope: &RunScope<'_>,
        limits: &ExpressionLimits,
    ) -> Result<Map<String, Value>, Box<NodeError>> {
        let mut inputs = Map::new();
        for (name, value) in inputs_read(&self.definition, node) {
            // Where it stands in the node, so that an error names the place.
            let place = json!({ "blockContext": { "inputMapping": { name: value } } });
            match resolve_payload("", &place, scope, limits) {
                Ok(mut resolved) => {
                    let value = resolved["blockContext"]["inputMapping"][name.as_str()].take();
                    inputs.insert(name.clone(), value);
                }
                Err(error) if error.code == MISSING_VALUE => {}
                Err(error) => return Err(error),
            }
        }
        Ok(inputs)
    }

    /// The loops around a frame, the innermost first.
    fn loops_around(&self, frame: usize) -> Vec<LoopScope<'_>> {
        let mut loops = Vec::new();
        let mut frame = frame;
        while let Some((at, index)) = self.frames.around(frame) {
            let items = self.loops.get(&at).map(|entered| entered.items.as_slice());
            let item = items.and_then(|items| items.get(usize::try_from(index).ok()?));
            loops.push(LoopScope {
                node: at.node,
                item,
                index,
            });
            frame = at.frame;
        }
        loops
    }

    /// The iterations of a loop as its record shows them: a map of records each, empty for one
    /// that has none.
    fn iterations_value(&self, at: At) -> Value {
        let entered = self.frames.iterations(at).last();
        let entered = entered.map(|(number, _)| number.saturating_add(1));
        let imported = self.record(at).and_then(NodeRecord::imported_iterations);
        let numbers = 0..entered.max(imported).unwrap_or_default();
        let iterations = numbers.map(|number| {
            let frame = self.frames.iteration(at, number);
            frame.map_or_else(|| json!({}), |frame| self.frame_value(frame))
        });
        iterations.collect()
    }

    fn frame_value(&self, frame: usize) -> Value {
        let mut records = Map::new();
        for &node in &self.definition.body(self.frames.body(frame)).members {
            let at = At { frame, node };
            let Some(slot) = self.frames.get(&self.definition, at) else {
                continue;
            };
            let mut whole = slot.view().whole();
            if let (Some(_), Value::Object(members)) = (self.node(at).loop_body, &mut whole) {
                members.insert("iterations".to_owned(), self.iterations_value(at));
            }
            records.insert(self.node(at).id.to_string(), whole);
        }
        Value::Object(records)
    }
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Map::new()
        }
    }
}

fn record_bytes(record: &NodeRecord) -> usize {
    let length = |text: &Option<JsonText>| text.as_ref().map_or(0, |text| text.as_str().len());
    length(&record.input) + length(&record.result)
}
