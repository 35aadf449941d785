//! `inputSchema`: what a start's payload must hold.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

/// What a definition says about one key of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputField {
    /// The key.
    pub key: String,
    /// Whether it must be there.
    pub required: bool,
    /// Its type: `string`, `number`, `boolean`, `object`, `array`. None takes any.
    pub kind: Option<String>,
}

/// Reads the list of the contract, and the object by key that older definitions have. What it does
/// not understand asks for nothing.
pub(super) fn read_input_schema(members: &Map<String, Value>) -> Vec<InputField> {
    read_schema(members.get("inputSchema"))
}

/// Reads one schema: a definition's, or that of a trigger's payload.
pub(super) fn read_schema(schema: Option<&Value>) -> Vec<InputField> {
    match schema {
        Some(Value::Array(fields)) => fields
            .iter()
            .filter_map(|field| read_field(field.get("key")?.as_str()?, field))
            .collect(),
        Some(Value::Object(schema)) => read_object(schema),
        _ => Vec::new(),
    }
}

/// `{"amount": {"type": "number"}}`, or a JSON Schema with `properties` and `required`.
fn read_object(schema: &Map<String, Value>) -> Vec<InputField> {
    let properties = schema.get("properties").and_then(Value::as_object);
    let named = schema.get("required").and_then(Value::as_array);
    let named = named.into_iter().flatten().filter_map(Value::as_str);
    let mut required: BTreeSet<_> = named.collect();
    let mut fields: Vec<_> = properties
        .unwrap_or(schema)
        .iter()
        .filter_map(|(key, field)| read_field(key, field))
        .collect();
    for field in &mut fields {
        field.required |= required.remove(field.key.as_str());
    }
    // What is required may have no properties.
    fields.extend(required.into_iter().map(|key| InputField {
        key: key.to_owned(),
        required: true,
        kind: None,
    }));
    fields
}

fn read_field(key: &str, field: &Value) -> Option<InputField> {
    let members = field.as_object()?;
    let kind = members.get("type").and_then(Value::as_str);
    Some(InputField {
        key: key.to_owned(),
        required: members.get("required") == Some(&Value::Bool(true)),
        kind: kind.map(str::to_owned),
    })
}

/// Why a payload does not fit the schema; none if it does.
#[must_use]
pub fn misfit(schema: &[InputField], payload: &Map<String, Value>) -> Option<String> {
    schema.iter().find_map(|field| {
        let key = &field.key;
        let Some(value) = payload.get(key).filter(|value| !value.is_null()) else {
            let message =
                format!("payload.{key} is missing: the workflow's inputSchema requires it");
            return field.required.then_some(message);
        };
        let kind = field.kind.as_deref()?;
        let fits = match kind {
            "string" => value.is_string(),
            "number" | "integer" => value.is_number(),
            "boolean" => value.is_boolean(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            _ => true,
        };
        (!fits).then(|| format!("payload.{key} must be of type {kind}, as inputSchema says"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, payload: &Value) -> Option<String> {
        let definition = json!({ "inputSchema": schema });
        let schema = read_input_schema(definition.as_object().unwrap());
        misfit(&schema, payload.as_object().unwrap())
    }

    #[test]
    fn a_payload_fits_its_schema_or_says_where_not() {
        let schema = json!([
            {"key": "to", "type": "string", "required": true, "description": "who"},
            {"key": "n", "type": "number"}, {"key": "flag", "type": "boolean"},
            {"key": "o", "type": "object"}, {"key": "a", "type": "array"},
            {"key": "x", "type": "whatever"}, {"nameless": true}
        ]);
        for (payload, part) in [
            (json!({"to": "me"}), None),
            (
                json!({"to": "me", "n": 1.5, "flag": true, "o": {}, "a": [], "x": 1, "more": 1}),
                None,
            ),
            (json!({"to": "me", "n": null}), None),
            (json!({}), Some("payload.to is missing")),
            (json!({"to": null}), Some("payload.to is missing")),
            (json!({"to": 5}), Some("payload.to must be of type string")),
            (
                json!({"to": "me", "n": "1"}),
                Some("payload.n must be of type number"),
            ),
            (
                json!({"to": "me", "a": {}}),
                Some("payload.a must be of type array"),
            ),
        ] {
            let found = check(&schema, &payload);
            match part {
                None => assert_eq!(found, None, "{payload}"),
                Some(part) => assert!(found.unwrap().contains(part), "{payload}"),
            }
        }
    }

    #[test]
    fn older_forms_are_read_and_odd_ones_ask_for_nothing() {
        let by_key = json!({"n": {"type": "number", "required": true}});
        assert!(check(&by_key, &json!({})).is_some());
        let json_schema = json!({
            "type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]
        });
        assert!(check(&json_schema, &json!({})).is_some());
        assert_eq!(check(&json_schema, &json!({"n": 1})), None);
        let bare = json!({"type": "object", "required": ["a", "a", 1]});
        assert!(check(&bare, &json!({})).unwrap().contains("payload.a"));
        assert_eq!(check(&bare, &json!({"a": 1})), None);
        let beside = json!({"properties": {"n": {"type": "number"}}, "required": ["n", "a"]});
        assert!(
            check(&beside, &json!({"n": 1}))
                .unwrap()
                .contains("payload.a")
        );
        for odd in [
            json!(null),
            json!([]),
            json!({}),
            json!("x"),
            json!([1, "a"]),
        ] {
            assert_eq!(check(&odd, &json!({})), None);
        }
    }
}
