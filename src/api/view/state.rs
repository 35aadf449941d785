//! `executionState`: a record per node. Nodes without a record are shown `pending`, in the order
//! of the definition; secret inputs are masked.

use std::collections::HashSet;

use serde::{Serialize, Serializer, ser::SerializeMap};
use serde_json::{Value, json};

use super::{
    Detail,
    level::{Branch, Level},
};
use crate::domain::{
    EffectState, ITERATIONS, JsonText, NodeRecord, NodeStatus, RETRIES_CHILD, Run,
};

/// What is shown instead of a secret.
const MASK: &str = "***";

/// Members that this file writes itself: those of `extra` with the same name are left out.
const OWN_MEMBERS: [&str; 12] = [
    "type",
    "status",
    "input",
    "result",
    "error",
    "startedAt",
    "finishedAt",
    "dueAt",
    "attempts",
    "effect",
    "originRunId",
    "branch",
];

/// The state of a run, in the order in which it is shown.
pub(super) struct ExecutionState<'a>(Vec<(String, Entry<'a>)>);

enum Entry<'a> {
    Record(Branch<'a>),
    /// A node of the definition without a record: its type.
    Pending(Value),
}

/// A node that the definition names.
struct Declared {
    id: String,
    /// Its type; none for a trigger that stands beside the nodes, which is shown by its record only.
    kind: Option<Value>,
    /// Whether it is in the body of a loop: it is shown in the iterations that entered it.
    is_in_loop: bool,
}

impl<'a> ExecutionState<'a> {
    /// The state of `run`. A retry's run that no worker has created has none.
    pub(super) fn of(run: &Run, detail: &Detail<'a>) -> Self {
        if !run.created {
            return Self(Vec::new());
        }
        let declared = detail.definition.map(declared_nodes).unwrap_or_default();
        let mut records = Level::of(detail.nodes);
        let mut shown = HashSet::new();
        let mut entries = Vec::new();
        for node in declared {
            let entry = match (records.take(&node.id), node.kind) {
                (Some(branch), _) => Entry::Record(branch),
                (None, Some(kind)) if !node.is_in_loop => Entry::Pending(kind),
                (None, _) => continue,
            };
            if shown.insert(node.id.clone()) {
                entries.push((node.id, entry));
            }
        }
        let others = records.into_branches();
        entries.extend(others.map(|branch| (branch.id().to_owned(), Entry::Record(branch))));
        if let Some(only) = detail.only {
            entries.retain(|(key, _)| only.iter().any(|id| id.as_str() == key));
        }
        Self(entries)
    }
}

/// The nodes of a definition of either shape. What can't be read names no nodes: an imported
/// definition is shown as it is, whether it can be run or not.
fn declared_nodes(definition: &JsonText) -> Vec<Declared> {
    let Ok(definition) = definition.value() else {
        return Vec::new();
    };
    let mut declared = Vec::new();
    // The older shape: its trigger stands beside the nodes, and its record is `trigger`.
    if let Some(trigger) = definition.get("trigger").filter(|t| t.is_object()) {
        let id = trigger.get("id").and_then(Value::as_str);
        let ids = id.into_iter().chain(["trigger"]);
        declared.extend(ids.map(|id| Declared {
            id: id.to_owned(),
            kind: None,
            is_in_loop: false,
        }));
    }
    let in_loops = ids_in_loops(&definition);
    let mut declare = |id: &str, node: &Value| {
        let kind = node.get("type").cloned().unwrap_or(Value::Null);
        declared.push(Declared {
            id: id.to_owned(),
            kind: Some(kind),
            is_in_loop: in_loops.contains(id),
        });
    };
    match definition.get("nodes") {
        Some(Value::Object(nodes)) => nodes.iter().for_each(|(id, node)| declare(id, node)),
        Some(Value::Array(nodes)) => {
            for node in nodes {
                if let Some(id) = node.get("id").and_then(Value::as_str) {
                    declare(id, node);
                }
            }
        }
        _ => {}
    }
    declared
}

/// The nodes that a loop lists as its body, and all below them.
fn ids_in_loops(definition: &Value) -> HashSet<&str> {
    let Some(nodes) = definition.get("nodes").and_then(Value::as_object) else {
        return HashSet::new();
    };
    let listed = |node: &'_ Value, name: &str| {
        let ids = node.get(name).and_then(Value::as_array);
        let ids = ids.into_iter().flatten().filter_map(Value::as_str);
        ids.filter_map(|id| nodes.get_key_value(id))
            .map(|(id, _)| id.as_str())
            .collect::<Vec<_>>()
    };
    let mut open: Vec<_> = nodes
        .values()
        .flat_map(|node| listed(node, "loopBody"))
        .collect();
    let mut found = HashSet::new();
    while let Some(id) = open.pop() {
        if found.insert(id) {
            open.extend(listed(&nodes[id], "children"));
        }
    }
    found
}

impl Serialize for ExecutionState<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(key, entry)| (key, entry)))
    }
}

