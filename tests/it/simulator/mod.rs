//! Random graphs, retried to their end under random failures, with virtual time.
//!
//! The real planner, intake, engine and ledger, without servers and without waiting: the clock is the
//! test's, the calls are answered by a script, and a worker is killed by dropping what it does, at any
//! of the points where it waits for the ledger or for an answer. A seed repeats the graph, the script
//! and the kills; it is in every message.
//!
//! `REDRIVE_SIMULATOR_CASES` says how many cases each test plays.

#[cfg(feature = "faults")]
mod delivery;
mod effects;
mod world;

use std::time::Duration;

use crate::support::{dice::scale, ledger::Ledger};
use world::World;

/// Four tests of so many on SQLite.
const CASES: u64 = 750;
/// One of so many on PostgreSQL: the same seeds.
const CASES_ON_POSTGRES: u64 = 100;

/// The longest that a case may take. It never waits, but shares the machine.
const PATIENCE: Duration = Duration::from_mins(2);

async fn play(ledger: Ledger, shard: u64, count: u64) {
    let world = World::new(ledger);
    let count = scale("REDRIVE_SIMULATOR_CASES", count);
    for seed in shard * count..(shard + 1) * count {
        let played = tokio::time::timeout(PATIENCE, world.play(seed)).await;
        assert!(played.is_ok(), "case {seed} stands still");
    }
}

macro_rules! shards {
    ($($name:ident: $shard:literal,)*) => {$(
        #[tokio::test]
        async fn $name() {
            play(Ledger::sqlite_in_memory().await, $shard, CASES).await;
        }
    )*};
}

shards! {
    promise_3_6_chains_do_what_one_run_would_have_done_1: 0,
    promise_3_6_chains_do_what_one_run_would_have_done_2: 1,
    promise_3_6_chains_do_what_one_run_would_have_done_3: 2,
    promise_3_6_chains_do_what_one_run_would_have_done_4: 3,
}

#[tokio::test]
async fn promise_3_6_chains_do_on_postgres_what_they_do_on_sqlite() {
    play(Ledger::postgres().await, 0, CASES_ON_POSTGRES).await;
}
