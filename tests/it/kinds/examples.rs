//! A payload that each kind succeeds with once `{{$props.given}}` is there, and what has to be there.

use serde_json::{Value, json};

use crate::support::target::Target;

/// What node `x` is, and what it reads.
pub(super) struct Example {
    /// What it is called in messages: its kind, and what is particular.
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) payload: Value,
    pub(super) given: Value,
}

/// The examples of a kind; none if nobody has thought of it.
pub(super) fn of(kind: &str, target: &Target) -> Vec<Example> {
    let example = |name: String, (payload, given)| Example {
        name,
        kind: kind.to_owned(),
        payload,
        given,
    };
    let mut examples: Vec<_> = usual(kind, target)
        .into_iter()
        .map(|usual| example(kind.to_owned(), usual))
        .collect();
    if kind == "trigger-workflow" {
        let (mut payload, given) = usual(kind, target).unwrap();
        payload["wait"] = true.into();
        examples.push(example(format!("{kind} that waits"), (payload, given)));
    }
    examples
}

fn usual(kind: &str, target: &Target) -> Option<(Value, Value)> {
    let people = json!([{ "id": 1, "name": "Ada" }, { "id": 2, "name": "Bob" }]);
    let given = "{{$props.given}}";
    let data = || json!({ "x": 1.50, "a": null });
    Some(match kind {
        "convert-from-wei" => (json!({ "wei": given }), json!("1500000000000000000")),
        "convert-to-wei" => (json!({ "amount": given }), json!("1.5")),
        "delay" => (json!({ "delayMs": given }), json!(60_000)),
        "filter" => (
            json!({ "array": given, "filter": { "id": { "$gt": 1 } } }),
            people,
        ),
        "for-each" => (json!({ "array": given }), json!([1, "b", null])),
        "format" => (
            json!({ "data": given, "template": "Hello {{@name}}" }),
            people,
        ),
        "http-request" => {
            let url = target.url("/call");
            (
                json!({ "url": url, "method": "POST", "body": given }),
                data(),
            )
        }
        "if" => (
            json!({ "condition": { "$and": [{ given: { "$eq": 3 } }] } }),
            json!(3),
        ),
        "list-max" | "list-min" => (json!({ "array": given, "field": "id" }), people),
        "log" => (json!({ "message": given }), data()),
        "pluck" => (json!({ "array": given, "field": "name" }), people),
        "regex" => (
            json!({ "text": given, "pattern": "order (?P<id>\\d+)" }),
            json!("order 42"),
        ),
        "send-webhook" => (json!({ "url": target.url("/hook"), "body": given }), data()),
        "slack-post" => (json!({ "text": given }), data()),
        "set-variable" => (json!({ "name": "count", "value": given }), data()),
        "trigger-workflow" => (
            json!({ "workflowId": "wf_other", "payload": given }),
            data(),
        ),
        "wait" => (json!({ "timeoutMs": given }), json!(60_000)),
        _ => return None,
    })
}

/// What `trigger-workflow` starts.
pub(super) fn other_workflow() -> Value {
    json!({ "nodes": {
        "root": { "type": "manual", "children": ["say"] },
        "say": { "type": "log", "payload": { "message": "{{root.x}}" } }
    } })
}
