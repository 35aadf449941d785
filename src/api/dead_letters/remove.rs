//! `DELETE /v1/dead-letters/{id}`: drops a message that could not be used. Scope `operator`.

use axum::extract::State;

use crate::api::{
    Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, view::DeadLetterView,
};

/// Takes nothing but the path; answers with what was dropped, because nothing else has it now.
pub(in crate::api) async fn remove(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Operator).await?;
    let dropped = api.store.drop_dead_letter(&call.dead_letter_id()?).await?;
    let letter = dropped.ok_or_else(ApiError::dead_letter_not_found)?;
    tracing::info!(
        id = %letter.id,
        actor = caller.actor.as_deref(),
        "dropped a dead letter"
    );
    Reply::new(&DeadLetterView::of(&letter))
}
