//! What a node says of the child that it waited for.

use std::sync::Arc;

use serde_json::{Map, json};

use super::drive::{Drive, EngineError};
use crate::{
    domain::{
        ErrorClass, JsonText, NodeError, NodePath, NodeRecord, NodeStatus, Refusal, Run, RunStatus,
    },
    workflow::{Definition, OnError, TOP},
};

impl Drive<'_> {
    /// What the node says of the child: which run it was in the end, and the results of its last
    /// nodes.
    pub(super) async fn result_of(
        &self,
        record: &NodeRecord,
        head: &Run,
    ) -> Result<JsonText, EngineError> {
        let (store, organization) = (&self.engine.store, &self.context.organization_id);
        let workflow = match &head.workflow_id {
            Some(id) => {
                self.recorder
                    .insist(|| store.workflow(organization, id))
                    .await?
            }
            None => None,
        };
        let definition = self.definition_of(head).await?;
        let last = definition.as_deref().map(last_nodes).unwrap_or_default();
        let records = self
            .recorder
            .insist(|| store.nodes(&head.id, Some(&last)))
            .await?;
        let mut outputs = Map::new();
        for record in records {
            let has_ended_well = matches!(record.status, NodeStatus::Success | NodeStatus::Partial);
            if let Some(result) = record.result.as_ref().filter(|_| has_ended_well) {
                outputs.insert(record.path.to_string(), result.value()?);
            }
        }
        Ok(JsonText::of(&json!({
            "triggeredWorkflowId": head.workflow_id,
            "triggeredWorkflowName": workflow.map(|workflow| workflow.name),
            "runStatus": head.status,
            "triggeredAt": record.started_at,
            "runId": head.id,
            "outputs": outputs,
        })))
    }

    async fn definition_of(&self, run: &Run) -> Result<Option<Arc<Definition>>, EngineError> {
        let Some(hash) = &run.definition_hash else {
            return Ok(None);
        };
        let store = &self.engine.store;
        let read = self.recorder.insist(|| store.executable(hash)).await?;
        Ok(read.and_then(Result::ok))
    }

    /// Why a node fails whose child did not end well, or could not be retried.
    pub(super) async fn ended_badly(
        &self,
        head: &Run,
        refusal: Option<Refusal>,
    ) -> Result<NodeError, EngineError> {
        let id = &head.id;
        if let Some(refusal) = refusal {
            let why = &refusal.message;
            let message = format!("run {id}, which this node waits for, can't be retried: {why}");
            return Ok(failed(refusal.reason.as_str(), message));
        }
        let status = head.status.as_str();
        let why = head.summary.as_deref().unwrap_or_default();
        let message = format!("run {id}, which this node waited for, ended {status}. {why}");
        let message = message.trim_end().to_owned();
        if head.status == RunStatus::Cancelled {
            return Ok(failed("child_cancelled", message));
        }
        let class = self.class_of(head).await?;
        Ok(NodeError::new(class, "child_failed", message))
    }

    /// The class of the failure that ended a run: what may be done about it holds for whoever waited
    /// for it, too.
    async fn class_of(&self, run: &Run) -> Result<ErrorClass, EngineError> {
        let Some(definition) = self.definition_of(run).await? else {
            return Ok(ErrorClass::Permanent);
        };
        let store = &self.engine.store;
        let top = members(&definition);
        let records = self
            .recorder
            .insist(|| store.nodes(&run.id, Some(&top)))
            .await?;
        let failed = records.iter().find(|record| {
            record.status == NodeStatus::Failure && !is_tolerated(&definition, record)
        });
        let error = failed.and_then(|record| record.error.as_ref()?.value().ok());
        let class = error.and_then(|error| error.get("class").cloned());
        let class = class.and_then(|class| serde_json::from_value(class).ok());
        Ok(class.unwrap_or(ErrorClass::Permanent))
    }
}

/// The nodes outside all loops.
fn members(definition: &Definition) -> Vec<NodePath> {
    let top = definition.body(TOP).members.iter();
    top.map(|&node| NodePath::of(definition.node(node).id.clone()))
        .collect()
}

/// The nodes outside all loops that nothing follows.
fn last_nodes(definition: &Definition) -> Vec<NodePath> {
    let top = definition.body(TOP).members.iter();
    let top = top.map(|&position| definition.node(position));
    let last = top.filter(|node| node.children.is_empty());
    last.map(|node| NodePath::of(node.id.clone())).collect()
}

fn is_tolerated(definition: &Definition, record: &NodeRecord) -> bool {
    let node = definition.find(record.path.node().as_str());
    node.is_some_and(|node| definition.node(node).on_error == OnError::Continue)
}

/// The node's own time-out: its child goes on.
pub(super) fn too_long() -> NodeError {
    let message = "the run that this node waits for took longer than the node's timeoutMs";
    NodeError::new(ErrorClass::Timeout, "timed_out", message)
}

pub(super) fn failed(code: &str, message: String) -> NodeError {
    NodeError::new(ErrorClass::Permanent, code, message)
}
