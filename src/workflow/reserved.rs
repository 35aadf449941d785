//! What the format has and this version does not run. It is refused by name, never ignored:
//! a run that silently leaves out a loop or a time-out would be wrong.
//!
//! Taking an entry off a list is all that reading needs to accept it.

use serde_json::{Map, Value};

use super::DefinitionError;

/// Node types.
const KINDS: &[&str] = &[
    "wait",
    "send-webhook",
    "trigger-workflow",
    "list-max",
    "list-min",
    "convert-to-wei",
    "convert-from-wei",
];

/// Members of a node, as paths.
const NODE_MEMBERS: &[&[&str]] = &[
    &["retry"],
    &["timeoutMs"],
    &["blockContext", "inputMapping"],
];

/// Members of a definition.
const DEFINITION_MEMBERS: &[&str] = &["blockExpansions"];

pub(super) fn check_definition(members: &Map<String, Value>) -> Result<(), DefinitionError> {
    for name in DEFINITION_MEMBERS {
        if members.get(*name).is_some_and(says_something) {
            return Err(unsupported(name));
        }
    }
    Ok(())
}

pub(super) fn check_node(kind: &str, members: &Map<String, Value>) -> Result<(), DefinitionError> {
    if KINDS.contains(&kind) {
        let message = format!("type `{kind}` is not supported by this version");
        return Err(DefinitionError::new(message));
    }
    for path in NODE_MEMBERS {
        let (first, rest) = path.split_first().unwrap_or((&"", &[]));
        let member = rest
            .iter()
            .try_fold(members.get(*first), |value, name| {
                value.map(|value| value.get(*name))
            })
            .flatten();
        if member.is_some_and(says_something) {
            return Err(unsupported(&path.join(".")));
        }
    }
    Ok(())
}

fn unsupported(name: &str) -> DefinitionError {
    DefinitionError::new("is not supported by this version").at_field(name)
}

/// Exports write members out that nobody set: null, `[]` and `{}` ask for nothing.
fn says_something(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Array(items) => !items.is_empty(),
        Value::Object(members) => !members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}
