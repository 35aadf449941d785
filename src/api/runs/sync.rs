//! `POST /v1/runs/sync`: starts a small run and answers when it has ended. Scope `write`.

use std::time::{Duration, Instant};

use axum::extract::State;
use serde_json::{Value, json};

use super::FullRun;
use crate::{
    api::{
        Api,
        auth::Scope,
        call::{BodyLimit, Call},
        envelope::Reply,
        error::ApiError,
        idempotency::RequestKey,
    },
    domain::{OrganizationId, Run, RunId},
};

/// The most nodes of such a run.
const MOST_NODES: usize = 20;

/// How long the answer may take. The run goes on after it.
const LONGEST: Duration = Duration::from_mins(1);

/// How long a poll waits at first, and at most.
const POLL: (Duration, Duration) = (Duration::from_millis(10), Duration::from_millis(250));

/// Takes the body of a start; answers `{runId, status, executionState, durationMs}`. A run that has
/// not ended after a minute is shown as it stands.
pub(in crate::api) async fn sync(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let key = call.key()?;
    let body = call.object(BodyLimit::import(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, Some(&body));
    let nodes = body.pointer("/definition/nodes").and_then(Value::as_object);
    if nodes.is_some_and(|nodes| nodes.len() > MOST_NODES) {
        let why = format!("has more than {MOST_NODES} nodes: start it without waiting for its end");
        return Err(ApiError::invalid_field("definition", &why));
    }
    let began = Instant::now();
    let run = api.intake.start(&caller, body).await?;
    let run = ended(&api, &caller.organization_id, &run.id, began).await?;
    let (id, status) = (run.id.clone(), run.status);
    let full = FullRun::load(&api.store, run, None).await?;
    let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Reply::new(&json!({
        "runId": id,
        "status": status,
        "executionState": full.state()?,
        "durationMs": millis,
    }))
}

/// The run once it has ended, or when the time is over.
async fn ended(
    api: &Api,
    organization: &OrganizationId,
    id: &RunId,
    began: Instant,
) -> Result<Run, ApiError> {
    let mut pause = POLL.0;
    loop {
        let run = api.store.run(organization, id).await?;
        let run = run.ok_or_else(ApiError::run_not_found)?;
        if run.status.is_ended() || began.elapsed() >= LONGEST {
            return Ok(run);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(POLL.1);
    }
}
