//! The plain case of a retry's steps, in one statement for many of them, against the flows.

mod late;
mod many;
mod same;
mod story;
