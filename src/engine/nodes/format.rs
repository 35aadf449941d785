//! `format`: fills a template with the fields of an object, or of every object of an array.
//!
//! `{"data": {"name": "Ada"}, "template": "Hello {{@name}}"}` gives
//! `{"formatted": "Hello Ada"}`; the texts of several objects are joined by `separator`, a line
//! break by default. Without `data` there is one object, an empty one. Fields may have dots. A text is
//! put in as it is, everything else as compact JSON, and nothing where a field is missing or `null`.
//! What is put in is not read again; what expressions have put into the template before is escaped
//! there, as [`field_parts`] says.

use serde_json::{Value, json};

use super::{fields, payload::Payload};
use crate::{
    domain::{ErrorClass, NodeError},
    engine::{NodeCall, NodeOutput},
    workflow::expression::{FieldPart, field_parts},
};

/// Bytes of a formatted text.
const MAX_BYTES: usize = 10 * 1024 * 1024;

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let template = field_parts(payload.text("template")?);
    let separator = payload.optional_text("separator")?.unwrap_or("\n");
    let mut formatted = String::new();
    let no_data = [json!({})];
    for (position, item) in items(&payload)?.unwrap_or(&no_data).iter().enumerate() {
        if position > 0 {
            push(&mut formatted, separator)?;
        }
        for part in &template {
            match part {
                FieldPart::Text(text) => push(&mut formatted, text)?,
                FieldPart::Field(name) => push_field(&mut formatted, item, name)?,
            }
        }
    }
    Ok(NodeOutput::result(json!({ "formatted": formatted })))
}

/// The objects to fill the template with, if there are any given.
fn items<'a>(payload: &Payload<'a>) -> Result<Option<&'a [Value]>, NodeError> {
    payload.optional_as("data", "an object or an array of objects", |data| {
        let one = std::slice::from_ref(data);
        let items = data.as_array().map_or(one, Vec::as_slice);
        items.iter().all(Value::is_object).then_some(items)
    })
}

fn push_field(formatted: &mut String, item: &Value, name: &str) -> Result<(), NodeError> {
    match fields::get(item, name) {
        None | Some(Value::Null) => Ok(()),
        Some(Value::String(text)) => push(formatted, text),
        Some(value) => push(formatted, &value.to_string()),
    }
}

fn push(formatted: &mut String, text: &str) -> Result<(), NodeError> {
    if formatted.len() + text.len() > MAX_BYTES {
        let message = format!("format: the text is longer than {MAX_BYTES} bytes");
        return Err(NodeError::new(
            ErrorClass::Definition,
            "result_too_large",
            message,
        ));
    }
    formatted.push_str(text);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::{
        engine::nodes::testing,
        workflow::{
            ExpressionLimits, Scope,
            expression::{Head, Path},
            resolve_payload,
        },
    };

    fn formatted(input: &Value) -> String {
        let output = testing::run(run, "format", input).unwrap();
        output.result["formatted"].as_str().unwrap().to_owned()
    }

    #[test]
    fn fields_are_put_in() {
        let data = json!({
            "name": "Ada", "age": 36, "n": null, "tags": ["x"], "a": {"b": true},
            "trick": "{{@name}}", "é": "ü",
        });
        for (template, expected) in [
            ("{{@name}} is {{ @age }} years old", "Ada is 36 years old"),
            (
                "{{@a.b}} {{@tags}} {{@tags.0}} {{@a}}",
                r#"true ["x"] x {"b":true}"#,
            ),
            ("[{{@missing}}|{{@n}}|{{@a.x}}]", "[||]"),
            ("{{@trick}}", "{{@name}}"),
            ("{{root.x}} {{@name", "{{root.x}} {{@name"),
            ("{{ {{@name}} }}", "{{ Ada }}"),
            (r#"{"a":{{{@age}}}"#, r#"{"a":{36}"#),
            ("{{@é}}}}{{}}", "ü}}{{}}"),
            ("", ""),
        ] {
            let input = json!({"data": data, "template": template});
            assert_eq!(formatted(&input), expected, "{template}");
        }
        let numbers: Value = serde_json::from_str(r#"{"v":1.50,"w":1e999999999}"#).unwrap();
        let input = json!({"data": numbers, "template": "{{@v}} {{@w}}"});
        assert_eq!(formatted(&input), "1.50 1e+999999999");
    }

    #[test]
    fn objects_are_joined() {
        let data = json!([{"v": 1}, {"v": 2}]);
        let template = "{{@v}}";
        assert_eq!(
            formatted(&json!({"data": data, "template": template})),
            "1\n2"
        );
        let input = json!({"data": data, "template": template, "separator": ", "});
        assert_eq!(formatted(&input), "1, 2");
        assert_eq!(formatted(&json!({"data": [], "template": template})), "");
    }

    /// `root...` is one value.
    struct Root(Value);

    impl Scope for Root {
        fn is_node(&self, _: &str) -> bool {
            false
        }
        fn get(&self, path: &Path) -> Option<Cow<'_, Value>> {
            (path.head == Head::Root).then_some(Cow::Borrowed(&self.0))
        }
    }

    #[test]
    fn what_comes_out_of_data_is_not_read_as_template() {
        for (template, root, expected) in [
            (
                "{{root}} from {{@name}}",
                "hi {{@key}}",
                "hi {{@key}} from Ada",
            ),
            ("{{root}}", "{{@key}}", "{{@key}}"),
            (r"\{{@name}} {{@name}}", "", "{{@name}} Ada"),
            (r"{{root}}{{@name}}", r"\", r"\Ada"),
            (r"{{root}}{{@name}}", r"\{", r"\{Ada"),
            (r"{{root}}{@key}}", "{", "{{@key}}"),
            ("{{@{{root}}}}", "name", "Ada"),
            ("{{@{{root}}}}", "x}} {{@key", " {{@key}}"),
            ("{{root}}", r"\\{{@key}} \{ \", r"\\{{@key}} \{ \"),
        ] {
            let payload = json!({"data": {"name": "Ada", "key": "SECRET"}, "template": template});
            let limits = ExpressionLimits::default();
            let input = resolve_payload("format", &payload, &Root(root.into()), &limits).unwrap();
            assert_eq!(formatted(&input), expected, "{template} with {root}");
        }
    }

    #[test]
    fn a_template_needs_no_data() {
        for input in [
            json!({"template": "Alert: 5 {{@x}}"}),
            json!({"template": "Alert: 5 {{@x}}", "data": null}),
        ] {
            assert_eq!(formatted(&input), "Alert: 5 ", "{input}");
        }
    }

    #[test]
    fn wrong_payloads_and_endless_texts_are_refused() {
        for input in [
            json!({"data": {}}),
            json!({"data": "x", "template": ""}),
            json!({"data": [{}, 1], "template": ""}),
            json!({"data": {}, "template": "", "separator": 1}),
        ] {
            let error = testing::run(run, "format", &input).unwrap_err();
            assert_eq!(error.code, "invalid_payload", "{input}");
        }
        let input = json!({"data": vec![json!({}); 1_000], "template": "x".repeat(100_000)});
        let error = testing::run(run, "format", &input).unwrap_err();
        assert_eq!(error.code, "result_too_large");
        let input = json!({"data": {"a": 1}, "template": "{{".repeat(500_000)});
        assert_eq!(formatted(&input).len(), 1_000_000);
        let input = json!({"data": {}, "template": format!("{}}}}}", "{{".repeat(200_000))});
        assert_eq!(formatted(&input).len(), 400_002);
    }
}
