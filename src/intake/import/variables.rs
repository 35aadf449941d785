//! The variable writes that an imported run's state shows.

use serde_json::Value;

use crate::domain::{JsonText, NodeRecord, NodeStatus, Run, Timestamp, VariableWrite};

/// The node type that writes variables.
const SET_VARIABLE: &str = "set-variable";

/// One write for each `set-variable` that succeeded, in order of time, except for variables whose
/// value at the stop the run itself says.
pub(super) fn writes(records: &[NodeRecord], run: &Run, now: Timestamp) -> Vec<VariableWrite> {
    let given = run.variables.value().unwrap_or_default();
    let done = records
        .iter()
        .filter(|record| record.kind == SET_VARIABLE && record.status == NodeStatus::Success);
    let mut writes: Vec<_> = done.filter_map(|record| write(record, now)).collect();
    writes.retain(|write| given.get(&write.name).is_none());
    // Stable: writes without a time of their own stay in the order of the state.
    writes.sort_by_key(|write| write.written_at);
    if run.source_run_id.is_some() {
        writes.extend(at_the_stop(&given, now));
    }
    writes
}

/// What requests set goes over to every later run of a chain, and so on top of what the run was
/// accepted with: the values at the stop have to be writes too, of no node.
fn at_the_stop(given: &Value, now: Timestamp) -> impl Iterator<Item = VariableWrite> {
    let given = given.as_object().into_iter().flatten();
    given.map(move |(name, value)| VariableWrite {
        name: name.clone(),
        old_value: JsonText::of(&Value::Null),
        new_value: JsonText::of(value),
        written_by_node: None,
        written_at: now,
        lasts: false,
    })
}

fn write(record: &NodeRecord, now: Timestamp) -> Option<VariableWrite> {
    let value = |text: &Option<JsonText>| text.as_ref().and_then(|text| text.value().ok());
    let (input, result) = (value(&record.input), value(&record.result));
    let member = |of: &Option<Value>, name: &str| of.as_ref()?.get(name).cloned();
    let name = member(&result, "name").or_else(|| member(&input, "name"))?;
    let new_value = member(&result, "newValue").or_else(|| member(&input, "value"))?;
    let old_value = member(&result, "oldValue").unwrap_or_default();
    let at = record.finished_at.as_ref().and_then(|at| at.parse().ok());
    Some(VariableWrite {
        name: name.as_str()?.to_owned(),
        old_value: JsonText::of(&old_value),
        new_value: JsonText::of(&new_value),
        written_by_node: Some(record.path.clone()),
        written_at: at.unwrap_or(now),
        lasts: false,
    })
}
