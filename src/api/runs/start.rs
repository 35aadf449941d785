//! `POST /v1/runs`: starts a run of a definition with a manual trigger. Scope `write`.

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

/// Takes `{definition, payload?, propValues?, runId?}`; answers the new run's summary.
pub(in crate::api) async fn start(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let key = call.key()?;
    let body = call.object(BodyLimit::import(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, Some(&body));
    let run = api.intake.start(&caller, body).await?;
    Reply::new(&RunView::summary(&run, None))
}
