//! `format`: fills a template with the fields of an object, or of every object of an array.
//!
//! `{"data": {"name": "Ada"}, "template": "Hello {{@name}}"}` gives
//! `{"formatted": "Hello Ada"}`; the texts of several objects are joined by `separator`, a line
//! break by default. Fields may have dots. A text is put in as it is, everything else as compact
//! JSON, and nothing where a field is missing or `null`. What is put in is not read again.

use serde_json::{Value, json};

use super::{fields, payload::Payload};
use crate::{
    domain::{ErrorClass, NodeError},
    engine::{NodeCall, NodeOutput},
};

/// Bytes of a formatted text.
const MAX_BYTES: usize = 10 * 1024 * 1024;

/// Runs the node.
pub(super) fn run(call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    let payload = Payload::of(call.kind, call.input)?;
    let template = parse(payload.text("template")?);
    let separator = payload.optional_text("separator")?.unwrap_or("\n");
    let mut formatted = String::new();
    for (position, item) in items(&payload)?.iter().enumerate() {
        if position > 0 {
            push(&mut formatted, separator)?;
        }
        for part in &template {
            match part {
                Part::Text(text) => push(&mut formatted, text)?,
                Part::Field(name) => push_field(&mut formatted, item, name)?,
            }
        }
    }
    Ok(NodeOutput::result(json!({ "formatted": formatted })))
}

fn items<'a>(payload: &Payload<'a>) -> Result<&'a [Value], NodeError> {
    const TAKES: &str = "an object or an array of objects";
    let data = payload.present("data", TAKES)?;
    let one = std::slice::from_ref(data);
    let items = data.as_array().map_or(one, Vec::as_slice);
    if items.iter().all(Value::is_object) {
        Ok(items)
    } else {
        Err(payload.wrong("data", TAKES))
    }
}

/// A piece of a template.
#[derive(Debug, PartialEq)]
enum Part<'a> {
    Text(&'a str),
    Field(&'a str),
}

/// Everything but `{{@field}}` is text, also marks that are not closed and other expressions.
fn parse(template: &str) -> Vec<Part<'_>> {
    let (mut parts, mut rest) = (Vec::new(), template);
    while let Some(open) = rest.find("{{") {
        let inner = &rest[open + 2..];
        let Some(close) = inner.find("}}") else {
            break;
        };
        // The innermost mark counts: `{{ {{@a}}` has one field.
        if let Some(nested) = rest[open + 1..open + 2 + close].rfind("{{") {
            let (text, after) = rest.split_at(open + 1 + nested);
            parts.push(Part::Text(text));
            rest = after;
            continue;
        }
        let end = open + 2 + close + 2;
        if let Some(field) = inner[..close].trim().strip_prefix('@') {
            parts.push(Part::Text(&rest[..open]));
            parts.push(Part::Field(field));
        } else {
            parts.push(Part::Text(&rest[..end]));
        }
        rest = &rest[end..];
    }
    parts.push(Part::Text(rest));
    parts
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
    use super::*;
    use crate::engine::nodes::testing;

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

    #[test]
    fn wrong_payloads_and_endless_texts_are_refused() {
        for input in [
            json!({"data": {}}),
            json!({"template": ""}),
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
