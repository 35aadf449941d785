//! Life after life of the one process.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{client::Journal, ledger::Durable, process::Installation};
use crate::support::{dice::Dice, process::Process};

/// One life of the process.
#[derive(Debug)]
pub(super) struct Life {
    pub(super) spawned: Instant,
    pub(super) ready_after: Option<Duration>,
    /// None for the last one.
    pub(super) killed: Option<Instant>,
}

/// All lives, and what survived each of them.
#[derive(Debug, Default)]
pub(super) struct Lives {
    pub(super) lives: Vec<Life>,
    /// The life at whose end the success of a run's node was first found durable.
    pub(super) recorded: HashMap<(String, String), usize>,
}

/// Starts and kills the process.
pub(super) struct Killer<'a> {
    installation: &'a Arc<Installation>,
    journal: &'a Journal,
    dice: Dice,
    lives: Lives,
}

impl<'a> Killer<'a> {
    pub(super) fn new(
        installation: &'a Arc<Installation>,
        journal: &'a Journal,
        dice: Dice,
    ) -> Self {
        Self {
            installation,
            journal,
            dice,
            lives: Lives::default(),
        }
    }

    /// A start, a death at a random moment, and a look at what is left.
    pub(super) async fn one_life(&mut self) {
        let (mut process, lines) = self.installation.spawn();
        if self.dice.one_in(8) {
            // While it starts.
            let age = self.dice.up_to(Duration::from_millis(120));
            let starting = self.installation.until_ready(&mut process, lines);
            let _ = tokio::time::timeout(age, starting).await;
        } else {
            self.installation.until_ready(&mut process, lines).await;
            let age = Duration::from_millis(50) + self.dice.up_to(Duration::from_millis(350));
            tokio::time::sleep(age).await;
        }
        let promised = self.journal.entries();
        let (spawned, ready_after) = (process.spawned, process.ready_after);
        let killed = process.kill().await;
        let number = self.lives.lives.len();
        self.lives.lives.push(Life {
            spawned,
            ready_after,
            killed: Some(killed),
        });
        let durable = Durable::left_in(&self.installation.file()).await;
        for entry in promised {
            let found = durable.retries.get(&entry.source);
            assert_eq!(
                found,
                Some(&entry.run),
                "lost with life {number}: {entry:?}"
            );
        }
        for success in durable.successes {
            self.lives.recorded.entry(success).or_insert(number);
        }
    }

    /// The life that nobody ends.
    pub(super) async fn last_life(&mut self) -> Process {
        let process = self.installation.start().await;
        self.lives.lives.push(Life {
            spawned: process.spawned,
            ready_after: process.ready_after,
            killed: None,
        });
        process
    }

    pub(super) fn lives(&self) -> &Lives {
        &self.lives
    }

    pub(super) fn summary(&self) -> String {
        let lives = &self.lives.lives;
        let mut starts: Vec<_> = lives.iter().filter_map(|life| life.ready_after).collect();
        starts.sort_unstable();
        format!(
            "{} kills, {} of them before it listened; started in {:?} (median), {:?} (slowest)",
            lives.iter().filter(|life| life.killed.is_some()).count(),
            lives.len() - starts.len(),
            starts[starts.len() / 2],
            starts[starts.len() - 1],
        )
    }
}

impl Lives {
    /// A life that nobody ends.
    #[cfg(feature = "faults")]
    pub(super) fn of_one(spawned: Instant) -> Self {
        let mut lives = Self::default();
        lives.begin(spawned);
        lives
    }

    /// Another process has been started.
    #[cfg(feature = "faults")]
    pub(super) fn begin(&mut self, spawned: Instant) {
        self.lives.push(Life {
            spawned,
            ready_after: None,
            killed: None,
        });
    }

    /// The life in which something happened. What a dead process had sent arrives before the next
    /// one starts.
    pub(super) fn at(&self, instant: Instant) -> usize {
        let begun = self.lives.partition_point(|life| life.spawned <= instant);
        begun.checked_sub(1).expect("before all lives")
    }
}
