//! Deliveries as bad as they can be: repeated, reordered, late, lost and forged, to workers and relays
//! that die at any step or go on after they lost their lease, with clients that click twice and cancel
//! in between.
//!
//! The real ledger on `SQLite`, intake, planner, engine, relay, rescuer and keeper of dead letters; a
//! broker, workers and fate of the test's own. One thread does everything, step by step, by a clock
//! of its own: a seed repeats a world, and is in the message of whatever goes wrong in it.
//!
//! `REDRIVE_SIMULATOR_CASES` says how many worlds each test plays, `REDRIVE_SIMULATOR_SEED` names the
//! one to play.

mod broker;
mod bugs;
mod clients;
mod fate;
mod jobs;
mod relays;
mod story;
mod target;
mod time;
mod watch;
mod world;

use std::time::Duration;

use crate::support::{
    dice::{said, scale},
    faults::outcome,
};
use world::World;

/// Worlds of each of the tests.
const WORLDS: u64 = 500;

/// In so many worlds everything has happened that can.
const ENOUGH: u64 = 500;

/// The longest that a world may take: it never waits.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether the process that plays is one with this bug.
fn is_planted(bug: &str) -> bool {
    said("REDRIVE_BUG").as_deref() == Some(bug)
}

async fn play(shard: u64) {
    let mut world = World::new().await;
    if is_planted("no_unique_index") {
        // Whatever the schema would stop.
        world.watch.execute("drop index retries_one_live").await;
    }
    if let Some(seed) = said("REDRIVE_SIMULATOR_SEED") {
        return play_one(&mut world, seed.parse().expect("a number")).await;
    }
    let count = scale("REDRIVE_SIMULATOR_CASES", WORLDS);
    for seed in shard * count..(shard + 1) * count {
        play_one(&mut world, seed).await;
    }
    if count >= ENOUGH {
        world.story.check();
    }
}

async fn play_one(world: &mut World, seed: u64) {
    let played = outcome(async {
        let played = tokio::time::timeout(PATIENCE, Box::pin(world.play(seed))).await;
        assert!(played.is_ok(), "it stands still");
    });
    if let Err(why) = played.await {
        let story = world.story.text();
        panic!("REDRIVE_SIMULATOR_SEED={seed}: {why}\n  {story}");
    }
}

macro_rules! shards {
    ($($name:ident: $shard:literal,)*) => {$(
        #[tokio::test]
        async fn $name() {
            play($shard).await;
        }
    )*};
}

shards! {
    promises_1_to_5_hold_however_messages_come_1: 0,
    promises_1_to_5_hold_however_messages_come_2: 1,
    promises_1_to_5_hold_however_messages_come_3: 2,
    promises_1_to_5_hold_however_messages_come_4: 3,
}

#[tokio::test]
async fn a_seed_repeats_its_world() {
    let (mut one, mut another) = (World::new().await, World::new().await);
    for seed in 0..20 {
        one.play(seed).await;
        if seed % 5 == 4 {
            another.play(seed).await;
            assert_eq!(one.story.text(), another.story.text());
        }
    }
}
