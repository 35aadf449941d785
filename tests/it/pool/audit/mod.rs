//! The auditor of the pool: the invariants, checked against what was answered (the client's
//! journal), what is durable (SQL), what each process wrote (triggers), what the API shows, and
//! what was seen outside (the witness). It trusts nothing that a process says of itself.
//!
//! | invariant | where |
//! |---|---|
//! | I1 nothing accepted is lost | `ledger`: every answered retry is there and its run ended well |
//! | I2 one retry, one run | `ledger`: one row, one run, the run that was answered |
//! | I3 no recorded success runs again | `effects`: no call after its success, one key, one body |
//! | I4 one live retry of a chain | `ledger`: the index is there; `watch::LiveRetries` looks under load |
//! | I5 nobody writes without the lease | `writers`: each epoch has one claim and one writer |
//! | I6 everything ends | [`until_all_ended`], with the patience of the row |
//! | I7 nothing crosses organisations | `neighbours`: another one's run is as it was, and sees nothing |
//! | I8 nothing grows | `bounds`: connections, locks, queues, files, memory |
//! | I9 only allowed transitions | `transitions`: every change of a status, seen by triggers |
//! | I10 no secret leaves | `secrets`: a canary in no log, error, message or dead letter |
//!
//! What only some rows bring about (a neighbour, a canary) those rows check as well.

pub(super) mod bounds;
mod effects;
mod ledger;
pub(super) mod neighbours;
pub(super) mod secrets;
mod transitions;
mod verdict;
pub(super) mod watch;
mod writers;

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

pub(super) use self::verdict::{Invariant, Repeated, Verdict};
use super::{
    load::{Client, Tally},
    members::{Departed, Pool},
    seen::{self, Seen},
};
use crate::support::witness::Witness;

/// Where the runs are that have not ended.
const STUCK: &str = "
    select to_jsonb(stuck)::text
      from (select runs.id, runs.status, runs.waiting_for, runs.created, runs.lease_owner,
                   runs.lease_epoch, runs.lease_until, runs.lost_leases, outbox.due_at,
                   outbox.sent_at, outbox.sends, outbox.locked_until, clock_timestamp() as now
              from runs
              left join outbox on outbox.run_id = runs.id
             where runs.status in ('waiting', 'running')
             limit 5) as stuck";

/// I6: waits until no run is under way, as long as some end all the time; how long it took.
pub(super) async fn until_all_ended(pool: &Pool, patience: Duration) -> Duration {
    let began = Instant::now();
    let active = "select count(*) from runs where status in ('waiting', 'running')";
    // A machine that is slow is not a run that is stuck.
    let (mut least, mut changed) = (i64::MAX, began);
    loop {
        let left = pool.ledger.count(active).await;
        if left == 0 {
            return began.elapsed();
        }
        if left < least {
            (least, changed) = (left, Instant::now());
        }
        let waited = changed.elapsed();
        if waited >= patience {
            let stuck = pool.ledger.texts(STUCK).await;
            panic!("{left} runs: {stuck:#?}, {:#?}", pool.said());
        }
        tokio::time::sleep(super::LOOK).await;
    }
}

/// After all runs have ended: what of I1 to I5 and I9 does not hold. `departed` are the processes
/// whose calls may have been made again.
pub(super) async fn examine(
    pool: &Pool,
    client: &Client,
    witness: &Witness,
    tally: &Tally,
    departed: &[Departed],
) -> Verdict {
    let mut verdict = Verdict::default();
    ledger::rows(pool, tally, &mut verdict).await;
    ledger::runs(client, tally, &mut verdict).await;
    let seen = seen::all(&pool.ledger).await;
    writers::check(&seen, &mut verdict);
    transitions::check(&seen::moves(&pool.ledger).await, &mut verdict);
    effects::check(&seen, witness, tally, departed, &mut verdict);
    count(&seen, tally, &mut verdict.repeated);
    verdict
}

/// The same, and all of it holds.
pub(super) async fn hold(
    pool: &Pool,
    client: &Client,
    witness: &Witness,
    tally: &Tally,
    departed: &[Departed],
) -> Repeated {
    let verdict = examine(pool, client, witness, tally, departed).await;
    verdict.assert_holds();
    verdict.repeated
}

/// What was done more than once without any harm.
fn count(seen: &[Seen], tally: &Tally, repeated: &mut Repeated) {
    let claims = seen.iter().filter(|seen| seen.what == "claim").count();
    repeated.claims = claims.saturating_sub(tally.runs.len());
    let mut sends = HashMap::<_, usize>::new();
    for seen in seen.iter().filter(|seen| seen.what == "send") {
        *sends.entry(&seen.run_id).or_default() += 1;
    }
    repeated.most_sends = sends.values().copied().max().unwrap_or(0);
}
