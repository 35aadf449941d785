//! `POST /v1/runs/sync`: starts a small run and answers when it has ended. Scope `write`.

use std::time::{Duration, Instant};

use axum::extract::State;
use serde_json::{Value, json};

use super::{FullRun, ended::until_ended};
use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    idempotency::RequestKey,
};

/// The most nodes of such a run.
const MOST_NODES: usize = 20;

/// How long the answer may take. The run goes on after it.
const LONGEST: Duration = Duration::from_mins(1);

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
    let run = until_ended(&api, &caller.organization_id, &run.id, LONGEST).await?;
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
