//! Members of payloads that are more than values.
//!
//! To give a member of a kind a form of its own, name it in [`Form::of`].

use super::{CONDITION, CONDITION_KIND};

/// How a member of a node's payload is resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As any JSON.
    Value,
    /// A condition, whose keys keep the type of their values: see `condition.rs`.
    Condition(LeftSides),
    /// A template whose `{{@field}}` marks the node resolves: see `field_template.rs`.
    FieldTemplate,
}

/// What the left sides of a condition are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LeftSides {
    /// The values that are compared.
    Values,
    /// The names of fields whose values are compared.
    FieldNames,
}

impl Form {
    pub(super) fn of(kind: &str, member: &str) -> Self {
        match (kind, member) {
            (CONDITION_KIND, CONDITION) => Self::Condition(LeftSides::Values),
            ("filter", "filter" | "condition") => Self::Condition(LeftSides::FieldNames),
            ("format", "template") => Self::FieldTemplate,
            _ => Self::Value,
        }
    }
}
