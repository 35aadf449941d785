//! Which of some values a payload reads.

use std::collections::BTreeSet;

use serde_json::Value;

use super::expression::{ExpressionLimits, Head, Operand, Path, Segment, Template};

/// Those of `values` (`$props.x`, `$vars.x`) that the expressions of a payload read.
#[must_use]
pub fn reads_any_of(payload: &Value, values: &BTreeSet<String>) -> Vec<String> {
    let mut read = BTreeSet::new();
    visit(payload, &mut |text| {
        // What can't be read as a template reads nothing; its node fails when it runs.
        let Ok(template) = Template::parse(text, &|_| false, &ExpressionLimits::default()) else {
            return;
        };
        let operands = template.expressions().flat_map(|e| e.operands.iter());
        for operand in operands {
            if let Operand::Path(path) = operand {
                read.extend(values.iter().filter(|value| reads(path, value)).cloned());
            }
        }
    });
    read.into_iter().collect()
}

fn reads(path: &Path, value: &str) -> bool {
    let (head, name) = value.split_once('.').unwrap_or((value, ""));
    let is_head = (path.head == Head::Vars && head == "$vars")
        || (path.head == Head::Props && head == "$props");
    let is_name = match path.segments.first() {
        None => true,
        Some(Segment::Key(key)) => key == name,
        Some(Segment::Index(index)) => index.to_string() == name,
    };
    is_head && is_name
}

fn visit(value: &Value, text: &mut impl FnMut(&str)) {
    match value {
        Value::String(own) => text(own),
        Value::Array(items) => items.iter().for_each(|item| visit(item, text)),
        Value::Object(members) => members.iter().for_each(|(key, value)| {
            text(key);
            visit(value, text);
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
