//! The published form and the parser say the same.

use redrive::broker::{INTENT_SCHEMA, Intent};
use serde_json::{Value, json};

fn schema() -> Value {
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/docs/redrive.intent.v1.schema.json"
    );
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn least() -> Value {
    json!({ "schema": INTENT_SCHEMA, "retryId": "r", "sourceRunId": "s", "organizationId": "o" })
}

fn with(name: &str, value: Value) -> Value {
    let mut intent = least();
    intent[name] = value;
    intent
}

#[test]
fn what_the_schema_takes_is_what_is_read() {
    let valid = [
        least(),
        with("retryId", json!("ä".repeat(128))),
        with("runId", json!("run_1")),
        with("triggeredBy", json!("a b")),
        with("reason", json!("")),
        with("lane", json!("bulk")),
        with("request", json!({})),
        with("request", json!({ "reason": "again" })),
    ];
    let mut invalid = vec![
        json!(null),
        json!([]),
        json!("x"),
        with("schema", json!("redrive.intent.v2")),
        with("surprise", json!(1)),
        with("triggeredBy", json!("")),
        with("triggeredBy", json!("x".repeat(201))),
        with("triggeredBy", json!(null)),
        with("reason", json!(7)),
        with("lane", json!("fast")),
        with("request", json!(null)),
        with("request", json!([])),
    ];
    for id in ["retryId", "sourceRunId", "organizationId", "runId"] {
        let wrong = [
            json!(""),
            json!("a b"),
            json!("a\u{7}"),
            json!("a\u{a0}"),
            json!("x".repeat(129)),
            json!(7),
            json!(null),
        ];
        invalid.extend(wrong.map(|value| with(id, value)));
    }
    for id in ["schema", "retryId", "sourceRunId", "organizationId"] {
        let mut without = least();
        without.as_object_mut().unwrap().remove(id);
        invalid.push(without);
    }
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for intent in &valid {
        assert!(schema.is_valid(intent), "{intent}");
        assert!(Intent::from_value(intent.clone()).is_ok(), "{intent}");
    }
    for intent in &invalid {
        assert!(!schema.is_valid(intent), "{intent}");
        assert!(Intent::from_value(intent.clone()).is_err(), "{intent}");
    }
}

#[test]
fn every_member_is_described() {
    let schema = schema();
    let members = schema["properties"].as_object().unwrap();
    for (name, member) in members {
        assert!(member["description"].is_string(), "{name}");
    }
    assert_eq!(members.len(), 9);
}
