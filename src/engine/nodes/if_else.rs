//! `if`: takes the branch `then` or `else`, as its condition holds or not.
//!
//! `{"condition": {"$and": [{"left": 1500, "op": "$gt", "right": 1000}]}}` gives
//! `{"branch": "then"}`. Operators and the comparison of types: [`compare`](super::compare).

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{
    compare::Fuel,
    condition::{Condition, Left},
    payload::Payload,
};
use crate::{
    domain::NodeError,
    engine::{NodeCall, NodeOutput},
};

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let takes = "an object: `$and`, `$or` or a comparison";
    let condition = payload.optional("condition");
    let condition = condition.ok_or_else(|| payload.wrong("condition", takes))?;
    let condition = Condition::read(&payload, condition)?;
    let holds = condition.holds(&value, &Fuel::full())?;
    let branch = if holds { "then" } else { "else" };
    Ok(NodeOutput {
        branch: Some(branch.to_owned()),
        ..NodeOutput::result(json!({ "branch": branch }))
    })
}

/// Left sides are resolved values; a key that is no expression is its own text.
fn value(left: Left<'_>) -> Option<Cow<'_, Value>> {
    match left {
        Left::Value(value) => value.map(Cow::Borrowed),
        Left::Key(text) => Some(Cow::Owned(Value::from(text))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing;

    fn branch(condition: &Value) -> Result<String, NodeError> {
        let output = testing::run(run, "if", &json!({ "condition": condition }))?;
        let branch = output.branch.clone().unwrap();
        assert_eq!(
            output,
            NodeOutput {
                branch: Some(branch.clone()),
                ..NodeOutput::result(json!({ "branch": branch.as_str() }))
            }
        );
        Ok(branch)
    }

    #[test]
    fn conditions_choose_the_branch() {
        let yes = json!({"left": 2, "op": "$gt", "right": 1});
        let no = json!({"left": "a", "op": "$eq", "right": "b"});
        for (condition, expected) in [
            (json!({"$and": [yes, yes]}), "then"),
            (json!({"$and": [yes, no]}), "else"),
            (json!({"$or": [no, yes]}), "then"),
            (json!({"$or": [no, no]}), "else"),
            (json!({"$and": []}), "then"),
            (json!({"$or": []}), "else"),
            (
                json!({"$or": [{"$and": [yes, {"$or": [no, {"$and": [yes]}]}]}, no]}),
                "then",
            ),
            (json!({"$and": [yes], "$or": [no]}), "else"),
            (yes.clone(), "then"),
            (json!({"op": "$notExists"}), "then"),
            (
                json!({"$and": [{"active": {"$eq": "active", "$ne": "b"}}]}),
                "then",
            ),
            (
                json!({"$and": [{"active": {"$eq": "active", "$contains": "b"}}]}),
                "else",
            ),
        ] {
            assert_eq!(branch(&condition).unwrap(), expected, "{condition}");
        }
    }

    #[test]
    fn what_is_no_condition_is_refused() {
        for condition in [
            json!(null),
            json!(true),
            json!([]),
            json!({"$and": {}}),
            json!({"$and": [1]}),
            json!({"$not": [{"left": 1, "op": "$eq", "right": 1}]}),
            json!({"$gt": {"$eq": 1}}),
            json!({"left": 1, "op": "eq", "right": 1}),
            json!({"left": 1, "op": "$in", "right": 1}),
            json!({"left": 1, "op": "$exists", "right": "yes"}),
            json!({"left": 1, "right": 1}),
            json!({"a": 1}),
            json!({"a": {}}),
            json!({"a": {"b": 1}}),
        ] {
            let error = branch(&condition).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{condition}");
            assert!(error.message.starts_with("if: "), "{}", error.message);
        }
        let error = testing::run(run, "if", &json!({})).unwrap_err();
        assert!(
            error.message.contains("`condition` takes"),
            "{}",
            error.message
        );
    }
}
