//! `GET /v1/workflows` and `GET /v1/workflows/{id}/runs`, newest first. Scope `read`.

use axum::extract::State;

use super::{found, summary};
use crate::{
    api::{
        Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, query::List, view::RunView,
    },
    store::RunFilter,
};

/// Takes `limit` and `offset`; answers workflows without their definitions.
pub(in crate::api) async fn list(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let page = call.query().page()?;
    let organization = &caller.organization_id;
    let workflows = api
        .store
        .workflows(organization, page.one_more(), page.offset)
        .await?;
    Reply::new(&List::of(&workflows, page, summary))
}

/// Takes `limit` and `offset`; answers summaries of the workflow's runs.
pub(in crate::api) async fn runs(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let page = call.query().page()?;
    let workflow = found(&api, &caller.organization_id, call.parameter("id")).await?;
    let filter = RunFilter {
        workflow_id: Some(workflow.id),
        limit: page.one_more(),
        offset: page.offset,
        ..RunFilter::default()
    };
    let runs = api.store.runs(&caller.organization_id, &filter).await?;
    Reply::new(&List::of(&runs, page, |run| RunView::summary(run, None)))
}
