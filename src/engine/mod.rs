//! Executes a run node by node, from whatever state it has: a start is a resume from an empty
//! state.

mod handler;
pub mod nodes;

pub use handler::{
    HandlerFuture, Handlers, NodeCall, NodeHandler, NodeOutput, RunContext, VariableSet,
};
