//! The planner: what a retry will reuse, repeat, execute and skip. Pure.
//!
//! [`plan`] looks at a definition, the trigger that fired and the records of the source, and gives
//! every node one [`Verdict`] with a reason. The same function decides at acceptance and in the
//! worker, so what is shown is what is done.

mod planner;
#[cfg(test)]
mod tests;

pub use planner::{Plan, PlanNode, Reason, State, Verdict, plan};
