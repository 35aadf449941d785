//! Members that are more than values: conditions of a `filter`, templates of a `format`.

use serde_json::{Value, json};

use super::resolving::{Values, resolve_as};
use crate::workflow::expression::{ExpressionLimits, resolve_payload};

#[test]
fn conditions_of_a_filter_keep_their_keys_apart() {
    let scope = Values(json!({"or": "$or", "amount": "amount", "n": 5, "list": [{"x": 1}]}));
    let resolve = |condition: Value| {
        let resolve = |member: &str| {
            let payload = json!({ member: condition });
            let limits = ExpressionLimits::default();
            resolve_payload("filter", &payload, &scope, &limits).map(|mut p| p[member].take())
        };
        let (one, other) = (resolve("filter"), resolve("condition"));
        assert_eq!(one.as_ref().ok(), other.as_ref().ok());
        one
    };
    let comparison =
        |left: Value, op: &str, right: Value| json!({"left": left, "op": op, "right": right});
    let range = json!({"amount": {"$gt": 1}, "{{pay.amount}}": {"$lt": 9}});
    let both = [
        comparison(json!("amount"), "$gt", json!(1)),
        comparison(json!("amount"), "$lt", json!(9)),
    ];
    assert_eq!(resolve(range), Ok(json!({ "$and": both })));
    let typed = json!({"{{pay.n}}": {"$eq": "{{pay.n}}"}});
    assert_eq!(resolve(typed), Ok(comparison(json!(5), "$eq", json!(5))));
    let field = json!({"op": {"$eq": 1}});
    assert_eq!(resolve(field), Ok(comparison(json!("op"), "$eq", json!(1))));
    let operator = json!({"{{pay.or}}": [{"x": {"$eq": 1}}]});
    assert_eq!(resolve(operator).unwrap_err().code, "invalid_condition");
    // A field's name that is missing is no missing field.
    let nameless = json!({"{{pay.gone}}": {"$exists": false}});
    assert_eq!(resolve(nameless).unwrap_err().code, "missing_value");
    for (as_it_is, expected) in [
        (json!({}), json!({})),
        (json!("{{pay.list}}"), json!([{"x": 1}])),
        (json!({"$or": [{}]}), json!({"$or": [{}]})),
        (
            comparison(json!("amount"), "$eq", json!("{{pay.n}}")),
            comparison(json!("amount"), "$eq", json!(5)),
        ),
    ] {
        assert_eq!(resolve(as_it_is), Ok(expected));
    }
}

#[test]
fn other_kinds_have_no_conditions() {
    for (kind, member) in [("if", "filter"), ("other", "condition")] {
        let payload = json!({member: {"$and": [{"status": {"$eq": "{{$vars.t}}"}}, {"{{$vars.t}}": {"$gt": 1}}]}});
        let expected =
            json!({member: {"$and": [{"status": {"$eq": "text"}}, {"text": {"$gt": 1}}]}});
        assert_eq!(resolve_as(kind, &payload), Ok(expected));
    }
}

#[test]
fn what_comes_out_of_data_is_no_mark_of_a_template() {
    let scope = Values(json!({
        "plain": "Ada", "mark": "hi {{@key}}", "brace": "{", "slash": "\\", "n": 5, "list": ["{{@a}}"]
    }));
    let resolve = |template: &str| {
        let payload = json!({"data": {"x": "{{pay.mark}}"}, "template": template, "separator": "{{pay.mark}}"});
        let limits = ExpressionLimits::default();
        let resolved = resolve_payload("format", &payload, &scope, &limits).unwrap();
        assert_eq!(resolved["data"]["x"], "hi {{@key}}");
        assert_eq!(resolved["separator"], "hi {{@key}}");
        resolved["template"].clone()
    };
    for (template, expected) in [
        ("{{pay.plain}} {{@key}} {{ask.x}}", "Ada {{@key}} {{ask.x}}"),
        (
            "{{pay.mark}} from {{@name}}",
            r"hi \{{@key}} from {{@name}}",
        ),
        ("{{pay.mark}}", r"hi \{{@key}}"),
        (r"\{{@a}} {{@a}}", r"\{{@a}} {{@a}}"),
        ("{{pay.list}} {{@a}}", r#"["\{{@a}}"] {{@a}}"#),
        ("{{pay.brace}}{{pay.brace}}@key}}", r"\{{@key}}"),
        ("{{pay.brace}}{{@key}}", r"\{{{@key}}"),
        ("{{pay.slash}}{{@key}}", r"\\{{@key}}"),
        (r#"{"a": 1} \ {{@key}}"#, r#"{"a": 1} \ {{@key}}"#),
    ] {
        assert_eq!(resolve(template), expected, "{template}");
    }
    assert_eq!(resolve("{{pay.n}}"), 5);
}

#[test]
fn other_kinds_have_no_templates() {
    for (kind, member) in [("format", "data"), ("log", "template")] {
        let payload = json!({ member: "{{$vars.trap}}" });
        let expected = json!({ member: "{{ $vars.t }}" });
        assert_eq!(resolve_as(kind, &payload), Ok(expected));
    }
}
