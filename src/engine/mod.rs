//! Executes a run node by node, from whatever state it has: a start is a resume from a state that
//! holds only the trigger.
//!
//! One pass over the nodes in the order of execution: a node that has settled is passed over, one
//! whose parents have settled runs or is skipped, one behind a delay is held. A loop is such a pass
//! for each of its iterations, in a frame of its own. Before a node with
//! effects starts, everything before it and its own start mark are durable; its outcome is durable
//! before anything that follows takes effect. Nodes without effects ride along.
//!
//! To add a node kind: implement [`NodeHandler`]; built-in ones are in [`nodes`].

mod awaited;
mod call;
mod child_end;
mod children;
mod drive;
mod ending;
mod handler;
mod load;
mod loops;
mod next;
pub mod nodes;
mod prepare;
mod recorder;
mod records;
mod settle;
mod signals;
mod span;
mod state;
mod summary;
mod waits;

pub use awaited::{ChildRetries, ChildRetry, ChildRetryFuture};
pub use drive::{Engine, EngineError, MOST_LOST_LEASES, Stopped};
pub use handler::{
    HandlerFuture, Handlers, NodeCall, NodeHandler, NodeOutput, RunContext, VariableSet,
};
pub use signals::{LeaseClock, Signals};
