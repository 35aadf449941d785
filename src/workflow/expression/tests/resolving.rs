//! Resolving payloads, against a scope that is one JSON object.

use std::borrow::Cow;

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::{
    domain::{ErrorClass, NodeError},
    workflow::expression::{ExpressionLimits, Head, Path, Scope, Segment, resolve_payload},
};

/// `pay...` and `$vars...` walk this value.
pub(super) struct Values(pub(super) Value);

impl Scope for Values {
    fn is_node(&self, id: &str) -> bool {
        id == "pay"
    }

    fn get(&self, path: &Path) -> Option<Cow<'_, Value>> {
        if !matches!(&path.head, Head::Vars) && path.head.node() != Some("pay") {
            return None;
        }
        let step = |value, segment: &Segment| match segment {
            Segment::Key(key) => Value::get(value, key),
            Segment::Index(index) => Value::get(value, index),
        };
        path.segments
            .iter()
            .try_fold(&self.0, step)
            .map(Cow::Borrowed)
    }

    fn node(&self) -> Option<&str> {
        Some("here")
    }
}

fn values() -> Values {
    Values(json!({
        "n": 1.50, "big": 123_456_789_012_345_678_901_u128, "t": "text", "f": false, "z": null,
        "o": {"k": [1, {"x": "deep"}]}, "trap": "{{ $vars.t }}", "reserved": "$serde_json::private::Number"
    }))
}

pub(super) fn resolve_as(kind: &str, payload: &Value) -> Result<Value, Box<NodeError>> {
    resolve_payload(kind, payload, &values(), &ExpressionLimits::default())
}

fn resolve(payload: &Value) -> Result<Value, Box<NodeError>> {
    resolve_as("log", payload)
}

