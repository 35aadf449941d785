//! A run's state in memory, and the pure question: what is next?

use serde_json::{Map, Value};

use crate::{
    domain::{
        JsonError, NodeError, NodeId, NodeRecord, NodeStatus, Run, RunId, Timestamp, VariableWrite,
    },
    workflow::{
        Definition, ExpressionLimits, OnError, RecordView, RunScope, edge_is_live, resolve_payload,
    },
};

/// What a run does next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Execute this node.
    Run(usize),
    /// Skip this node: no edge into it is live.
    Skip(usize),
    /// Nothing is ready before this time.
    Hold(Timestamp),
    /// Everything has settled.
    End,
}

/// The definition, the records so far, and the variables' values.
#[derive(Debug)]
pub(super) struct RunState {
    definition: Definition,
    trigger: usize,
    order: Vec<usize>,
    reachable: Vec<bool>,
    cursor: usize,
    records: Vec<Option<NodeRecord>>,
    views: Vec<Option<RecordView>>,
    variables: Map<String, Value>,
    props: Map<String, Value>,
    workflow_id: Option<String>,
    run_id: RunId,
    failed: bool,
    bytes: usize,
}

impl RunState {
    /// The state of `run` with these records; `writes` are all logged writes of the runs that
    /// executed them, in order of time.
    pub(super) fn new(
        definition: Definition,
        trigger: usize,
        run: &Run,
        records: Vec<NodeRecord>,
        writes: &[(RunId, VariableWrite)],
    ) -> Result<Self, JsonError> {
        let (order, reachable) = (definition.order(trigger), definition.reachable(trigger));
        let count = definition.nodes().len();
        let mut state = Self {
            variables: Map::new(),
            props: object(run.prop_values.value()?),
            workflow_id: run.workflow_id.clone(),
            run_id: run.id.clone(),
            definition,
            trigger,
            order,
            reachable,
            cursor: 0,
            records: vec![None; count],
            views: std::iter::repeat_with(|| None).take(count).collect(),
            failed: false,
            bytes: 0,
        };
        for record in records {
            let [segment] = record.path.segments() else {
                continue;
            };
            if let Some(ix) = state.definition.find(segment.node.as_str()) {
                state.put(ix, record);
            }
        }
        state.variables = state.present_values(run, writes)?;
        Ok(state)
    }

