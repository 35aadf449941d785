//! `GET /v1/runs`: runs of the caller's organisation, newest first, as summaries. Scope `read`.

use axum::extract::State;

use crate::{
    api::{
        Api,
        auth::Scope,
        call::Call,
        envelope::Reply,
        error::ApiError,
        query::{List, Query},
        view::RunView,
    },
    domain::RunStatus,
    store::RunFilter,
};

/// Takes `limit`, `offset` and `status`.
pub(in crate::api) async fn list(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let query = call.query();
    let page = query.page()?;
    let filter = RunFilter {
        root_run_id: None,
        status: status(&query)?,
        limit: page.one_more(),
        offset: page.offset,
        workflow_id: None,
    };
    let runs = api.store.runs(&caller.organization_id, &filter).await?;
    let summary = |run| RunView::summary(run, None);
    Reply::new(&List::of(&runs, page, summary))
}

fn status(query: &Query) -> Result<Option<RunStatus>, ApiError> {
    let expected = "waiting, running, success, partial, failure or cancelled";
    query.read("status", expected, RunStatus::parse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_status_of_a_run_filters() {
        let read = |text| status(&Query::parse(text));
        assert_eq!(read("status=failure").unwrap(), Some(RunStatus::Failure));
        assert_eq!(read("").unwrap(), None);
        for bad in [
            "status=failed",
            "status=Failure",
            "status=failure&status=success",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
