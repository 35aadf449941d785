//! Reading, printing and resolving expressions never panics; what is printed is read as the same.
#![no_main]

use std::borrow::Cow;

use libfuzzer_sys::fuzz_target;
use redrive::workflow::{
    ExpressionLimits, Scope, Template,
    expression::{Path, Segment},
    resolve_payload,
};
use serde_json::{Value, json};

/// Every head leads to this value.
struct Anything(Value);

impl Scope for Anything {
    fn is_node(&self, id: &str) -> bool {
        id.len() < 3
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

fuzz_target!(|text: &str| {
    let limits = ExpressionLimits::default();
    let scope = Anything(json!({"a": [1.50, "{{ a }}", null], "b": {"c": true}}));
    let is_node = |id: &str| scope.is_node(id);
    if let Ok(template) = Template::parse(text, &is_node, &limits) {
        let printed = template.to_string();
        // Printing adds spaces, so what was at a limit may be over it.
        if let Ok(again) = Template::parse(&printed, &is_node, &limits) {
            assert_eq!(again, template);
            assert_eq!(again.to_string(), printed);
        } else {
            assert!(text.len() > limits.expression_bytes / 2);
        }
    }
    for kind in ["log", "if"] {
        let payload = json!({"condition": {"$and": [{text: {"$eq": text}}]}, text: text});
        let _ = resolve_payload(kind, &payload, &scope, &limits);
    }
});
