//! I8: what comes goes again.

use std::{fs, path::PathBuf};

use super::{Invariant, Pool, Verdict};
use crate::pool::{broker, members::Member};

/// PostgreSQL connections of a process, those that renew leases included.
const CONNECTIONS: usize = 12;

/// Runs that a worker executes at once, each of which may call somebody.
const SLOTS: usize = 32;

/// What may be taken at most beside a tenth more: pages come in lots, and what was opened while many
/// calls were under way stays open for the next ones.
const MEMORY_KIB: usize = 8 * 1024;
const FILES: usize = CONNECTIONS + SLOTS;

/// What a process takes.
#[derive(Debug, Clone, Copy)]
pub(in crate::pool) struct Footprint {
    memory_kib: usize,
    files: usize,
}

impl Footprint {
    pub(in crate::pool) fn of(member: &Member) -> Self {
        let place = PathBuf::from(format!("/proc/{}", member.process.id()));
        let status = fs::read_to_string(place.join("status")).unwrap();
        let memory = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let memory = memory.unwrap().trim().trim_end_matches(" kB");
        Self {
            memory_kib: memory.parse().unwrap(),
            files: fs::read_dir(place.join("fd")).unwrap().count(),
        }
    }

    /// It takes about as much as before.
    pub(in crate::pool) fn check(&self, before: &Self, member: &Member, verdict: &mut Verdict) {
        let is_back = self.memory_kib <= before.memory_kib * 11 / 10 + MEMORY_KIB
            && self.files <= before.files * 11 / 10 + FILES;
        verdict.require(is_back, Invariant::Growth, || {
            format!("{}: {before:?}, then {self:?}", member.name)
        });
    }
}

/// Nobody is left in a transaction, between two statements of which lies a round trip, and no process has more connections than it may.
pub(in crate::pool) async fn sessions(pool: &Pool, processes: usize, verdict: &mut Verdict) {
    let here = "from pg_stat_activity where datname = current_database()
                   and application_name = 'redrive'";
    let idle = format!(
        "select count(*) {here} and state like 'idle in transaction%'
                 and state_change < clock_timestamp() - interval '3 seconds'"
    );
    let idle = pool.ledger.count(&idle).await;
    verdict.require(idle == 0, Invariant::Growth, || {
        format!("{idle} are left in a transaction")
    });
    let all = pool.ledger.count(&format!("select count(*) {here}")).await;
    // The test's own store is one of them.
    let most = CONNECTIONS * (processes + 1);
    let is_bounded = usize::try_from(all).unwrap() <= most;
    verdict.require(is_bounded, Invariant::Growth, || {
        format!("{all} connections, at most {most} are to be")
    });
}

/// After all processes have stopped: nothing is left in the lanes, settled or not.
pub(in crate::pool) async fn lanes(pool: &Pool, url: &str, verdict: &mut Verdict) {
    let left = broker::left_in_lanes(url, &pool.prefix).await;
    verdict.require(left == 0, Invariant::Growth, || {
        format!("{left} messages are left")
    });
}
