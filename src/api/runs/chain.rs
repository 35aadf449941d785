//! `GET /v1/runs/{id}/chain`: the chain that a run belongs to. Scope `read`.

use std::collections::HashMap;

use axum::extract::State;
use serde_json::{Value, json};

use crate::{
    api::{Api, auth::Scope, call::Call, envelope::Reply, error::ApiError},
    domain::{Retry, Run, RunId, format_timestamp},
    store::{RetryFilter, RunFilter},
};

/// The most retries and runs of one chain that are shown: branches count too.
const MOST: u32 = 10_000;

/// Answers `{rootRunId, root, retries, effective}`: the first run, every retry in the order of
/// acceptance, those without a run too, and the newest run below the root with its outcome.
pub(in crate::api) async fn chain(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let id = call.run_id()?;
    let organization = &caller.organization_id;
    let run = api.store.run(organization, &id).await?;
    let root = run.ok_or_else(ApiError::run_not_found)?.root_run_id;
    let retries = RetryFilter {
        root_run_id: Some(root.clone()),
        limit: MOST,
        ..RetryFilter::default()
    };
    let mut retries = api.store.retries(organization, &retries).await?;
    retries.reverse();
    let runs = RunFilter {
        root_run_id: Some(root.clone()),
        limit: MOST,
        ..RunFilter::default()
    };
    let runs = api.store.runs(organization, &runs).await?;
    let runs: HashMap<&RunId, &Run> = runs.iter().map(|run| (&run.id, run)).collect();
    let shown: Vec<_> = retries.iter().map(|retry| line(retry, &runs)).collect();
    let head = head(&root, &retries);
    let effective = runs.get(head);
    Reply::new(&json!({
        "rootRunId": root,
        "root": runs.get(&root).map(|root| of_run(root)),
        "retries": shown,
        "effective": effective.map(|run| json!({"runId": run.id, "status": run.status})),
    }))
}

/// The newest counted run below the root, or the root itself.
fn head<'a>(root: &'a RunId, retries: &'a [Retry]) -> &'a RunId {
    let mut newest: HashMap<&RunId, (i64, &RunId)> = HashMap::new();
    for retry in retries {
        let (Some(ordinal), Some(run)) = (retry.ordinal, &retry.run_id) else {
            continue;
        };
        let place = newest.entry(&retry.source_run_id).or_insert((ordinal, run));
        if ordinal > place.0 {
            *place = (ordinal, run);
        }
    }
    let mut head = root;
    while let Some((_, next)) = newest.get(head) {
        head = next;
    }
    head
}

fn of_run(run: &Run) -> Value {
    json!({
        "runId": run.id,
        "status": run.status,
        "triggerSource": run.trigger_source,
        "triggeredBy": run.triggered_by,
        "createdAt": format_timestamp(run.created_at),
        "finishedAt": run.finished_at,
    })
}

fn line(retry: &Retry, runs: &HashMap<&RunId, &Run>) -> Value {
    let run = retry.run_id.as_ref().and_then(|id| runs.get(id));
    json!({
        "retryId": retry.id,
        "sourceRunId": retry.source_run_id,
        "runId": retry.run_id,
        "ordinal": retry.ordinal,
        "state": retry.state,
        "status": run.map(|run| run.status),
        "reason": retry.reason,
        "triggeredBy": retry.triggered_by,
        "triggerSource": run.and_then(|run| run.trigger_source.as_deref()),
        "createdAt": format_timestamp(retry.created_at),
        "finishedAt": run.and_then(|run| run.finished_at.as_deref()),
        "refusal": retry.refusal.as_ref().map(|refusal| json!({
            "reason": refusal.reason.as_str(),
            "message": refusal.message,
        })),
    })
}
