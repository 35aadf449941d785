//! Whether the database is there and right, and whether somebody works on what it holds.

use std::path::Path;

use chrono::TimeDelta;

use super::check::{Check, all_skipped, sentence, within};
use crate::{
    config::DatabaseConfig,
    domain::{Clock, Lane, SystemClock, Timestamp},
    outbox::WINDOW_PER_SLOT,
    store::{Backlog, Store, StoreError, Window},
};

/// What is checked here.
pub(super) const NAMES: &[&str] = &["database", "migrations", "clock", "workers", "relay"];

/// How far two clocks may be apart.
const MOST_SKEW: TimeDelta = TimeDelta::seconds(2);

/// How long a due row may wait to be sent while there is room for it, in seconds.
const MOST_WAIT: f64 = 60.0;

pub(super) async fn checks(config: &DatabaseConfig) -> Vec<Check> {
    let store = match reach(config).await {
        Ok(store) => store,
        Err(why) => {
            let mut checks = vec![Check::failed("database", why)];
            checks.extend(all_skipped(&NAMES[1..], "unknown without the database"));
            return checks;
        }
    };
    let missing = within(store.missing_migrations()).await;
    let is_current = matches!(missing, Ok(0));
    let mut checks = vec![
        Check::ok("database", "it answers"),
        migrations(missing),
        clock(&store).await,
    ];
    if is_current {
        checks.extend(work(&store).await);
    } else {
        checks.extend(all_skipped(&NAMES[3..], "unknown before the migrations"));
    }
    checks
}

/// Connects, without making a file that is not there.
async fn reach(config: &DatabaseConfig) -> Result<Store, String> {
    let file = Store::file(config).map_err(|error| sentence(&error))?;
    if let Some(file) = file
        && !is_there(&file).await
    {
        let file = file.display();
        return Err(format!(
            "there is no file {file}: check database.url, or start `redrive serve`, which makes it"
        ));
    }
    let answer = within(async {
        let store = Store::connect(config).await?;
        store.ping().await?;
        Ok::<_, StoreError>(store)
    });
    let hint = "check database.url, and that the database runs";
    answer.await.map_err(|why| format!("{why}: {hint}"))
}

async fn is_there(file: &Path) -> bool {
    tokio::fs::try_exists(file).await.unwrap_or(false)
}

fn migrations(missing: Result<usize, String>) -> Check {
    let name = "migrations";
    match missing {
        Ok(0) => Check::ok(name, "all are applied"),
        Ok(n) if n == Store::migrations() => {
            let message = "the database is empty: run `redrive migrate`, or start `redrive serve`";
            Check::failed(name, message)
        }
        Ok(n) => Check::failed(name, format!("{n} to apply: run `redrive migrate`")),
        Err(why) => Check::failed(name, why),
    }
}

async fn clock(store: &Store) -> Check {
    if matches!(store, Store::Sqlite(_)) {
        return Check::skipped("clock", "an embedded database has this machine's clock");
    }
    let before = SystemClock.now();
    let theirs = within(store.clock()).await;
    let after = SystemClock.now();
    match theirs {
        Ok(theirs) => judge_clock(before, theirs, after),
        Err(why) => Check::failed("clock", why),
    }
}

/// The other clock was read at some time between `before` and `after`. A difference is a failure,
/// although promises hold with any: leases are judged by the database's clock alone. But times that
/// processes set, such as when a wait is over, are early or late by it.
fn judge_clock(before: Timestamp, theirs: Timestamp, after: Timestamp) -> Check {
    let (apart, how) = if theirs > after {
        (theirs - after, "behind")
    } else if theirs < before {
        (before - theirs, "ahead of")
    } else {
        (TimeDelta::zero(), "")
    };
    if apart <= MOST_SKEW {
        return Check::ok("clock", "this machine and the database agree");
    }
    let seconds = apart.as_seconds_f64();
    let message = format!(
        "this machine's clock is {seconds:.1} s {how} the database's: leases are safe, only the \
         database's counts for them, but waits end early or late and times shown are wrong: set \
         the clocks by NTP"
    );
    Check::failed("clock", message)
}

