//! What a start refuses and an import does not.

use serde_json::{Value, json};

use super::parse;
use crate::workflow::ExpressionLimits;

/// `root -> a -> b`, `root -> c`, a second trigger `hook`; `b` has this payload.
fn start(payload: &Value) -> Result<(), String> {
    start_kind("log", payload)
}

fn start_kind(kind: &str, payload: &Value) -> Result<(), String> {
    let definition = parse(&json!({
        "nodes": {
            "root": {"type": "manual", "payload": {"hint": "not {{ ours"}, "children": ["a", "c"]},
            "hook": {"type": "webhook", "children": ["b"]},
            "a": {"type": "log", "children": ["b"]},
            "b": {"type": kind, "payload": payload},
            "c": {"type": "log"}
        },
        "triggerNodeIds": ["root", "hook"],
        "variableDefs": [{"name": "v"}]
    }))
    .unwrap();
    definition
        .validate_for_start(&ExpressionLimits::default())
        .map_err(|e| e.to_string())
}

#[test]
fn a_policy_for_a_class_that_is_never_retried_is_refused() {
    let check = |class: &str| {
        let definition = json!({ "nodes": {
            "root": {"type": "manual", "children": ["a"]},
            "a": {"type": "log", "retry": {"retryOn": ["transient", class]}}
        } });
        let definition = parse(&definition).unwrap();
        let checked = definition.validate_for_start(&ExpressionLimits::default());
        checked.map_err(|e| e.to_string())
    };
    for class in [
        "permanent",
        "timeout",
        "in_doubt",
        "rate_limited",
        "definition",
        "internal",
    ] {
        assert_eq!(check(class), Ok(()), "{class}");
    }
    let error = check("expression").unwrap_err();
    for part in ["`a`", "retry.retryOn", "`expression`"] {
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn references_upward_are_fine() {
    for text in [
        "{{a.result}}",
        "{{root.x}}",
        "{{hook.result || 1}}",
        "{{$nodes.a.error}}",
        "{{$trigger.body}}",
        "{{$vars.v.deep}}",
        "{{$vars}}",
        "{{$props.p}}",
        "{{$inputs.i}}",
        "{{$run.id}}",
        "{{$workflowId}}",
        "{{@field}}",
        "{{ask.x}}",
        "\\{{ no",
        "a << nobody >> b",
        "a << $nope >> b",
    ] {
        assert_eq!(start(&json!({"m": [text]})), Ok(()), "{text}");
        assert_eq!(start(&json!({text: 1})), Ok(()), "{text}");
    }
}

#[test]
fn other_references_and_broken_expressions_are_refused() {
    let table = [
        ("{{c.result}}", "`c` does not come before this node"),
        ("{{b.result}}", "`b` does not come before this node"),
        ("{{a.x || c.x}}", "`c` does not come before this node"),
        ("<< $nodes.c.x >>", "`c` does not come before this node"),
        ("{{nobody.result}}", "there is no node `nobody`"),
        ("{{$vars.w}}", "the variable `w` is not declared"),
        ("{{$vars[0]}}", "the variable `0` is not declared"),
        ("{{$item.x}}", "`$item` has a value only inside a loop"),
        (
            "{{$for.a.index || 0}}",
            "this node is not in the body of a loop `a`",
        ),
        ("{{ a.result", "but the text ends"),
        ("{{ a. }}", "expected a name"),
        ("{{$nope.x}}", "there is no `$nope`"),
    ];
    for (text, expected) in table {
        let message = start(&json!({"m": {"k": text}})).unwrap_err();
        assert!(
            message.starts_with("node `b`: `payload.m.k`: `"),
            "{message}"
        );
        assert!(message.contains(expected), "{message}");
        assert!(start(&json!({text: 1})).is_err(), "{text}");
    }
}

#[test]
fn a_condition_must_have_the_shape_of_one() {
    let good = json!({"condition": {"$or": [{"{{a.result}}": {"$eq": 1}}, {"$and": []}]}});
    assert_eq!(start_kind("if", &good), Ok(()));
    for bad in [
        json!("{{a.result}}"),
        json!({}),
        json!({"$and": {}}),
        json!({"$or": [{"x": 1}]}),
        json!({"$or": [{"x": {"eq": 1}}]}),
    ] {
        let payload = json!({"condition": bad});
        let message = start_kind("if", &payload).unwrap_err();
        assert!(
            message.starts_with("node `b`: `payload.condition`: "),
            "{message}"
        );
        // To any other kind it is a payload like any other.
        assert_eq!(start(&payload), Ok(()));
    }
}

/// `root -> n`, a loop over `b` if it is a `for-each`, with one more member.
fn start_node(kind: &str, member: &str, value: &Value) -> Result<(), String> {
    let mut node = json!({"type": kind, "payload": {"array": []}});
    node[member] = value.clone();
    if kind == "for-each" {
        node["loopBody"] = json!(["b"]);
    }
    let definition = parse(&json!({
        "nodes": {
            "root": {"type": "manual", "children": ["n"]},
            "n": node,
            "b": {"type": "log"}
        },
        "triggerNodeIds": ["root"]
    }))
    .unwrap();
    definition
        .validate_for_start(&ExpressionLimits::default())
        .map_err(|e| e.to_string())
}

#[test]
fn a_policy_where_it_would_do_nothing_is_refused_with_what_to_use() {
    let retry = json!({"maxAttempts": 2});
    for (kind, member, value, instead) in [
        ("wait", "retry", &retry, "`timed_out`"),
        ("wait", "timeoutMs", &json!(1_000), "`payload.timeoutMs`"),
        ("for-each", "retry", &retry, "nodes of its body"),
        ("for-each", "timeoutMs", &json!(1_000), "nodes of its body"),
    ] {
        let refused = start_node(kind, member, value).unwrap_err();
        assert!(refused.contains(member), "{refused}");
        assert!(refused.contains(instead), "{refused}");
    }
    for kind in ["log", "trigger-workflow"] {
        assert_eq!(start_node(kind, "retry", &retry), Ok(()));
        assert_eq!(start_node(kind, "timeoutMs", &json!(1_000)), Ok(()));
    }
    assert_eq!(start_node("wait", "retry", &json!({})), Ok(()));
}
