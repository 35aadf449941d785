//! The pool as real processes on PostgreSQL and RabbitMQ: killed, stopped, cut off.
//!
//! `REDRIVE_POOL_FULL=1` runs the kills at full size; `REDRIVE_POOL_SEED` repeats what was left to
//! chance.

mod audit;
mod broker;
mod broker_away;
#[cfg(feature = "faults")]
mod bugs;
mod database_away;
mod frozen;
mod kills;
mod load;
mod many;
mod members;
#[cfg(feature = "faults")]
mod points;
mod seen;
mod starts;
mod stops;

use std::time::Duration;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often tests look for what they wait for.
const LOOK: Duration = Duration::from_millis(20);
