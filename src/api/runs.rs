//! Runs: start, import, list, get, plan, retry, cancel, chain.

mod cancel;
mod chain;
mod ended;
mod get;
mod import;
mod list;
mod resume;
mod retry;
mod retry_plan;
mod start;
mod sync;
mod variable_writes;

pub(super) use cancel::cancel;
pub(super) use chain::chain;
pub(super) use ended::started;
pub(super) use get::get;
pub(super) use import::import;
pub(super) use list::list;
pub(super) use resume::resume;
pub(super) use retry::retry;
pub(super) use retry_plan::retry_plan;
pub(super) use start::start;
pub(super) use sync::sync;
pub(super) use variable_writes::variable_writes;

use serde_json::Value;

use super::{
    envelope::Reply,
    error::ApiError,
    view::{Detail, RunView},
};
use crate::{
    domain::{JsonText, NodeId, NodePath, NodeRecord, Retry, Run},
    store::{Store, StoreError},
};

/// A run with what is stored beside its header.
struct FullRun {
    run: Run,
    retry: Option<Retry>,
    definition: Option<JsonText>,
    nodes: Vec<NodeRecord>,
}

impl FullRun {
    /// Reads what belongs to `run`; of its nodes only those in `only`.
    ///
    /// The header was read before: a run that has ended shows its last records.
    async fn load(store: &Store, run: Run, only: Option<&[NodeId]>) -> Result<Self, StoreError> {
        let retry = store.retry_of_run(&run.id).await?;
        let definition = definition(store, &run).await?;
        let paths: Option<Vec<_>> = only.map(|ids| ids.iter().cloned().map(NodePath::of).collect());
        let nodes = match (run.created, paths) {
            (false, _) => Vec::new(),
            (true, None) => store.nodes(&run.id, None).await?,
            (true, Some(paths)) => named(store, &run, &paths).await?,
        };
        Ok(Self {
            run,
            retry,
            definition,
            nodes,
        })
    }

    /// The state alone.
    fn state(&self) -> Result<Value, ApiError> {
        let detail = Detail {
            definition: self.definition.as_ref(),
            nodes: &self.nodes,
            only: None,
        };
        detail.state(&self.run)
    }

    fn reply(&self, only: Option<&[NodeId]>) -> Result<Reply, ApiError> {
        Reply::new(&RunView {
            run: &self.run,
            retry: self.retry.as_ref(),
            detail: Some(Detail {
                definition: self.definition.as_ref(),
                nodes: &self.nodes,
                only,
            }),
        })
    }
}

/// The records of these nodes; those of a loop with everything in it.
async fn named(
    store: &Store,
    run: &Run,
    paths: &[NodePath],
) -> Result<Vec<NodeRecord>, StoreError> {
    let nodes = store.nodes(&run.id, Some(paths)).await?;
    if !nodes.iter().any(|node| node.kind == "for-each") {
        return Ok(nodes);
    }
    store.nodes(&run.id, None).await
}

/// The text of a run's definition, if it has one.
async fn definition(store: &Store, run: &Run) -> Result<Option<JsonText>, StoreError> {
    let Some(hash) = &run.definition_hash else {
        return Ok(None);
    };
    let text = store.definition(hash).await?;
    text.map(Some).ok_or_else(|| StoreError::Inconsistent {
        table: "runs",
        column: "definition_hash",
        row: run.id.to_string(),
        why: "there is no such definition".into(),
    })
}