    /// Defaults, then what the run was accepted with, then the writes of the nodes that succeeded,
    /// each read from the run that executed it.
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
        let Some(path) = &write.written_by_node else {
            return *written_in == self.run_id;
        };
        let [segment] = path.segments() else {
            return false;
        };
        let record = self
            .definition
            .find(segment.node.as_str())
            .and_then(|ix| self.record(ix));
        record.is_some_and(|record| {
            record.status == NodeStatus::Success
                && record.origin_run_id.as_ref().unwrap_or(&self.run_id) == written_in
        })
    }

    pub(super) fn definition(&self) -> &Definition {
        &self.definition
    }

    pub(super) fn trigger(&self) -> usize {
        self.trigger
    }

    /// The runs that executed the records of this one, without this one.
    pub(super) fn origins(records: &[NodeRecord]) -> Vec<RunId> {
        let mut origins: Vec<_> = records
            .iter()
            .filter_map(|record| record.origin_run_id.clone())
            .collect();
        origins.sort();
        origins.dedup();
        origins
    }

    pub(super) fn record(&self, ix: usize) -> Option<&NodeRecord> {
        self.records.get(ix).and_then(Option::as_ref)
    }

    pub(super) fn records(&self) -> impl Iterator<Item = (usize, &NodeRecord)> {
        self.records
            .iter()
            .enumerate()
            .filter_map(|(ix, record)| Some((ix, record.as_ref()?)))
    }

    /// Nodes that the trigger does not lead to and that have no record.
    pub(super) fn unreachable(&self) -> Vec<usize> {
        let all = 0..self.records.len();
        all.filter(|ix| !self.reachable[*ix] && self.records[*ix].is_none())
            .collect()
    }

    pub(super) fn variables(&self) -> &Map<String, Value> {
        &self.variables
    }

    pub(super) fn set_variable(&mut self, name: &str, value: Value) {
        self.variables.insert(name.to_owned(), value);
    }

    /// Whether a failure stops the run.
    pub(super) fn has_failed(&self) -> bool {
        self.failed
    }

    /// Bytes of all inputs and results.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Replaces a node's record.
    pub(super) fn put(&mut self, ix: usize, record: NodeRecord) {
        self.bytes -= self.records[ix].as_ref().map_or(0, record_bytes);
        self.bytes += record_bytes(&record);
        self.failed |= record.status == NodeStatus::Failure && !self.tolerates(ix);
        self.views[ix] = Some(RecordView::from(&record));
        self.records[ix] = Some(record);
    }

    fn tolerates(&self, ix: usize) -> bool {
        self.definition.node(ix).on_error == OnError::Continue
    }

    fn status(&self, ix: usize) -> NodeStatus {
        self.record(ix)
            .map_or(NodeStatus::Pending, |record| record.status)
    }

    fn is_settled(&self, ix: usize) -> bool {
        match self.status(ix) {
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

    /// What is next at `now`. Amortised constant: the order is topological, so what was passed
    /// over stays passed over until a delay ends.
    pub(super) fn next(&mut self, now: Timestamp) -> Next {
        loop {
            while let Some(&ix) = self.order.get(self.cursor) {
                if let Some(next) = self.ready(ix, now) {
                    return next;
                }
                self.cursor += 1;
            }
            match self.earliest_due() {
                None => return Next::End,
                Some(due) if due > now => return Next::Hold(due),
                Some(_) => self.cursor = 0,
            }
        }
    }

    fn ready(&self, ix: usize, now: Timestamp) -> Option<Next> {
        if self.is_settled(ix) {
            return None;
        }
        if self.status(ix) == NodeStatus::Scheduled {
            return self
                .due(ix)
                .is_none_or(|due| due <= now)
                .then_some(Next::Run(ix));
        }
        let node = self.definition.node(ix);
        let mut parents = node
            .parents
            .iter()
            .filter(|parent| self.reachable[**parent]);
        if !parents.clone().all(|parent| self.is_settled(*parent)) {
            return None;
        }
        let live = parents.any(|parent| {
            let taken = self
                .record(*parent)
                .and_then(|record| record.branch.as_deref());
            let kind = &self.definition.node(*parent).kind;
            edge_is_live(kind, self.status(*parent), taken, node.branch.as_deref())
        });
        Some(if live { Next::Run(ix) } else { Next::Skip(ix) })
    }

    /// When a scheduled node is due; none if it isn't scheduled.
    pub(super) fn due(&self, ix: usize) -> Option<Timestamp> {
        let record = self
            .record(ix)
            .filter(|record| record.status == NodeStatus::Scheduled)?;
        record.due_at.as_ref()?.parse().ok()
    }

    fn earliest_due(&self) -> Option<Timestamp> {
        self.order.iter().filter_map(|ix| self.due(*ix)).min()
    }

    /// The node's payload with its expressions resolved.
    pub(super) fn resolve(&self, ix: usize) -> Result<Value, Box<NodeError>> {
        let node = self.definition.node(ix);
        let records = |id: &NodeId| {
            self.definition
                .find(id.as_str())
                .and_then(|ix| self.views.get(ix)?.as_ref())
        };
        let scope = RunScope {
            definition: &self.definition,
            trigger: self.trigger,
            node: ix,
            records: &records,
            variables: &self.variables,
            props: &self.props,
            inputs: &Map::new(),
            workflow_id: self.workflow_id.as_deref(),
            run_id: self.run_id.as_str(),
        };
        resolve_payload(
            &node.kind,
            &node.payload,
            &scope,
            &ExpressionLimits::default(),
        )
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
    let length = |text: &Option<crate::domain::JsonText>| {
        text.as_ref().map_or(0, |text| text.as_str().len())
    };
    length(&record.input) + length(&record.result)
}
