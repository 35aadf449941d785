//! The planner: what a retry will reuse, repeat, execute and skip. Pure.
//!
//! [`plan`] looks at a definition, the trigger that fired, the records of the source and the
//! choices of the request, and gives every node and every iteration of a loop one [`Verdict`] with
//! a reason. The same function answers the plan endpoint, decides at acceptance and in the worker,
//! so what is shown is what is done.

mod choices;
mod edges;
mod iterations;
mod planner;
mod report;
mod state;
#[cfg(test)]
mod tests;
mod types;

pub use choices::{ChoiceError, Choices, Pinned};
pub use planner::plan;
pub use report::{Report, compatibility};
pub use state::{State, stored_array};
pub use types::{Plan, PlanIteration, PlanNode, PlanPath, Reason, Verdict};