/// Whether somebody works, by what the ledger shows.
async fn work(store: &Store) -> Vec<Check> {
    let seen = within(async {
        let (backlog, window) = (store.backlog().await?, store.window().await?);
        Ok::<_, StoreError>((backlog, window))
    });
    match seen.await {
        Ok((backlog, window)) => vec![workers(store, &backlog), relay(&backlog, &window)],
        Err(why) => NAMES[3..]
            .iter()
            .map(|name| Check::failed(name, why.clone()))
            .collect(),
    }
}

fn workers(store: &Store, backlog: &Backlog) -> Check {
    if matches!(store, Store::Sqlite(_)) {
        return Check::skipped("workers", "the process that serves the file is the worker");
    }
    if backlog.workers == 0 {
        let message =
            "none is alive: start `redrive serve`, with the role worker if it has --roles";
        return Check::failed("workers", message);
    }
    let message = format!(
        "{} alive, {} slots, {} runs under way",
        backlog.workers, backlog.slots, backlog.leased
    );
    Check::ok("workers", message)
}

fn relay(backlog: &Backlog, window: &Window) -> Check {
    let (due, seconds) = (backlog.due, backlog.oldest_unsent_seconds);
    if due == 0 {
        return Check::ok("relay", "nothing waits");
    }
    if seconds <= MOST_WAIT {
        return Check::ok("relay", format!("{due} due, none unsent for long"));
    }
    if is_busy(window) {
        let message = format!("{due} due: the workers have as much as they take");
        return Check::ok("relay", message);
    }
    let message = format!(
        "{due} due, one for {seconds:.0} s, and no relay or worker brings it on: start `redrive \
         serve`, with the roles relay and worker if it has --roles, and see the broker's checks"
    );
    Check::failed("relay", message)
}

/// Whether a lane has about as many messages on their way as its window allows: then rows wait in
/// the ledger for their turn, however long.
fn is_busy(window: &Window) -> bool {
    let most = window.slots.saturating_mul(WINDOW_PER_SLOT);
    let is_full = |lane| *window.sent.of(lane) >= most.div_ceil(2);
    most > 0 && Lane::ALL.into_iter().any(is_full)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cli::doctor::check::Status, domain::PerLane};

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_timestamp_millis(millis).unwrap()
    }

    #[test]
    fn clocks_are_apart_only_beyond_what_the_question_took() {
        let judge = |theirs| judge_clock(at(10_000), at(theirs), at(11_000));
        for theirs in [8_000, 10_000, 10_500, 11_000, 13_000] {
            assert_eq!(judge(theirs).status, Status::Ok, "{theirs}");
        }
        let early = judge(7_900);
        assert_eq!(early.status, Status::Failed);
        assert!(early.message.contains("2.1 s ahead of"), "{early:?}");
        let late = judge(20_000);
        assert!(late.message.contains("9.0 s behind"), "{late:?}");
    }

    #[test]
    fn rows_may_wait_only_for_workers_that_are_busy() {
        let backlog = |seconds| Backlog {
            due: 9,
            oldest_unsent_seconds: seconds,
            ..Backlog::default()
        };
        let window = |slots, bulk| Window {
            slots,
            sent: PerLane {
                bulk,
                ..PerLane::default()
            },
        };
        let status = |seconds, window| relay(&backlog(seconds), &window).status;
        assert_eq!(status(59.0, window(0, 0)), Status::Ok);
        assert_eq!(status(61.0, window(2, 7)), Status::Ok);
        assert_eq!(status(61.0, window(2, 0)), Status::Failed);
        assert_eq!(status(61.0, window(0, 0)), Status::Failed, "nobody works");
        let nothing = relay(&Backlog::default(), &window(0, 0));
        assert_eq!(nothing.status, Status::Ok);
    }
}
