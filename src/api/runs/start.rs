//! `POST /v1/runs`: starts a run of a definition with a manual trigger. Scope `write`.

use axum::extract::State;

use super::ended::started;
use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    idempotency::RequestKey,
};

/// Takes `{definition, payload?, propValues?, runId?}`; answers the new run's summary, or
/// the whole run once it has ended where that is preferred.
pub(in crate::api) async fn start(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let prefer = call.prefer();
    let caller = call.caller(&api, Scope::Write).await?;
    let key = call.key()?;
    let body = call.object(BodyLimit::import(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, Some(&body));
    let run = api.intake.start(&caller, body).await?;
    started(&api, prefer, run).await
}
