//! `POST /v1/runs/{id}/cancel`: asks for the end of a run. Scope `write`, as it stops what a start
//! began.

use axum::extract::State;
use serde_json::Value;

use super::FullRun;
use crate::api::{Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, view::RunView};

/// Takes an empty body or `{reason?}`; answers the run, which shows `cancelRequestedAt` until its
/// worker has stopped.
pub(in crate::api) async fn cancel(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Write).await?;
    let id = call.run_id()?;
    if let Some(body) = call.optional_object(api.limits.body_bytes).await? {
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

fn check(body: &Value) -> Result<(), ApiError> {
    for (name, value) in body.as_object().into_iter().flatten() {
        match (name.as_str(), value) {
            ("reason", Value::String(_) | Value::Null) => {}
            ("reason", _) => return Err(ApiError::invalid_field(name, "must be a text")),
            _ => return Err(ApiError::invalid_field(name, "there is only `reason`")),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_body_holds_at_most_a_reason() {
        for good in [
            json!({}),
            json!({"reason": "wrong input"}),
            json!({"reason": null}),
        ] {
            assert!(check(&good).is_ok(), "{good}");
        }
        for bad in [
            json!({"reason": 1}),
            json!({"reasons": "x"}),
            json!({"force": true}),
        ] {
            assert!(check(&bad).is_err(), "{bad}");
        }
    }
}
