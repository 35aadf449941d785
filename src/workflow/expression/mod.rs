//! Expressions: `{{ path || fallback }}` in the strings and keys of a payload.
//!
//! A string is read into a [`Template`], plain text and expressions in turn; [`resolve_payload`]
//! asks a [`Scope`] for the value of each path. Nothing is resolved twice: text that came out of
//! data is data. Work and memory are linear in payload and values, and bounded by
//! [`ExpressionLimits`].

mod condition;
mod field_template;
mod forms;
mod limits;
mod parse;
mod path;
mod record;
mod resolve;
mod scope;
mod template;

pub use field_template::{FieldPart, field_parts};
pub use limits::ExpressionLimits;
pub use path::{Head, LoopValue, Path, Segment};
pub use record::RecordView;
pub use resolve::{MISSING_VALUE, resolve_payload};
pub use scope::{LoopScope, RunScope, Scope};
pub use template::{Expression, ExpressionError, Fault, Marks, Operand, Part, Template};

pub(super) use condition::check_shape;
pub(super) use limits::json_bytes;

/// The kind whose `condition` holds expressions as keys.
pub(super) const CONDITION_KIND: &str = "if";
/// The payload member that holds them.
pub(super) const CONDITION: &str = "condition";

#[cfg(test)]
mod tests;
