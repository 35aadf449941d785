//! Waiting for the end of a run.

use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::FullRun;
use crate::{
    api::{
        Api,
        envelope::Reply,
        error::ApiError,
        prefer::{PREFERENCE_APPLIED, Prefer},
        view::RunView,
    },
    domain::{OrganizationId, Run, RunId},
};

/// How long to wait for a hint before looking again: one may be lost.
const LOOK: Duration = Duration::from_millis(250);

/// The run once it has ended, or as it stands when the time is over.
pub(super) async fn until_ended(
    api: &Api,
    organization: &OrganizationId,
    id: &RunId,
    limit: Duration,
) -> Result<Run, ApiError> {
    let began = Instant::now();
    let mut end = api.hints.end_of(id);
    loop {
        let run = api.store.run(organization, id).await?;
        let run = run.ok_or_else(ApiError::run_not_found)?;
        let left = limit.saturating_sub(began.elapsed());
        if run.status.is_ended() || left.is_zero() {
            return Ok(run);
        }
        tokio::select! {
            () = end.heard() => {}
            () = tokio::time::sleep(LOOK.min(left)) => {}
        }
    }
}

/// The run as it stands once the caller wants to hear of it: after its end, or after the time that
/// they wait. None if they do not wait, or if it can't be read: it is accepted, and they must hear
/// so.
pub(super) async fn ended(
    api: &Api,
    prefer: Prefer,
    organization: &OrganizationId,
    id: &RunId,
) -> Option<FullRun> {
    let load = async {
        let run = until_ended(api, organization, id, prefer.wait?).await;
        let run = run.inspect_err(|error| {
            let reason = error.reason().word();
            tracing::warn!(reason, run_id = %id, "answering before the run has ended");
        });
        FullRun::load(&api.store, run.ok()?, None).await.ok()
    };
    load.await
}

/// The answer to a start: the summary of the new run, or all of it where its end was waited for.
pub(in crate::api) async fn started(
    api: &Api,
    prefer: Prefer,
    run: Run,
) -> Result<Reply, ApiError> {
    if let Some(shown) = ended(api, prefer, &run.organization_id, &run.id).await {
        return Ok(preferred(shown.reply(None)?, prefer, &shown.run));
    }
    let summary = Reply::new(&RunView::summary(&run, None))?;
    Ok(preferred(summary, prefer, &run))
}

/// The answer as it is preferred: 202 for a run that has not ended, if that is wanted.
pub(super) fn preferred(reply: Reply, prefer: Prefer, run: &Run) -> Reply {
    let is_async = prefer.respond_async && !run.status.is_ended();
    let reply = if is_async {
        reply.accepted(&location(&run.id))
    } else {
        reply
    };
    match prefer.applied(is_async) {
        Some(applied) => reply.with(PREFERENCE_APPLIED, applied),
        None => reply,
    }
}

/// Where a run is. An id may hold what a path can't.
fn location(run: &RunId) -> String {
    let id = utf8_percent_encode(run.as_str(), NON_ALPHANUMERIC);
    format!("/v1/runs/{id}")
}