#[test]
fn one_expression_keeps_the_type_and_others_become_text() {
    let table = [
        ("{{$vars.n}}", json!(1.50)),
        ("<< pay.o >>", json!({"k": [1, {"x": "deep"}]})),
        ("{{ $vars.z }}", Value::Null),
        ("{{$vars.f}}", json!(false)),
        ("{{$vars.o.k[1].x}}", json!("deep")),
        ("{{$vars.o.k.0}}", json!(1)),
        (" {{$vars.n}}", json!(" 1.5")),
        ("{{$vars.t}}{{$vars.t}}", json!("texttext")),
        ("a {{$vars.o}} b", json!(r#"a {"k":[1,{"x":"deep"}]} b"#)),
        ("{{$vars.z}}!", json!("null!")),
        ("x{{$vars.big}}", json!("x123456789012345678901")),
        (r#"{"a":{{$vars.n}}}"#, json!(r#"{"a":1.5}"#)),
        ("1 << 2 >> 3", json!("1 << 2 >> 3")),
        ("a << nobody >> b", json!("a << nobody >> b")),
        (r"\{{ $vars.t }}", json!("{{ $vars.t }}")),
        (
            "{{@name}} {{ask.x}} {{$vars.t}}",
            json!("{{@name}} {{ask.x}} text"),
        ),
        ("{{@name}}", json!("{{@name}}")),
        ("", json!("")),
    ];
    for (text, expected) in table {
        assert_eq!(
            resolve(&json!({"m": text})),
            Ok(json!({"m": expected})),
            "{text}"
        );
    }
}

#[test]
fn numbers_keep_their_digits() {
    let text = r#"{"v":115792089237316195423570985008687907853269984665640564039457584007913129639935.10}"#;
    let scope = Values(serde_json::from_str(text).unwrap());
    let payload = json!({"a": "{{$vars.v}}", "b": "{{$vars.v}}!", "c": "{{nope || 1.10}}"});
    let resolved = resolve_payload("log", &payload, &scope, &ExpressionLimits::default()).unwrap();
    let number =
        "115792089237316195423570985008687907853269984665640564039457584007913129639935.10";
    assert_eq!(
        resolved.to_string(),
        format!(r#"{{"a":{number},"b":"{number}!","c":1.10}}"#)
    );
}

#[test]
fn fallbacks_stand_in_for_missing_and_null() {
    let table = [
        ("{{$vars.nope || 0}}", json!(0)),
        ("{{$vars.z || 0}}", json!(0)),
        ("{{$vars.f || 0}}", json!(false)),
        ("{{$vars.nope || $vars.z || pay.t}}", json!("text")),
        ("{{$vars.nope || $vars.gone || [1]}}", json!([1])),
        ("{{$vars.nope || null}}", Value::Null),
        ("{{$vars.nope || $vars.z}}", Value::Null),
        (
            "{{$vars.nope || \"{{ $vars.t }}\"}}",
            json!("{{ $vars.t }}"),
        ),
        ("{{nobody.x || 1}}", json!(1)),
        ("{{$item || 1}}", json!(1)),
    ];
    for (text, expected) in table {
        assert_eq!(resolve(&json!([text])), Ok(json!([expected])), "{text}");
    }
}

#[test]
fn nothing_is_resolved_twice() {
    let payload = json!({"a": "{{$vars.trap}}", "{{$vars.trap}}": "x {{$vars.trap}}"});
    let expected = json!({"a": "{{ $vars.t }}", "{{ $vars.t }}": "x {{ $vars.t }}"});
    assert_eq!(resolve(&payload), Ok(expected));
}

#[test]
fn a_missing_value_names_expression_node_and_field() {
    let payload = json!({"headers": {"list": ["ok", "id {{ pay.gone.id || $vars.gone }}"]}});
    let error = resolve(&payload).unwrap_err();
    assert_eq!(error.class, ErrorClass::Expression);
    assert_eq!(error.code, "missing_value");
    assert!(
        error
            .message
            .starts_with("`headers.list.1`: `{{ pay.gone.id || $vars.gone }}`: has no value")
    );
    let details = json!({
        "expression": "{{ pay.gone.id || $vars.gone }}", "node": "here", "field": "headers.list.1"
    });
    assert_eq!(error.details, Some(details));
    for text in [
        "{{nobody.x}}",
        "{{$item}}",
        "{{$vars.n.x}}",
        "{{$vars.o.k[2]}}",
        "{{$vars.z || pay.gone}}",
    ] {
        assert_eq!(
            resolve(&json!({text: 1})).unwrap_err().code,
            "missing_value",
            "{text}"
        );
        assert_eq!(
            resolve(&json!({"k": text})).unwrap_err().code,
            "missing_value",
            "{text}"
        );
    }
    let broken = resolve(&json!({"k": "{{ pay"})).unwrap_err();
    assert_eq!(
        (broken.class, broken.code.as_str()),
        (ErrorClass::Expression, "invalid_expression")
    );
}

#[test]
fn keys_become_text_and_may_not_collide() {
    let payload = json!({"{{$vars.t}}": 1, "k {{$vars.n}}": {"{{$vars.o.k}}": 2}});
    let expected = json!({"text": 1, "k 1.5": {r#"[1,{"x":"deep"}]"#: 2}});
    let resolved = resolve(&payload).unwrap();
    assert_eq!(resolved.to_string(), expected.to_string());
    let error = resolve(&json!({"in": {"text": 1, "{{$vars.t}}": 2}})).unwrap_err();
    assert_eq!(error.code, "key_collision");
    assert_eq!(error.details.unwrap()["field"], "in.{{$vars.t}}");
    let error = resolve(&json!({"{{$vars.reserved}}": "x"})).unwrap_err();
    assert_eq!(error.code, "invalid_key");
}

#[test]
fn a_condition_keeps_the_type_of_its_keys() {
    let payload = json!({"condition": {"$and": [
        {"{{$vars.n}}": {"$gt": "{{$vars.big}}"}},
        {"x {{$vars.t}}": {"$eq": "x text"}},
        {"plain": {"$in": ["{{$vars.t}}", 1]}},
        {"{{$vars.o}}": {"$ne": null, "$exists": true}},
        {"$or": [{"{{$vars.z}}": {"$eq": null}}]}
    ]}, "other": {"condition": {"{{$vars.t}}": 1}}});
    let big = json!(123_456_789_012_345_678_901_u128);
    let object = json!({"k": [1, {"x": "deep"}]});
    let expected = json!({"condition": {"$and": [
        {"left": 1.50, "op": "$gt", "right": big},
        {"left": "x text", "op": "$eq", "right": "x text"},
        {"left": "plain", "op": "$in", "right": ["text", 1]},
        {"$and": [{"left": object, "op": "$ne", "right": null}, {"left": object, "op": "$exists", "right": true}]},
        {"$or": [{"left": null, "op": "$eq", "right": null}]}
    ]}, "other": {"condition": {"text": 1}}});
    assert_eq!(resolve_as("if", &payload), Ok(expected));
    // Two keys with one value are two comparisons, no collision.
    let twice = json!({"condition": {"$and": [{"{{$vars.t}}": {"$eq": 1}, "text": {"$eq": 2}}]}});
    let resolved = resolve_as("if", &twice).unwrap();
    assert_eq!(
        resolved["condition"]["$and"][0]["$and"]
            .as_array()
            .unwrap()
            .len(),
        2
    );
}

#[test]
fn a_condition_may_ask_for_what_is_missing() {
    let ask = |operator: &str| {
        let payload = json!({"condition": {"$or": [{"{{pay.gone}}": {operator: true}}]}});
        resolve_as("if", &payload)
    };
    for operator in ["$exists", "$notExists"] {
        let expected = json!({"condition": {"$or": [{"op": operator, "right": true}]}});
        assert_eq!(ask(operator), Ok(expected));
    }
    let error = ask("$eq").unwrap_err();
    assert_eq!(error.code, "missing_value");
    assert_eq!(
        error.details.unwrap()["field"],
        "condition.$or.0.{{pay.gone}}"
    );
}

#[test]
fn a_malformed_condition_is_refused() {
    for condition in [
        json!("{{$vars.t}}"),
        json!(null),
        json!({"$and": 1}),
        json!({"$or": ["x"]}),
        json!({"x": {}}),
        json!({"x": {"eq": 1}}),
    ] {
        let error = resolve_as("if", &json!({"condition": condition})).unwrap_err();
        assert_eq!(
            (error.class, error.code.as_str()),
            (ErrorClass::Definition, "invalid_condition")
        );
    }
}

/// `$trigger...` walks this value.
struct Trigger(Value);
impl Scope for Trigger {
    fn is_node(&self, _: &str) -> bool {
        false
    }
    fn get(&self, path: &Path) -> Option<Cow<'_, Value>> {
        let step = |value, segment: &Segment| match segment {
            Segment::Key(key) => Value::get(value, key),
            Segment::Index(index) => Value::get(value, index),
        };
        path.segments
            .iter()
            .try_fold(&self.0, step)
            .map(Cow::Borrowed)
    }
}

#[test]
fn documented_payloads_resolve() {
    let trigger: Value = serde_json::from_str(include_str!(
        "../../../../tests/fixtures/examples/payload-trigger-context.json"
    ))
    .unwrap();
    let scope = Trigger(trigger["trigger"].clone());
    let payload: Value = serde_json::from_str(include_str!(
        "../../../../tests/fixtures/examples/payload-built-in-page-samples.json"
    ))
    .unwrap();
    let resolved = resolve_payload("x", &payload, &scope, &ExpressionLimits::default()).unwrap();
    assert_eq!(resolved[1]["template"], "Alert: 100.00 USDC received");
    assert_eq!(resolved[2]["params"], json!(["USDC"]));
    let payload: Value = serde_json::from_str(include_str!(
        "../../../../tests/fixtures/examples/payload-webhook-expressions.json"
    ))
    .unwrap();
    let error = resolve_payload("x", &payload, &scope, &ExpressionLimits::default()).unwrap_err();
    assert_eq!(
        error.details.unwrap()["expression"],
        "{{ $trigger.body.event }}"
    );
}

#[test]
fn limits_hold_at_their_edge() {
    let limits = ExpressionLimits {
        field_bytes: 8,
        node_bytes: 20,
        nesting: 4,
        ..ExpressionLimits::default()
    };
    let scope = Values(
        json!({"six": "123456", "seven": "1234567", "list": [1, 2, 3], "long": [1, 2, 3, 4], "deep": [[1]]}),
    );
    let code = |payload: &Value| {
        resolve_payload("if", payload, &scope, &limits)
            .map(drop)
            .map_err(|e| e.code)
    };
    let limit = || Err("expression_limit".to_owned());
    assert_eq!(code(&json!(["12345678"])), Ok(()));
    assert_eq!(code(&json!(["123456789"])), limit());
    assert_eq!(code(&json!(["{{pay.six}}"])), Ok(()));
    assert_eq!(code(&json!(["{{pay.seven}}"])), limit());
    assert_eq!(code(&json!(["{{pay.six}}ab"])), Ok(()));
    assert_eq!(code(&json!(["{{pay.six}}abc"])), limit());
    assert_eq!(code(&json!(["{{pay.list}}!"])), Ok(()));
    assert_eq!(code(&json!(["{{pay.long}}"])), limit());
    assert_eq!(code(&json!(["{{pay.long}}!"])), limit());
    assert_eq!(code(&json!(["12345678", "12345678", "1234"])), Ok(()));
    assert_eq!(code(&json!(["12345678", "12345678", "12345"])), limit());
    assert_eq!(code(&json!({"12345678": "12345678", "1234": ""})), Ok(()));
    assert_eq!(code(&json!({"12345678": "12345678", "12345": ""})), limit());
    assert_eq!(code(&json!([["{{pay.deep}}"]])), Ok(()));
    assert_eq!(code(&json!([[["{{pay.deep}}"]]])), limit());
    // A key that is compared often is accounted for each time.
    let often = |count: usize| {
        let operators: serde_json::Map<_, _> =
            (0..count).map(|n| (format!("${n}"), Value::Null)).collect();
        json!({"condition": {"{{pay.list}}": operators}})
    };
    let wide = ExpressionLimits {
        nesting: 64,
        field_bytes: 100,
        ..limits
    };
    let code = |payload: &Value| {
        resolve_payload("if", payload, &scope, &wide)
            .map(drop)
            .map_err(|e| e.code)
    };
    assert_eq!(code(&often(1)), Ok(()));
    assert_eq!(code(&often(2)), limit());
}

#[test]
fn the_payload_is_no_bigger_than_its_limits_however_often_a_value_is_used() {
    let scope = Values(json!({"mega": "x".repeat(1024 * 1024 - 2)}));
    let payload = |count: usize| json!(vec!["{{pay.mega}}"; count]);
    let resolve =
        |count| resolve_payload("x", &payload(count), &scope, &ExpressionLimits::default());
    assert!(resolve(4).is_ok());
    assert_eq!(resolve(5).unwrap_err().code, "expression_limit");
    assert_eq!(resolve(100_000).unwrap_err().code, "expression_limit");
}

proptest! {
    #[test]
    fn any_payload_resolves_or_fails_and_plain_ones_stay(text in "[{}<>\\\\ a-c.$@|\"0é]{0,30}", key in "[{}<>$ a]{0,6}") {
        let payload = json!({key: [text]});
        for kind in ["log", "if", "filter"] {
            let _ = resolve_as(kind, &json!({"condition": payload}));
        }
        let is_plain = |text: &str| !text.contains("{{") && !text.contains("<<");
        if is_plain(&payload.to_string()) {
            prop_assert_eq!(resolve(&payload), Ok(payload));
        }
    }
}
