//! The published form and the parser say the same.

use redrive::{
    broker::{INTENT_SCHEMA, Intent},
    intake::Request,
};
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

/// Members of a request, each with values that it takes and values that it does not.
fn choices() -> Value {
    json!({
        "fromNodeId": [["a", null], [7]],
        "mode": [["failed", "all", null], ["some"]],
        "includePartial": [[true, null], ["a"]],
        "definition": [["snapshot", "latest", null], ["newest"]],
        "propValues": [[{ "a": 1 }, null], [[]]],
        "variables": [[{ "a": 1 }], [1]],
        "nodeResults": [[{ "a": 1 }], [[]]],
        "acknowledge": [[["a[0].b"], null], ["a", [1]]],
        "newEffectKey": [[["a"]], [{}]],
        "allowAgain": [[false], [1]],
        "planHash": [["a"], [1]],
        "notBefore": [["2030-01-01T00:00:00Z"], [7]],
        "reason": [["a", null], [7]],
        "lane": [["interactive", "automatic", "bulk", null], ["fast"]],
        "none": [[], [1]]
    })
}

#[test]
fn what_a_request_may_choose_is_in_the_schema() {
    let schema = jsonschema::validator_for(&schema()).unwrap();
    for (name, values) in choices().as_object().unwrap() {
        for (place, is_good) in [(0, true), (1, false)] {
            for value in values[place].as_array().unwrap() {
                let request = json!({ name.as_str(): value });
                let intent = with("request", request.clone());
                assert_eq!(schema.is_valid(&intent), is_good, "{request}");
                let read = Request::read(Some(request.clone()));
                assert_eq!(read.is_ok(), is_good, "{request}");
            }
        }
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
