//! `list-max` and `list-min`: the greatest or the least value of a list.
//!
//! `{"array": [3, 1, 2]}` gives `{"value": 3, "index": 0}`. With `"field": "price.usd"` the items
//! are compared by that field, and `value` is the field's value. Numbers compare exactly, at any
//! length; texts compare with texts, character by character. Items that are `null` or lack the
//! field are passed over; of equal ones the first counts. A list without any value to compare, or
//! with numbers beside texts, is refused.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::{fields, payload::Payload};
use crate::{
    domain::{NodeError, compare_numbers},
    engine::{NodeCall, NodeOutput},
};

/// Runs `list-max`.
pub(super) fn greatest(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    run(call, Ordering::Greater)
}

/// Runs `list-min`.
pub(super) fn least(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    run(call, Ordering::Less)
}

fn run(call: &NodeCall<'_>, wanted: Ordering) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let field = payload.optional_text("field")?;
    let mut best: Option<(usize, &Value)> = None;
    for (index, item) in payload.array("array")?.iter().enumerate() {
        let value = match field {
            None => Some(item),
            Some(field) => fields::get(item, field),
        };
        let Some(value) = value.filter(|value| !value.is_null()) else {
            continue;
        };
        let order = match best {
            None => comparable(value).then_some(wanted),
            Some((_, best)) => compare(value, best),
        };
        let order = order.ok_or_else(|| {
            payload.refuse(format!(
                "the value at index {index} can't be compared: a list holds numbers or texts, and \
                 not both"
            ))
        })?;
        if order == wanted {
            best = Some((index, value));
        }
    }
    let (index, value) = best.ok_or_else(|| payload.refuse("`array` has no value to compare"))?;
    Ok(NodeOutput::result(
        json!({ "value": value, "index": index }),
    ))
}

fn comparable(value: &Value) -> bool {
    value.is_number() || value.is_string()
}

fn compare(one: &Value, other: &Value) -> Option<Ordering> {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => Some(compare_numbers(one, other)),
        (Value::String(one), Value::String(other)) => Some(one.cmp(other)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::nodes::testing;

    fn result(kind: &str, input: &Value) -> Result<Value, NodeError> {
        let run = if kind == "list-max" { greatest } else { least };
        testing::run(run, kind, input).map(|output| output.result)
    }

    #[test]
    fn the_first_of_the_greatest_and_of_the_least() {
        let long: Value =
            serde_json::from_str("[1.00, 0.99999999999999999999999, 1e0, 0.5]").unwrap();
        for (input, greatest, least) in [
            (
                json!({"array": [3, 1, 2, 3, 1]}),
                json!([3, 0]),
                json!([1, 1]),
            ),
            (
                json!({"array": ["b", "a", "é"]}),
                json!(["é", 2]),
                json!(["a", 1]),
            ),
            (
                json!({"array": [{"p": {"u": 2}}, {}, {"p": null}, {"p": {"u": 5}}], "field": "p.u"}),
                json!([5, 3]),
                json!([2, 0]),
            ),
            (json!({"array": long}), json!([long[0], 0]), json!([0.5, 3])),
        ] {
            let pair = |result: Value| json!([result["value"], result["index"]]);
            assert_eq!(
                pair(result("list-max", &input).unwrap()),
                greatest,
                "{input}"
            );
            assert_eq!(pair(result("list-min", &input).unwrap()), least, "{input}");
        }
    }

    #[test]
    fn what_can_not_be_compared_is_refused() {
        for input in [
            json!({}),
            json!({"array": "3"}),
            json!({"array": []}),
            json!({"array": [null]}),
            json!({"array": [1, "2"]}),
            json!({"array": [{}]}),
            json!({"array": [true]}),
            json!({"array": [{}], "field": "p"}),
            json!({"array": [1], "field": 5}),
        ] {
            let error = result("list-max", &input).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
        }
    }
}
