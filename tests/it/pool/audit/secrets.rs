//! I10: a canary in a variable, from there in a payload, under a member of it that is secret. It
//! arrives where it is sent, and shows up nowhere else.

use serde_json::{Value, json};

use super::{Invariant, Pool, Tally, Verdict};
use crate::pool::load::Client;

/// What nobody may say.
pub(in crate::pool) const CANARY: &str = "canary-4d1f0a6c9b";

/// How many runs are looked at as they are shown.
const SHOWN: usize = 20;

/// What the ledger has to keep: the definition, its variables, and what was sent.
const KEPT: &str = "select count(*) from nodes where input like '%canary-4d1f0a6c9b%'";

/// Everything else that it keeps or shows.
const NOWHERE: [&str; 9] = [
    "select count(*) from dead_letters where dead_letters::text like '%canary-4d1f0a6c9b%'
        or position('canary-4d1f0a6c9b'::bytea in body) > 0",
    "select count(*) from retries where retries::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from outbox where outbox::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from workers where workers::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from tokens where tokens::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from idempotency_keys where idempotency_keys::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from signals where signals::text like '%canary-4d1f0a6c9b%'",
    "select count(*) from runs where concat(summary, plan) like '%canary-4d1f0a6c9b%'",
    "select count(*) from nodes where concat(error, attempts, effect, result)
        like '%canary-4d1f0a6c9b%'",
];

/// Puts it into a run that is to be imported.
pub(in crate::pool) fn plant(run: &mut Value) {
    let defs = run["workflowDefinition"]["variableDefs"].as_array_mut();
    let secret =
        json!({ "name": "secret", "type": "string", "default": CANARY, "lifetime": "reset" });
    defs.unwrap().push(secret);
    let headers = json!({ "x-canary": "{{$vars.secret}}" });
    run["workflowDefinition"]["nodes"]["first"]["payload"]["headers"] = headers;
    run["executionState"]["first"]["secretKeys"] = json!(["headers"]);
}

/// Looks everywhere. `texts` are what somebody was told: bodies of refusals, messages, metrics.
pub(in crate::pool) async fn check(
    pool: &Pool,
    client: &Client,
    tally: &Tally,
    texts: &[String],
    verdict: &mut Verdict,
) {
    let kept = pool.ledger.count(KEPT).await;
    assert!(kept > 0, "the canary was never sent");
    for sql in NOWHERE {
        let found = pool.ledger.count(sql).await;
        verdict.require(found == 0, Invariant::Secret, || format!("{found}: {sql}"));
    }
    for line in pool.said().iter().chain(texts) {
        verdict.require(!line.contains(CANARY), Invariant::Secret, || line.clone());
    }
    for run in tally.runs.values().take(SHOWN) {
        let run = client.get(&format!("/v1/runs/{run}")).await;
        let state = run["executionState"].to_string();
        verdict.require(!state.contains(CANARY), Invariant::Secret, || state);
    }
}
