//! One node's record of an imported run.

use serde_json::{Map, Value};

use super::{
    super::{
        IntakeError,
        body::{invalid, user_json},
    },
    attempts::attempts,
    effect::effect,
};
use crate::{
    domain::{
        EffectState, ITERATIONS, JsonText, NodeId, NodePath, NodeRecord, NodeStatus, SideEffects,
    },
    workflow::{Definition, side_effects_by_kind, side_effects_of},
};

/// The type of a loop.
const LOOP: &str = "for-each";

/// Members with a column of their own; the others are kept as they are.
const OWN: [&str; 7] = [
    "type",
    "status",
    "input",
    "result",
    "error",
    "startedAt",
    "finishedAt",
];

/// Reads one entry of `executionState`, or of an iteration (`around` is the loop's path and its
/// number), and the iterations in it.
pub(super) fn read_records(
    records: &mut Vec<NodeRecord>,
    around: Option<(&NodePath, u32)>,
    id: &str,
    value: &Value,
    definition: Option<&Definition>,
) -> Result<(), IntakeError> {
    let node: NodeId = match id.parse() {
        Ok(node) => node,
        Err(error) => return Err(invalid(format!("executionState: {error}"))),
    };
    let own = NodePath::of(node);
    let path = match around {
        None => own,
        Some((path, number)) => path.clone().enter(number, own),
    };
    let mut record = record(&path, value, definition)?;
    let iterations = iterations(&record, value)?;
    if let Some(iterations) = iterations {
        let count = u32::try_from(iterations.len()).unwrap_or(u32::MAX);
        // They stand under their own paths: of the member only its length stays.
        record.set_extra(ITERATIONS, count.into());
    }
    records.push(record);
    for (number, nodes) in (0..).zip(iterations.into_iter().flatten()) {
        let nodes = match nodes {
            // An iteration that never started.
            Value::Null => continue,
            Value::Object(nodes) => nodes,
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                return Err(invalid(format!(
                    "executionState.{path}.iterations.{number} must be an object of nodes"
                )));
            }
        };
        for (id, value) in nodes {
            read_records(records, Some((&path, number)), id, value, definition)?;
        }
    }
    Ok(())
}

/// The iterations of a loop; other types may have a member of that name that is only theirs.
fn iterations<'a>(
    record: &NodeRecord,
    value: &'a Value,
) -> Result<Option<&'a Vec<Value>>, IntakeError> {
    match value.get(ITERATIONS).filter(|_| record.kind == LOOP) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::Array(iterations)) => Ok(Some(iterations)),
        Some(_) => Err(invalid(format!(
            "executionState.{}.iterations must be an array of objects of nodes",
            record.path
        ))),
    }
}

/// Reads one record.
fn record(
    path: &NodePath,
    value: &Value,
    definition: Option<&Definition>,
) -> Result<NodeRecord, IntakeError> {
    let shown = path.to_string();
    let id = shown.as_str();
    let Value::Object(entry) = value else {
        return Err(invalid(format!("executionState.{id} must be an object")));
    };
    let defined = definition.and_then(|d| Some(d.node(d.find(path.node().as_str())?)));
    let text = |name: &str| text(id, entry, name);
    let user = |name: &str| match entry.get(name) {
        None => Ok(None),
        Some(value) => user_json(value, &format!("executionState.{id}.{name}")).map(Some),
    };
    let kind = text("type")?.or_else(|| defined.map(|node| node.kind.clone()));
    let kind = kind.unwrap_or_default();
    let status = status(id, entry)?;
    let mut record = NodeRecord {
        input: user("input")?,
        result: user("result")?,
        error: user("error")?.filter(|error| error.as_str() != "null"),
        started_at: text("startedAt")?,
        finished_at: text("finishedAt")?,
        ..NodeRecord::new(path.clone(), kind, status)
    };
    record.branch = branch(&record.kind, entry);
    take_history(&mut record, id, entry)?;
    let effects = match defined {
        Some(node) => side_effects_of(node),
        None => side_effects_by_kind(&record.kind, &Value::Null, None),
    };
    if effects != SideEffects::None && record.effect.is_none() {
        record.effect = effect(&record, entry, effects);
    }
    Ok(record)
}

fn text(id: &str, entry: &Map<String, Value>, name: &str) -> Result<Option<String>, IntakeError> {
    match entry.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(invalid(format!(
            "executionState.{id}.{name} must be a string"
        ))),
    }
}

fn status(id: &str, entry: &Map<String, Value>) -> Result<NodeStatus, IntakeError> {
    let word = text(id, entry, "status")?.unwrap_or_default();
    NodeStatus::parse(&word).ok_or_else(|| {
        invalid(format!(
            "executionState.{id}.status is {word:?}, which is no status of a node"
        ))
    })
}

