//! Which of some values a node reads.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    Definition, Node,
    expression::{ExpressionLimits, Head, Operand, Path, Segment, Template},
};

/// Those of `values` (`$props.x`, `$vars.x`) that the expressions of a node read: in its payload, or
/// in the inputs of its block that the payload reads.
#[must_use]
pub fn reads_any_of(
    definition: &Definition,
    node: usize,
    values: &BTreeSet<String>,
) -> Vec<String> {
    let node = definition.node(node);
    let mut read = BTreeSet::new();
    let mut take = |path: &Path| {
        read.extend(values.iter().filter(|value| reads(path, value)).cloned());
    };
    paths(definition, &node.payload, &mut take);
    for (_, value) in inputs_read(definition, node) {
        paths(definition, value, &mut take);
    }
    read.into_iter().collect()
}

/// Those inputs of a node's block that its payload reads, with where they come from.
#[must_use]
pub fn inputs_read<'a>(definition: &Definition, node: &'a Node) -> Vec<(&'a String, &'a Value)> {
    let mapping = node.input_mapping.as_ref().and_then(Value::as_object);
    let Some(mapping) = mapping else {
        return Vec::new();
    };
    let mut names = Vec::new();
    paths(definition, &node.payload, &mut |path| {
        if path.head == Head::Inputs {
            names.push(path.segments.first().cloned());
        }
    });
    let is_read = |name: &str| {
        let mut names = names.iter().map(Option::as_ref);
        names.any(|first| first.is_none_or(|first| is_called(first, name)))
    };
    mapping.iter().filter(|(name, _)| is_read(name)).collect()
}

/// Every path that the expressions of a value read.
fn paths(definition: &Definition, value: &Value, read: &mut impl FnMut(&Path)) {
    let is_node = |id: &str| definition.find(id).is_some();
    visit(value, &mut |text| {
        // What can't be read as a template reads nothing; its node fails when it runs.
        let Ok(template) = Template::parse(text, &is_node, &ExpressionLimits::WIDEST) else {
            return;
        };
        let operands = template.expressions().flat_map(|e| e.operands.iter());
        for operand in operands {
            if let Operand::Path(path) = operand {
                read(path);
            }
        }
    });
}

fn reads(path: &Path, value: &str) -> bool {
    let (head, name) = value.split_once('.').unwrap_or((value, ""));
    let is_head = (path.head == Head::Vars && head == "$vars")
        || (path.head == Head::Props && head == "$props");
    let first = path.segments.first();
    is_head && first.is_none_or(|first| is_called(first, name))
}

fn is_called(segment: &Segment, name: &str) -> bool {
    match segment {
        Segment::Key(key) => key == name,
        Segment::Index(index) => index.to_string() == name,
    }
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
