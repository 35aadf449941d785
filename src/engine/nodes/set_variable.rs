//! `set-variable`: sets a variable of the run, or of its workflow if it is a lasting one.
//!
//! `{"name": "count", "value": 2}` gives `{"name": "count", "oldValue": 1, "newValue": 2}`. The
//! engine writes it with the node's outcome. Whether the name must be declared is the engine's to
//! say; a variable without a value has the old value `null`.

use serde_json::json;

use super::payload::Payload;
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput, VariableSet},
};

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let name = payload.text("name")?;
    if name.is_empty() || name.chars().count() > 128 {
        return Err(payload.wrong("name", "a string of 1 to 128 characters"));
    }
    let op = payload.optional_text("op")?.unwrap_or("set");
    if op != "set" {
        return Err(payload.wrong("op", "\"set\""));
    }
    let value = payload.present("value", "any value")?.clone();
    let old = call.variables.get(name).cloned().unwrap_or_default();
    Ok(NodeOutput {
        variable: Some(VariableSet {
            name: name.to_owned(),
            value: value.clone(),
        }),
        ..NodeOutput::result(json!({ "name": name, "oldValue": old, "newValue": value }))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value};

    use super::*;
    use crate::engine::nodes::testing::Call;

    fn set(input: Value) -> Result<NodeOutput, NodeError> {
        let mut variables = Map::new();
        variables.insert("count".into(), json!(1));
        let call = Call::new("set-variable", input).with_variables(variables);
        run(&call.call())
    }

    #[test]
    fn old_and_new_value_are_told() {
        for (input, old) in [
            (json!({"name": "count", "value": {"a": [null]}}), json!(1)),
            (
                json!({"name": "new", "value": null, "op": "set"}),
                json!(null),
            ),
        ] {
            let output = set(input.clone()).unwrap();
            let (name, value) = (&input["name"], &input["value"]);
            let expected = json!({"name": name, "oldValue": old, "newValue": value});
            assert_eq!(output.result, expected);
            let variable = output.variable.unwrap();
            assert_eq!(
                (json!(variable.name), &variable.value),
                (name.clone(), value)
            );
        }
    }

    #[test]
    fn wrong_payloads_are_refused() {
        for input in [
            json!({"name": "x"}),
            json!({"value": 1}),
            json!({"name": "", "value": 1}),
            json!({"name": "x".repeat(129), "value": 1}),
            json!({"name": 1, "value": 1}),
            json!({"name": "x", "value": 1, "op": "increment"}),
        ] {
            assert_eq!(
                set(input.clone()).unwrap_err().code,
                "invalid_payload",
                "{input}"
            );
        }
    }
}
