//! What a workflow is: its definition, its graph, its expressions. Pure, no I/O.
//!
//! A [`Definition`] is read once from user JSON and then asked: which nodes, in which order, below
//! which trigger. Expressions stay text in the payloads; [`resolve_payload`] gives a payload its
//! values when the node runs, from whatever [`Scope`] the caller has.
//!
//! To teach
//! expressions a new head, add it to [`expression::Head`], its reader in `expression/parse.rs` and
//! its value in `expression/scope.rs`.

mod ancestors;
mod bodies;
mod definition;
mod edge;
mod error;
pub mod expression;
mod frames;
mod graph;
mod input_schema;
mod legacy;
mod node;
mod policy;
mod read;
mod reads;
mod side_effects;
mod validate;
mod variables;

pub use bodies::Body;
pub use definition::{Definition, DefinitionLimits};
pub use edge::{branches_of, edge_is_live};
pub use error::DefinitionError;
pub use expression::{
    ExpressionError, ExpressionLimits, LoopScope, MISSING_VALUE, RecordView, RunScope, Scope,
    Template, resolve_payload,
};
pub use frames::{At, Frames, TOP};
pub use input_schema::{InputField, misfit};
pub use node::{Node, OnError};
pub use reads::{inputs_read, reads_any_of};
pub use side_effects::{side_effects_by_kind, side_effects_of};
pub use variables::{Lifetime, VariableDef};

#[cfg(test)]
mod tests;
