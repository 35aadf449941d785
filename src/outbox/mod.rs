//! Brings what is due to the broker, and finds what was forgotten.
//!
//! Both loops may run in any number of processes at once: rows are leased, and a message that is
//! sent twice finds its run claimed.

mod dead_letters;
mod relay;
mod rescuer;

pub use dead_letters::DeadLetterKeeper;
pub use relay::{Relay, WINDOW_PER_SLOT};
pub use rescuer::Rescuer;
