//! `POST /v1/runs/import`: stores a run that ended elsewhere, so that it can be retried here.
//! Scope `write`.

use axum::extract::State;

use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    idempotency::RequestKey,
    view::RunView,
};

/// Takes a run as `GET /v1/runs/{id}` shows it, bare or in its envelope; answers its summary.
pub(in crate::api) async fn import(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let key = call.key()?;
    let body = call.object(BodyLimit::import(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, Some(&body));
    let run = api.intake.import(&caller, body).await?;
    Reply::new(&RunView::summary(&run, None))
}
