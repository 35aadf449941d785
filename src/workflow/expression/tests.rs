//! Expressions: reading, printing, resolving.

mod forms;
mod reading;
mod resolving;
mod scopes;
