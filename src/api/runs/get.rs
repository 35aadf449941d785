//! `GET /v1/runs/{id}`: a run. Scope `read`.

use axum::extract::State;

use super::FullRun;
use crate::{
    api::{
        Api, auth::Scope, call::Call, envelope::Reply, error::ApiError, query::Query, view::RunView,
    },
    domain::NodeId,
};

/// Takes `summary=true`, which leaves out state and definition, and `nodeIds=a,b`, which filters
/// the state.
pub(in crate::api) async fn get(State(api): State<Api>, call: Call) -> Result<Reply, ApiError> {
    let caller = call.caller(&api, Scope::Read).await?;
    let id = call.run_id()?;
    let query = call.query();
    let (summary, only) = (query.flag("summary")?, node_ids(&query)?);
    let run = api.store.run(&caller.organization_id, &id).await?;
    let run = run.ok_or_else(ApiError::run_not_found)?;
    if summary {
        let retry = api.store.retry_of_run(&id).await?;
        return Reply::new(&RunView::summary(&run, retry.as_ref()));
    }
    let only = only.as_deref();
    FullRun::load(&api.store, run, only).await?.reply(only)
}

/// The nodes to show; all of them when none is named.
fn node_ids(query: &Query) -> Result<Option<Vec<NodeId>>, ApiError> {
    let texts = query.all("nodeIds").flat_map(|ids| ids.split(','));
    let ids: Result<Vec<_>, _> = texts
        .filter(|id| !id.is_empty())
        .map(|id| {
            id.parse()
                .map_err(|_| ApiError::invalid_field("nodeIds", "holds no node id"))
        })
        .collect();
    ids.map(|ids: Vec<NodeId>| (!ids.is_empty()).then_some(ids))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn node_ids_stand_between_commas() {
        let read = |text| {
            let ids = node_ids(&Query::parse(text)).ok()?;
            Some(ids.map(|ids| ids.iter().map(ToString::to_string).collect::<Vec<_>>()))
        };
        let some = |ids: &[&str]| Some(Some(ids.iter().map(|id| (*id).to_owned()).collect()));
        assert_eq!(read("nodeIds=a,b.c,"), some(&["a", "b.c"]));
        assert_eq!(read("nodeIds=a&nodeIds=%C3%A9"), some(&["a", "é"]));
        assert_eq!(read("nodeIds="), Some(None));
        assert_eq!(read("nodeIds=a+b"), None);
    }
}
