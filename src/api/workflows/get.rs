//! `GET /v1/workflows/{id}`: a workflow with its newest definition. Scope `read`.

use axum::extract::State;

use super::{found, shown};
use crate::api::{Api, auth::Scope, call::Call, envelope::Reply, error::ApiError};

/// Answers the workflow.
pub(in crate::api) async fn get(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    Reply::new(&shown(&api, &workflow).await?)
}