/// The branch that an `if` took, or a `wait`.
fn branch(kind: &str, entry: &Map<String, Value>) -> Option<String> {
    if !matches!(kind, "if" | "wait") {
        return None;
    }
    entry
        .get("result")?
        .get("branch")?
        .as_str()
        .map(str::to_owned)
}

/// Attempts and effect, where they are written the way we write them; what is left over
/// is kept as it is.
fn take_history(
    record: &mut NodeRecord,
    id: &str,
    entry: &Map<String, Value>,
) -> Result<(), IntakeError> {
    let mut extra = Map::new();
    for (name, value) in entry
        .iter()
        .filter(|(name, _)| !OWN.contains(&name.as_str()))
    {
        let is_loops = name == ITERATIONS && record.kind == LOOP && !value.is_null();
        let taken = match name.as_str() {
            // Read on their own.
            _ if is_loops => Some(()),
            "attempts" => {
                let place = format!("executionState.{id}.attempts");
                user_json(value, &place)?;
                attempts(value, &place)?.map(|read| record.attempts = read)
            }
            "effect" => read::<EffectState>(value).map(|read| record.effect = Some(read)),
            // Which run executed a node is ours to say: variables are read from there.
            "originRunId" => Some(()),
            "dueAt" => read::<String>(value).map(|read| record.due_at = Some(read)),
            _ => None,
        };
        if taken.is_none() {
            user_json(value, &format!("executionState.{id}.{name}"))?;
            extra.insert(name.clone(), value.clone());
        }
    }
    if !extra.is_empty() {
        record.extra = Some(JsonText::of(&Value::Object(extra)));
    }
    Ok(())
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> Option<T> {
    // Through text: values with numbers of any length read only from text.
    serde_json::from_str(&value.to_string()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read_one(entry: &Value) -> NodeRecord {
        record(&"n".parse().unwrap(), entry, None).unwrap()
    }

    #[test]
    fn a_started_node_with_effects_is_in_doubt() {
        for (entry, in_doubt) in [
            (json!({"type": "http-request", "status": "running"}), true),
            (
                json!({"type": "slack-post", "status": "auto_swapping"}),
                true,
            ),
            (
                json!({"type": "x", "status": "failure", "error": {"class": "in_doubt"}}),
                true,
            ),
            (
                json!({"type": "x", "status": "failure", "error": {"class": "transient"}}),
                false,
            ),
            (
                json!({"type": "x", "status": "failure", "error": "503"}),
                false,
            ),
            // Any attempt counts, and whatever the status is.
            (
                json!({"type": "x", "status": "scheduled", "attempts": [
                    {"number": 1, "startedAt": "2026-01-01T00:00:00Z"}
                ]}),
                true,
            ),
            (
                json!({"type": "x", "status": "failure", "attempts": [
                    {"number": 1, "startedAt": "a", "finishedAt": "b",
                     "error": {"class": "in_doubt", "code": "timeout", "message": "m"}},
                    {"number": 2, "startedAt": "c", "finishedAt": "d",
                     "error": {"class": "transient", "code": "http_503", "message": "m"}}
                ]}),
                true,
            ),
            (
                json!({"type": "x", "status": "failure", "attempts": [
                    {"number": 1, "startedAt": "a", "finishedAt": "b",
                     "error": {"class": "transient", "code": "http_503", "message": "m"}}
                ]}),
                false,
            ),
            (json!({"type": "log", "status": "running"}), false),
            (json!({"type": "x", "status": "pending"}), false),
        ] {
            let effect = read_one(&entry).effect;
            assert_eq!(
                effect.is_some_and(|effect| effect.is_in_doubt()),
                in_doubt,
                "{entry}"
            );
        }
    }

    #[test]
    fn what_has_no_column_is_kept() {
        let entry = json!({
            "type": "if", "status": "success", "result": {"branch": "else"}, "input": null,
            "context": {"z": 1, "a": 2}, "secretKeys": ["token"], "attempts": "three"
        });
        let record = read_one(&entry);
        assert_eq!(record.branch.as_deref(), Some("else"));
        assert_eq!(record.input.as_ref().unwrap().as_str(), "null");
        assert_eq!(record.secret_keys(), ["token"]);
        let kept = r#"{"context":{"z":1,"a":2},"secretKeys":["token"],"attempts":"three"}"#;
        assert_eq!(record.extra.unwrap().as_str(), kept);
    }

    #[test]
    fn nonsense_is_refused_by_name() {
        for (entry, part) in [
            (json!([]), "must be an object"),
            (json!({}), "no status"),
            (json!({"status": "done"}), "\"done\""),
            (json!({"status": 1}), "status must be a string"),
            (
                json!({"status": "success", "startedAt": 5}),
                "startedAt must be a string",
            ),
        ] {
            let error = record(&"n".parse().unwrap(), &entry, None)
                .unwrap_err()
                .to_string();
            assert!(
                error.contains(part) && error.contains("executionState.n"),
                "{error}"
            );
        }
    }
}
