//! `PUT /v1/workflows/{id}`: registers a workflow or updates it. Scope `write`.

use axum::extract::State;

use super::shown;
use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
};

/// Takes `{name?, definition, variableDefs?, ownerUserId?}`; answers the workflow. Another
/// definition is another version.
pub(in crate::api) async fn put(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let id = call.parameter("id").unwrap_or_default().to_owned();
    let body = call.object(BodyLimit::import(&api.limits)).await?;
    let workflow = api.intake.put_workflow(&caller, &id, body).await?;
    Reply::new(&shown(&api, &workflow).await?)
}
