//! `GET /v1/dead-letters`: messages that could not be used, newest first. Scope `operator`.

use axum::extract::State;

use crate::api::{
    Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, query::List,
    view::DeadLetterView,
};

/// Takes `limit` and `offset`.
pub(in crate::api) async fn list(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    call.caller(&api, Scope::Operator).await?;
    let page = call.query().page()?;
    let letters = api.store.dead_letters(page.one_more(), page.offset).await?;
    Reply::new(&List::of(&letters, page, DeadLetterView::of))
}
