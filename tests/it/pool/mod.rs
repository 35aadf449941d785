//! The pool as real processes on PostgreSQL and RabbitMQ: killed, stopped, cut off.
//!
//! `REDRIVE_POOL_SEED` repeats what was left to chance; other variables of each row say how much it
//! does, and `bash tests/chaos.sh` knows them all.

mod api_kills;
mod audit;
mod bounded;
mod broker;
mod broker_away;
#[cfg(feature = "faults")]
mod bugs;
mod database_away;
mod frozen;
mod hang_ups;
mod keyed;
mod kills;
mod letters;
mod load;
mod many;
mod members;
#[cfg(feature = "faults")]
mod points;
mod rolling_stops;
mod seen;
mod slow_database;
mod slow_node;
mod starts;
mod stops;
mod storm;
mod wires;

use std::time::Duration;

/// How long anything may take before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// How often tests look for what they wait for.
const LOOK: Duration = Duration::from_millis(20);
