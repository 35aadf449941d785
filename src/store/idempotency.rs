//! Keys of requests, so that each is done once however often it comes.
//!
//! A key is written in the transaction of what its request made: either both are there or none.

use std::time::Duration;

use crate::domain::{OrganizationId, RunId};

/// How long a key is known.
pub const KEY_LIFE: Duration = Duration::from_hours(24);

/// The key of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// Whose request it is: keys of different organisations have nothing to do with each other.
    pub organization_id: OrganizationId,
    /// The key, as the requester chose it.
    pub key: String,
    /// What it stands for: method, path and body, in a form that equal requests share.
    pub fingerprint: String,
}

/// A request that came before under the same key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Earlier {
    /// It was accepted.
    Accepted {
        /// The run that it made.
        run_id: RunId,
        /// What it stood for.
        fingerprint: String,
    },
    /// It is being decided right now.
    InFlight,
}
