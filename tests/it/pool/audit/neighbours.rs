//! I7: another organisation, whose run nothing happens to and which sees nothing.

use serde_json::Value;

use super::{Invariant, Pool, Tally, Verdict};
use crate::{
    pool::load::Client,
    support::{
        story::{failed_run, source},
        witness::Witness,
    },
};

/// How many of the others' runs it asks for.
const ASKED: usize = 20;

/// Another organisation on the same servers.
pub(in crate::pool) struct Neighbour {
    client: Client,
    id: String,
    run: Value,
}

impl Neighbour {
    /// Brings in a run under a number that no source has.
    pub(in crate::pool) async fn move_in(pool: &Pool, other: &Client, witness: &Witness) -> Self {
        let client = other.as_another(pool.token_of(Self::ORGANIZATION).await);
        let number = 9_999_999;
        let body = failed_run(number, witness).to_string();
        client.must("POST", "/v1/runs/import", Some(body)).await;
        let id = source(number);
        let run = client.get(&format!("/v1/runs/{id}")).await;
        Self { client, id, run }
    }

    /// Who it is, for those who forge messages.
    pub(in crate::pool) const ORGANIZATION: &'static str = "org_next_door";

    pub(in crate::pool) async fn check(&self, tally: &Tally, verdict: &mut Verdict) {
        let client = &self.client;
        let path = format!("/v1/runs/{}", self.id);
        let run = client.find(&path).await;
        verdict.require(
            run.as_ref() == Some(&self.run),
            Invariant::Neighbour,
            || format!("changed: {run:?}"),
        );
        let retries = client.get("/v1/retries").await;
        let is_empty = retries["items"].as_array().is_some_and(Vec::is_empty);
        verdict.require(is_empty, Invariant::Neighbour, || format!("{retries}"));
        for run in tally.runs.values().take(ASKED) {
            let seen = client.find(&format!("/v1/runs/{run}")).await;
            verdict.require(seen.is_none(), Invariant::Neighbour, || {
                format!("shown: {run}")
            });
        }
    }
}
