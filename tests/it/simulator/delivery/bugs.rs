//! Bugs planted in the code that the worlds are made of: some world has to show each of them.
//!
//! A bug is switched on for a whole process, so each is looked for in one of its own, which plays the
//! worlds of the first test.

use std::process::{Command, Stdio};

/// The test that is played.
const TEST: &str = "simulator::delivery::promises_1_to_5_hold_however_messages_come_1";

/// Each shows in one of the first hundred.
const WORLDS: &str = "400";

/// Plays with a bug until a world fails; the seed, and what it says.
fn found_with(bug: &str) -> String {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process
        .args([TEST, "--exact", "--nocapture"])
        .env("REDRIVE_BUG", bug)
        .env("REDRIVE_SIMULATOR_CASES", WORLDS)
        .env_remove("REDRIVE_SIMULATOR_SEED")
        .stdin(Stdio::null());
    let played = process.output().unwrap();
    assert!(!played.status.success(), "nothing shows {bug}");
    let said = String::from_utf8_lossy(&played.stderr);
    let failed = said
        .lines()
        .find(|line| line.starts_with("REDRIVE_SIMULATOR_SEED="));
    let failed = failed.unwrap_or_else(|| panic!("{bug} broke something else: {said}"));
    println!("{bug}: {failed:.300}");
    failed.to_owned()
}

macro_rules! shown {
    ($($name:ident: $bug:literal => $($what:literal)|+,)*) => {$(
        #[test]
        fn $name() {
            let said = found_with($bug);
            assert!([$($what),+].iter().any(|what| said.contains(what)), "{said}");
        }
    )*};
}

shown! {
    a_world_shows_writes_without_a_fence: "no_epoch_check" => "under an old epoch",
    a_world_shows_runs_that_nobody_sweeps_up: "no_sweeper" => "not ended",
    a_world_shows_a_relay_above_a_watermark: "watermark" => "not ended",
    a_world_shows_a_checkpoint_after_the_next_effect: "late_checkpoint"
        => "an effect repeated" | "another key for the same effect",
    a_world_shows_retries_that_nothing_makes_unique: "no_unique_index"
        => "two live retries" | "two retries" | "a recorded success",
    // The worker of these worlds is not the product's: it does the same as that one does.
    a_world_shows_an_intent_acked_before_it_is_stored: "ack_before_commit" => "lost: the published",
}
