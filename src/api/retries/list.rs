//! `GET /v1/retries`: accepted retries of the caller's organisation, newest first. Scope `read`.

use axum::extract::State;

use crate::{
    api::{
        Api,
        auth::Scope,
        call::Call,
        envelope::Reply,
        error::ApiError,
        query::{List, Query},
        view::RetryView,
    },
    domain::{RetryState, RunId},
    store::RetryFilter,
};

/// Takes `limit`, `offset`, `state` and `sourceRunId`.
pub(in crate::api) async fn list(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let query = call.query();
    let page = query.page()?;
    let filter = RetryFilter {
        state: state(&query)?,
        source_run_id: source(&query)?,
        root_run_id: None,
        limit: page.one_more(),
        offset: page.offset,
    };
    let retries = api.store.retries(&caller.organization_id, &filter).await?;
    Reply::new(&List::of(&retries, page, RetryView::of))
}

fn state(query: &Query) -> Result<Option<RetryState>, ApiError> {
    let expected = "scheduled, queued, claimed, created, refused, superseded or cancelled";
    query.read("state", expected, RetryState::parse)
}

fn source(query: &Query) -> Result<Option<RunId>, ApiError> {
    query.read("sourceRunId", "the id of a run", |id| id.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_retry_has_filters() {
        let read = |text| {
            let query = Query::parse(text);
            Some((state(&query).ok()?, source(&query).ok()?))
        };
        let run = "run_a".parse().ok();
        let expected = Some((Some(RetryState::Queued), run));
        assert_eq!(read("state=queued&sourceRunId=run_a"), expected);
        assert_eq!(read(""), Some((None, None)));
        assert_eq!(read("state=done"), None);
        assert_eq!(read("sourceRunId=a+b"), None);
    }
}
