//! Messages that could not be used: list, get, drop. They belong to no organisation, and may hold
//! what somebody else keeps secret: only operators see them, and nothing of them is logged.

mod get;
mod list;
mod remove;

pub(super) use get::get;
pub(super) use list::list;
pub(super) use remove::remove;
