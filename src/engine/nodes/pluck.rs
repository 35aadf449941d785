//! `pluck`: takes one field, or several, out of every item of an array.
//!
//! `{"array": [...], "field": "user.id"}` gives `{"values": [...]}`, one value per item and
//! `null` where an item has no such field. With `"fields": ["id", "user.name"]` every value is an
//! object of these fields, named as they are asked for.

use serde_json::{Map, Value, json};

use super::{fields, payload::Payload};
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput},
};

/// Values that one node may take out.
const MAX_VALUES: usize = 1_000_000;

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let items = payload.array("array")?;
    let (name, _) = payload.either(["field", "fields"], "the names to take")?;
    let values: Vec<Value> = if name == "field" {
        let field = payload.text(name)?;
        items.iter().map(|item| taken(item, field)).collect()
    } else {
        let names = names(&payload)?;
        if items.len().saturating_mul(names.len()) > MAX_VALUES {
            return Err(payload.refuse(format!("takes out more than {MAX_VALUES} values")));
        }
        items.iter().map(|item| picked(item, &names)).collect()
    };
    Ok(NodeOutput::result(json!({ "values": values })))
}

fn names<'a>(payload: &Payload<'a>) -> Result<Vec<&'a str>, NodeError> {
    let names = payload.array("fields")?.iter().map(Value::as_str);
    let names: Option<Vec<_>> = names.collect();
    names.ok_or_else(|| payload.wrong("fields", "an array of strings"))
}

fn taken(item: &Value, field: &str) -> Value {
    fields::get(item, field).cloned().unwrap_or_default()
}

fn picked(item: &Value, names: &[&str]) -> Value {
    let members = names
        .iter()
        .map(|name| ((*name).to_owned(), taken(item, name)));
    Value::Object(members.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing;

    #[test]
    fn one_value_per_item() {
        let array = json!([
            {"id": 1, "user": {"name": "a", "tags": ["x", "y"]}},
            {"id": 2, "user.name": "dotted"},
            5,
        ]);
        for (input, expected) in [
            (json!({"array": array, "field": "id"}), json!([1, 2, null])),
            (
                json!({"array": array, "field": "user.name"}),
                json!(["a", "dotted", null]),
            ),
            (
                json!({"array": array, "field": "user.tags.1", "fields": null}),
                json!(["y", null, null]),
            ),
            (
                json!({"array": array, "fields": ["id", "user.name", "id"]}),
                json!([
                    {"id": 1, "user.name": "a"},
                    {"id": 2, "user.name": "dotted"},
                    {"id": null, "user.name": null},
                ]),
            ),
            (json!({"array": [], "field": "id"}), json!([])),
        ] {
            let output = testing::run(run, "pluck", &input).unwrap();
            assert_eq!(output.result, json!({ "values": expected }), "{input}");
        }
    }

    #[test]
    fn wrong_payloads_are_refused() {
        let many: Vec<_> = (0..1_001).map(|i| i.to_string()).collect();
        for input in [
            json!({"array": []}),
            json!({"array": "x", "field": "a"}),
            json!({"array": [], "field": 1}),
            json!({"array": [], "fields": ["a", 1]}),
            json!({"array": [], "fields": "a"}),
            json!({"array": vec![0; 1_000], "fields": many}),
        ] {
            let error = testing::run(run, "pluck", &input).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
        }
    }
}
