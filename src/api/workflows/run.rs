//! `POST /v1/workflows/{id}/run`: starts a run of a registered workflow. Scope `write`.

use axum::extract::State;
use serde_json::json;

use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    idempotency::RequestKey,
    runs::started,
};

/// Takes `{payload?, propValues?, runId?, version?, triggerNodeId?, simulate?, dustTest?}`; answers
/// the new run's summary, or the whole run once it has ended where that is preferred.
pub(in crate::api) async fn run(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let prefer = call.prefer();
    let caller = call.caller(&api, Scope::Write).await?;
    let id = call.parameter("id").unwrap_or_default().to_owned();
    let key = call.key()?;
    let body = call.optional_object(BodyLimit::plain(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, body.as_ref());
    let body = body.unwrap_or_else(|| json!({}));
    let run = api.intake.start_workflow(&caller, &id, body).await?;
    started(&api, prefer, run).await
}
