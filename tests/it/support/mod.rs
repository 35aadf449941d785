//! What several tests need.

pub(crate) mod ledger;
pub(crate) mod rows;
