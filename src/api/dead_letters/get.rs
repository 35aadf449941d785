//! `GET /v1/dead-letters/{id}`: a message that could not be used. Scope `operator`.

use axum::extract::State;

use crate::api::{
    Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, view::DeadLetterView,
};

/// Takes nothing but the path.
pub(in crate::api) async fn get(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    call.caller(&api, Scope::Operator).await?;
    let letter = api.store.dead_letter(&call.dead_letter_id()?).await?;
    let letter = letter.ok_or_else(ApiError::dead_letter_not_found)?;
    Reply::new(&DeadLetterView::of(&letter))
}
