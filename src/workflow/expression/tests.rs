//! Expressions: reading, printing, resolving.

mod reading;
mod resolving;
mod scopes;
