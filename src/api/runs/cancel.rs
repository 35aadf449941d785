//! `POST /v1/runs/{id}/cancel`: asks for the end of a run. Scope `write`, as it stops what a start
//! began.

use axum::extract::State;
use serde_json::Value;

use super::FullRun;
use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    view::RunView,
};

/// Takes an empty body; answers the run, which shows `cancelRequestedAt` until its
/// worker has stopped.
pub(in crate::api) async fn cancel(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let id = call.run_id()?;
    if let Some(body) = call.optional_object(BodyLimit::plain(&api.limits)).await? {
        check(&body)?;
    }
    let run = api.intake.cancel(&caller, &id).await?;
    // The request is durable, and the caller must hear of it, whatever else fails.
    match FullRun::load(&api.store, run.clone(), None).await {
        Ok(full) => full.reply(None),
        Err(error) => {
            tracing::warn!(%error, run_id = %id, "answering with a summary");
            Reply::new(&RunView::summary(&run, None))
        }
    }
}

/// A member that would be dropped is refused.
fn check(body: &Value) -> Result<(), ApiError> {
    match body.as_object().and_then(|members| members.keys().next()) {
        None => Ok(()),
        Some(name) => Err(ApiError::invalid_field(
            name,
            "a cancellation takes no members",
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_body_is_empty() {
        assert!(check(&json!({})).is_ok());
        for bad in [json!({"reason": "wrong input"}), json!({"force": true})] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
