//! I1, I2, I4: what was answered is what is there.

use std::panic::catch_unwind;

use super::{Client, Invariant, Pool, Tally, Verdict};
use crate::support::story::{NOTHING, assert_ended_well};

/// What keeps two retries of a chain from being live at once.
const ONE_LIVE: &str = "select count(*) from pg_indexes
                         where indexname = 'retries_one_live' and indexdef like 'CREATE UNIQUE%'";

/// The rows that must not be there, and those that must.
pub(super) async fn rows(pool: &Pool, tally: &Tally, verdict: &mut Verdict) {
    for (what, sql) in NOTHING {
        let found = pool.ledger.count(sql).await;
        let invariant = if what.contains("two") {
            Invariant::SecondRun
        } else {
            Invariant::Lost
        };
        verdict.require(found == 0, invariant, || format!("{what}: {found}"));
    }
    let retries = pool.ledger.count("select count(*) from retries").await;
    let answered = i64::try_from(tally.runs.len()).unwrap();
    let invariant = if retries < answered {
        Invariant::Lost
    } else {
        Invariant::SecondRun
    };
    verdict.require(retries == answered, invariant, || {
        format!("{retries} retries, {answered} of them answered")
    });
    let index = pool.ledger.count(ONE_LIVE).await;
    verdict.require(index == 1, Invariant::TwoLive, || {
        "the index is gone".to_owned()
    });
}

/// Each answered run, as the API shows it.
pub(super) async fn runs(client: &Client, tally: &Tally, verdict: &mut Verdict) {
    for (source, id) in &tally.runs {
        let Some(run) = client.find(&format!("/v1/runs/{id}")).await else {
            verdict.add(Invariant::Lost, format!("{id}, the retry of {source}"));
            continue;
        };
        let ended_well = catch_unwind(|| assert_ended_well(&run, source));
        verdict.require(ended_well.is_ok(), Invariant::Lost, || format!("{run:#}"));
    }
}
