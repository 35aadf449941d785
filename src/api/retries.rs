//! Accepted retries and what became of them: list, get.

mod get;
mod list;

pub(super) use get::get;
pub(super) use list::list;
