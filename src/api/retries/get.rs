//! `GET /v1/retries/{id}`: what became of an accepted retry. Scope `read`.

use axum::extract::State;

use crate::api::{Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, view::RetryView};

/// Takes nothing but the path.
pub(in crate::api) async fn get(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let id = call.retry_id()?;
    let retry = api.store.retry(&caller.organization_id, &id).await?;
    Reply::new(&RetryView::of(
        &retry.ok_or_else(ApiError::retry_not_found)?,
    ))
}
