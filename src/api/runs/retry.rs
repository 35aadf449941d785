//! `POST /v1/runs/{id}/retry`: retries a run from its failure point. Scope `retry`.

use axum::extract::State;

use super::{
    FullRun, definition,
    ended::{ended, preferred},
};
use crate::api::{
    Api,
    auth::Scope,
    call::{BodyLimit, Call},
    envelope::Reply,
    error::ApiError,
    idempotency::RequestKey,
    metrics,
};

/// Takes an empty body or a retry request; answers the new run as soon as it is durable, or as soon
/// as it has ended where that is preferred.
pub(in crate::api) async fn retry(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let prefer = call.prefer();
    let accepted = accept(&api, call).await;
    let outcome = accepted.as_ref().err();
    metrics::record_retry(outcome.map_or("accepted", |error| error.reason().word()));
    let full = accepted?;
    let (organization, id) = (&full.run.organization_id, &full.run.id);
    let shown = ended(&api, prefer, organization, id).await.unwrap_or(full);
    Ok(preferred(shown.reply(None)?, prefer, &shown.run))
}

async fn accept(api: &Api, call: Call) -> Result<FullRun, ApiError> {
    let caller = call.caller(api, Scope::Retry).await?;
    let source = call.run_id()?;
    let key = call.key()?;
    let body = call.optional_object(BodyLimit::plain(&api.limits)).await?;
    let caller = RequestKey::with(key, caller, body.as_ref());
    let (run, retry) = api.intake.retry(&caller, &source, body).await?;
    // From here on the retry is accepted, and the caller must hear of it, whatever else fails.
    let definition = definition(&api.store, &run).await.unwrap_or_else(|error| {
        tracing::warn!(%error, run_id = %run.id, "answering without the definition");
        None
    });
    Ok(FullRun {
        run,
        retry: Some(retry),
        definition,
        nodes: Vec::new(),
    })
}