impl Serialize for Entry<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Record(branch) => branch.serialize(serializer),
            Self::Pending(kind) => json!({"type": kind, "status": "pending"}).serialize(serializer),
        }
    }
}

/// A record with the maps of its iterations, if it has any.
pub(super) fn serialize_record<S: Serializer>(
    node: &NodeRecord,
    iterations: Option<&impl Serialize>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(None)?;
    map.serialize_entry("type", &node.kind)?;
    map.serialize_entry("status", &node.status)?;
    // The input of a pending node is what an earlier run sent: nothing was resolved in this one.
    if let Some(input) = node
        .input
        .as_ref()
        .filter(|_| node.status != NodeStatus::Pending)
    {
        match masked_input(input, &node.secret_keys()) {
            Some(masked) => map.serialize_entry("input", &masked)?,
            None => map.serialize_entry("input", input)?,
        }
    }
    optional(&mut map, "result", node.result.as_ref())?;
    optional(&mut map, "error", node.error.as_ref())?;
    optional(&mut map, "startedAt", node.started_at.as_ref())?;
    optional(&mut map, "finishedAt", node.finished_at.as_ref())?;
    optional(&mut map, "dueAt", node.due_at.as_ref())?;
    let attempts = (!node.attempts.is_empty()).then_some(&node.attempts);
    optional(&mut map, "attempts", attempts)?;
    optional(&mut map, "effect", shown_effect(node).as_ref())?;
    optional(&mut map, "originRunId", node.origin_run_id.as_ref())?;
    let has_iterations = iterations.is_some();
    optional(&mut map, ITERATIONS, iterations)?;
    let extra = node.extra.as_ref().and_then(|extra| extra.value().ok());
    if let Some(Value::Object(extra)) = extra {
        for (name, mut value) in extra {
            if OWN_MEMBERS.contains(&name.as_str()) || name == RETRIES_CHILD {
                continue;
            }
            if name == ITERATIONS {
                if has_iterations {
                    continue;
                }
                mask_iterations(&mut value);
            }
            map.serialize_entry(&name, &value)?;
        }
    }
    map.end()
}

fn optional<M: SerializeMap, T: Serialize>(
    map: &mut M,
    name: &str,
    value: Option<&T>,
) -> Result<(), M::Error> {
    value.map_or(Ok(()), |value| map.serialize_entry(name, value))
}

/// The input with its secret members masked; none if it has no secret ones.
fn masked_input(input: &JsonText, secret_keys: &[String]) -> Option<Value> {
    if secret_keys.is_empty() {
        return None;
    }
    let mut value = input.value().ok()?;
    mask(&mut value, secret_keys.iter().map(String::as_str));
    Some(value)
}

/// The effect, with the input that it may hold masked like the record's own.
fn shown_effect(node: &NodeRecord) -> Option<EffectState> {
    let mut effect = node.effect.clone()?;
    if let Some(sent) = &mut effect.sent_input
        && let Some(masked) = masked_input(sent, &node.secret_keys())
    {
        *sent = JsonText::of(&masked);
    }
    Some(effect)
}

fn mask<'a>(input: &mut Value, secret_keys: impl Iterator<Item = &'a str>) {
    for key in secret_keys {
        if let Some(secret) = input.get_mut(key) {
            *secret = MASK.into();
        }
    }
}

