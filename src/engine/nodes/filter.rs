//! `filter`: keeps the items of an array that a condition on their fields holds for.
//!
//! `{"array": [...], "filter": {"$and": [{"status": {"$eq": "active"}}]}}` gives
//! `{"filtered": [...]}`. `condition` is another name for `filter`. Fields may have dots.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{
    compare::Fuel,
    condition::{Condition, Left},
    fields,
    payload::Payload,
};
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput},
};

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let items = payload.array("array")?;
    let takes = "an object: `$and`, `$or` or fields";
    let (_, condition) = payload.either(["filter", "condition"], takes)?;
    let condition = Condition::read(&payload, condition)?;
    let fuel = Fuel::full();
    let mut filtered = Vec::new();
    for item in items {
        if condition.holds(&|left| value(item, left), &fuel)? {
            filtered.push(item.clone());
        }
    }
    Ok(NodeOutput::result(json!({ "filtered": filtered })))
}

/// Left sides are names of fields: texts, or numbers by their text. Anything else names none, so
/// that the field is missing.
fn value<'v>(item: &'v Value, left: Left<'_>) -> Option<Cow<'v, Value>> {
    let field = match left {
        Left::Value(Some(Value::String(name))) => name,
        Left::Value(Some(Value::Number(number))) => number.as_str(),
        Left::Value(_) => return None,
        Left::Key(name) => name,
    };
    fields::get(item, field).map(Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing;

    fn kept(input: &Value) -> Vec<String> {
        let output = testing::run(run, "filter", input).unwrap();
        let filtered = output.result["filtered"].as_array().unwrap();
        let ids = filtered.iter().map(|item| item["id"].to_string());
        ids.collect()
    }

    #[test]
    fn items_are_kept_by_their_fields() {
        let items = json!([
            {"id": 1, "amount": 1500, "status": "active", "user": {"tags": ["vip"]}},
            {"id": 2, "amount": 50, "status": "pending", "user": null},
            {"id": 3, "status": "active", "a.b": 1},
            {"id": 4, "amount": "1500", "status": "active"},
            {"id": 5, "5": "five"},
            null,
            "text",
        ]);
        for (filter, expected) in [
            (
                json!({"$and": [{"status": {"$eq": "active"}}, {"amount": {"$gte": 1000}}]}),
                &["1"][..],
            ),
            (
                json!({"status": {"$eq": "active"}, "amount": {"$exists": false}}),
                &["3"],
            ),
            (
                json!({"$or": [{"amount": {"$lt": 100}}, {"a.b": {"$eq": 1.0}}]}),
                &["2", "3"],
            ),
            (json!({"user.tags": {"$contains": "vip"}}), &["1"]),
            (json!({"user.tags.0": {"$startsWith": "v"}}), &["1"]),
            (json!({"amount": {"$gt": 10, "$lte": 50}}), &["2"]),
            (
                json!({"$and": [{"left": "id", "op": "$in", "right": [1, 4]}]}),
                &["1", "4"],
            ),
            (json!({"left": 5, "op": "$exists", "right": true}), &["5"]),
            (json!({"left": [5], "op": "$exists", "right": true}), &[]),
            (json!({"id": {"$notIn": [1, 2, 3, 5, null]}}), &["4"]),
            (json!({}), &["1", "2", "3", "4", "5", "null", "null"]),
        ] {
            for name in ["filter", "condition"] {
                assert_eq!(
                    kept(&json!({"array": items, name: filter})),
                    expected,
                    "{filter}"
                );
            }
        }
    }

    #[test]
    fn numbers_keep_their_digits() {
        let text = r#"{"array":[{"v":115792089237316195423570985008687907853269984665640564039457584007913129639935},{"v":1.50}],"filter":{"v":{"$gt":0}}}"#;
        let input: Value = serde_json::from_str(text).unwrap();
        let output = testing::run(run, "filter", &input).unwrap();
        assert_eq!(
            output.result["filtered"].to_string(),
            input["array"].to_string()
        );
    }

    #[test]
    fn wrong_payloads_and_endless_work_are_refused() {
        for input in [
            json!({"filter": {}}),
            json!({"array": {}, "filter": {}}),
            json!({"array": []}),
            json!({"array": [], "filter": []}),
        ] {
            let error = testing::run(run, "filter", &input).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
        }
        let numbers: Vec<_> = (0..5_000).collect();
        let input = json!({
            "array": vec![json!({"v": -1}); 5_000],
            "filter": {"v": {"$in": numbers}},
        });
        let error = testing::run(run, "filter", &input).unwrap_err();
        assert_eq!(error.code, "too_many_comparisons");
    }
}
