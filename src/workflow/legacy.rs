//! The older shape of a definition: the trigger stands beside `nodes`, payloads are `props`.

use serde_json::{Map, Value};

use super::DefinitionError;

/// The state key of the older shape's trigger.
const STATE_KEY: &str = "trigger";

/// The trigger of a definition in the older shape.
pub(super) struct LegacyTrigger<'a> {
    /// The key of its state, and so its node id: `trigger`, unless a node has that id.
    pub(super) id: String,
    /// Its own id, by which expressions and `triggerNodeId` may call it.
    pub(super) alias: Option<String>,
    /// The node itself.
    pub(super) members: &'a Map<String, Value>,
}

/// The older shape's trigger. A definition whose `triggerNodeIds` lists anything but that trigger
/// is not of that shape.
pub(super) fn legacy_trigger<'a>(
    members: &'a Map<String, Value>,
    nodes: &Map<String, Value>,
) -> Result<Option<LegacyTrigger<'a>>, DefinitionError> {
    let Some(Value::Object(trigger)) = members.get("trigger") else {
        return Ok(None);
    };
    if lists_others(members, nodes, trigger) {
        return Ok(None);
    }
    let own = match trigger.get("id") {
        None | Some(Value::Null) => None,
        Some(Value::String(id)) => Some(id.clone()),
        Some(_) => return Err(DefinitionError::new("must be a text").at_field("trigger.id")),
    };
    if let Some(id) = own.as_ref().filter(|id| nodes.contains_key(*id)) {
        let message = format!("`{id}` is also the id of a node: give the trigger another id");
        return Err(DefinitionError::new(message).at_field("trigger.id"));
    }
    let (id, alias) = match own {
        Some(own) if nodes.contains_key(STATE_KEY) => (own, None),
        Some(own) => (
            STATE_KEY.to_owned(),
            Some(own).filter(|own| own != STATE_KEY),
        ),
        None if nodes.contains_key(STATE_KEY) => {
            let message = "a node is called `trigger`: give the trigger an id of its own";
            return Err(DefinitionError::new(message).at_field("trigger.id"));
        }
        None => (STATE_KEY.to_owned(), None),
    };
    Ok(Some(LegacyTrigger {
        id,
        alias,
        members: trigger,
    }))
}

/// Whether `triggerNodeIds` lists what is not the trigger beside `nodes`: that answers to its own id
/// and to the names of a trigger, where they are no node's.
fn lists_others(
    members: &Map<String, Value>,
    nodes: &Map<String, Value>,
    trigger: &Map<String, Value>,
) -> bool {
    let own = trigger.get("id").and_then(Value::as_str);
    let names_trigger = |id: &Value| {
        let names = |id: &str| matches!(id, "root" | STATE_KEY) || own == Some(id);
        id.as_str()
            .is_some_and(|id| names(id) && !nodes.contains_key(id))
    };
    let listed = members.get("triggerNodeIds").and_then(Value::as_array);
    listed.is_some_and(|ids| !ids.iter().all(names_trigger))
}