/// Imported iterations are maps of records of the same form, at any depth.
fn mask_iterations(iterations: &mut Value) {
    let maps = iterations.as_array_mut().into_iter().flatten();
    let records = maps
        .filter_map(Value::as_object_mut)
        .flat_map(|map| map.values_mut());
    for record in records {
        let keys = record.get("secretKeys").and_then(Value::as_array).cloned();
        if let (Some(keys), Some(input)) = (keys, record.get_mut("input")) {
            mask(input, keys.iter().filter_map(Value::as_str));
        }
        if let Some(inner) = record.get_mut("iterations") {
            mask_iterations(inner);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        api::tests::a_run,
        domain::{Attempt, NodeId},
    };

    fn record(path: &str, status: NodeStatus) -> NodeRecord {
        NodeRecord::new(path.parse().unwrap(), "http-request", status)
    }

    fn text(definition: Option<&str>, nodes: &[NodeRecord], only: Option<&[NodeId]>) -> String {
        let definition = definition.map(JsonText::trusted);
        let detail = Detail {
            definition: definition.as_ref(),
            nodes,
            only,
        };
        serde_json::to_string(&ExecutionState::of(&a_run("run_a"), &detail)).unwrap()
    }

    const DEFINITION: &str = r#"{"nodes":{
        "root":{"type":"manual","children":["z"]},
        "z":{"type":"log"},
        "a.b":{"type":"http-request"}}}"#;

    #[test]
    fn nodes_stand_in_the_definitions_order_and_pending_ones_are_made_up() {
        let nodes = [
            record("stray", NodeStatus::Skipped),
            record("loop[1].pay", NodeStatus::Success),
            record("loop", NodeStatus::Running),
            record(r#"["a.b"]"#, NodeStatus::Running),
            record("root", NodeStatus::Success),
        ];
        assert_eq!(
            text(Some(DEFINITION), &nodes, None),
            concat!(
                r#"{"root":{"type":"http-request","status":"success"},"#,
                r#""z":{"type":"log","status":"pending"},"#,
                r#""a.b":{"type":"http-request","status":"running"},"#,
                r#""stray":{"type":"http-request","status":"skipped"},"#,
                r#""loop":{"type":"http-request","status":"running","#,
                r#""iterations":[{},{"pay":{"type":"http-request","status":"success"}}]}}"#,
            )
        );
    }

    #[test]
    fn a_filter_shows_only_what_it_names() {
        let only: Vec<NodeId> = ["z", "a.b", "none"].map(|id| id.parse().unwrap()).into();
        let nodes = [record(r#"["a.b"]"#, NodeStatus::Running)];
        assert_eq!(
            text(Some(DEFINITION), &nodes, Some(&only)),
            r#"{"z":{"type":"log","status":"pending"},"a.b":{"type":"http-request","status":"running"}}"#
        );
    }

    #[test]
    fn other_shapes_of_a_definition_are_read() {
        let old = r#"{"trigger":{"id":"t1","type":"manual","children":["a"]},
            "nodes":[{"id":"a","type":"slack:post"},{"type":"nameless"},7]}"#;
        let nodes = [record("trigger", NodeStatus::Success)];
        assert_eq!(
            text(Some(old), &nodes, None),
            concat!(
                r#"{"trigger":{"type":"http-request","status":"success"},"#,
                r#""a":{"type":"slack:post","status":"pending"}}"#
            )
        );
        for odd in [
            None,
            Some("[]"),
            Some("7"),
            Some(r#"{"nodes":7,"trigger":null}"#),
        ] {
            assert_eq!(text(odd, &[], None), "{}", "{odd:?}");
        }
        let untyped = r#"{"nodes":{"a":7}}"#;
        assert_eq!(
            text(Some(untyped), &[], None),
            r#"{"a":{"type":null,"status":"pending"}}"#
        );
    }

    #[test]
    fn a_record_shows_its_members_and_then_the_imported_ones() {
        let mut node = record("pay", NodeStatus::Failure);
        node.input = Some(JsonText::trusted(r#"{"amount": 1.50}"#));
        node.result = Some(JsonText::trusted("null"));
        node.error = Some(JsonText::trusted(r#""as imported""#));
        node.started_at = Some("yesterday".into());
        node.finished_at = Some("today".into());
        node.due_at = Some("tomorrow".into());
        node.branch = Some("then".into());
        node.attempts = vec![Attempt {
            number: 1,
            effect_key: Some("run_a/pay/1".into()),
            started_at: "yesterday".into(),
            finished_at: None,
            error: None,
        }];
        node.effect = Some(EffectState::default());
        node.origin_run_id = Some("run_0".parse().unwrap());
        node.extra = Some(JsonText::trusted(r#"{"context":{"b":1.0},"status":"no"}"#));
        assert_eq!(
            text(None, &[node], None),
            concat!(
                r#"{"pay":{"type":"http-request","status":"failure","input":{"amount": 1.50},"#,
                r#""result":null,"error":"as imported","startedAt":"yesterday","#,
                r#""finishedAt":"today","dueAt":"tomorrow","#,
                r#""attempts":[{"number":1,"effectKey":"run_a/pay/1","startedAt":"yesterday"}],"#,
                r#""effect":{"generation":1,"last":"unsent","doubted":false},"#,
                r#""originRunId":"run_0","context":{"b":1.0}}}"#,
            )
        );
    }

    #[test]
    fn secret_inputs_are_masked() {
        let mut node = record("pay", NodeStatus::Success);
        node.input = Some(JsonText::trusted(
            r#"{"z":1.0,"token":{"hunter2":1},"other":"x"}"#,
        ));
        node.effect = Some(EffectState {
            sent_input: Some(JsonText::trusted(r#"{"token":"hunter2"}"#)),
            ..EffectState::default()
        });
        node.extra = Some(JsonText::trusted(
            r#"{"secretKeys":["token","absent"],"iterations":[{"in":{"secretKeys":["key"],
            "input":{"key":"hunter2"},"iterations":[{"deep":{"secretKeys":["k"],
            "input":{"k":"hunter2"}}}]}}]}"#,
        ));
        let text = text(None, &[node], None);
        assert!(!text.contains("hunter2"), "{text}");
        assert!(
            text.contains(r#""input":{"z":1.0,"token":"***","other":"x"}"#),
            "{text}"
        );
        assert!(text.contains(r#""input":{"k":"***"}"#), "{text}");
    }

    #[test]
    fn the_input_of_a_pending_node_is_not_shown() {
        let mut node = record("pay", NodeStatus::Pending);
        node.input = Some(JsonText::trusted(r#"{"amount":1}"#));
        assert!(!text(None, &[node], None).contains("amount"));
    }
}
