//! A `trigger-workflow` that waits for the run it started (`"wait": true`).
//!
//! It follows the *chain* of that run: the head's end ends the wait, so a child that somebody
//! retried meanwhile counts by what became of it. When the parent itself is retried, a child that
//! has failed is retried from its own failure point first. The chain is read when the node runs: the
//! end of a child makes its parent due, and a parent that waits looks again by itself, at intervals
//! that grow with the time it has waited.

use std::{fmt::Debug, future::Future, pin::Pin};

use chrono::TimeDelta;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use super::drive::{Drive, EngineError, Stopped};
use crate::{
    domain::{
        CHILD_RUN_ID, ErrorClass, JsonText, NodeError, NodePath, NodeRecord, NodeStatus,
        OrganizationId, Refusal, Retry, RetryId, Run, RunId, RunStatus, Timestamp,
        format_timestamp,
    },
    store::StoreError,
    workflow::{At, Definition, DefinitionLimits},
};

/// Where the record says that the failed child is to be retried.
const RETRIES_CHILD: &str = "retriesChild";

/// The shortest and the longest pause before a waiting parent looks again by itself.
const PAUSE_MS: std::ops::RangeInclusive<i64> = 250..=30_000;

/// A retry of a child that its parent asks for.
#[derive(Debug, Clone)]
pub struct ChildRetry {
    /// Its id: the same for the same node of the same run, whoever asks how often.
    pub retry_id: RetryId,
    /// Whose runs they are.
    pub organization_id: OrganizationId,
    /// The run to retry, the head of the child's chain.
    pub source_run_id: RunId,
    /// The run that waits for it.
    pub parent_run_id: RunId,
}

/// What a request for a child's retry answers with.
pub type ChildRetryFuture<'a> = Pin<Box<dyn Future<Output = Result<(), StoreError>> + Send + 'a>>;

/// Accepts retries of children, or records their refusal. The same one again changes nothing.
pub trait ChildRetries: Debug + Send + Sync {
    /// Accepts one or records its refusal; an error when the ledger did not answer.
    fn retry(&self, child: ChildRetry) -> ChildRetryFuture<'_>;
}

/// What a waiting parent does.
enum Follow {
    /// The head of the chain ended well.
    Take(Box<Run>),
    /// It has not ended.
    Wait,
    /// It ended otherwise, and this parent is there to have it retried.
    Retry(RunId),
    Fail(NodeError),
}

impl Drive<'_> {
    /// Looks at every child that this run waits for: something may have become of it.
    pub(super) async fn look_at_children(&mut self) -> Result<Option<Stopped>, EngineError> {
        for (at, child) in self.awaited() {
            if let Some(stopped) = self.follow(at, &child).await? {
                return Ok(Some(stopped));
            }
        }
        Ok(None)
    }

    /// Asks for the end of every child that this run waits for.
    pub(super) async fn cancel_children(&self) -> Result<(), EngineError> {
        let (store, organization) = (&self.engine.store, &self.context.organization_id);
        for (_, child) in self.awaited() {
            let Some(head) = self.head_of(&child).await? else {
                continue;
            };
            let now = self.engine.clock.now();
            self.recorder
                .insist(|| store.request_cancel(organization, &head.id, now))
                .await?;
        }
        Ok(())
    }

    /// The nodes that wait for a child, and the first run of each chain.
    pub(super) fn awaited(&self) -> Vec<(At, RunId)> {
        self.children_in(NodeStatus::Waiting)
    }

    fn children_in(&self, status: NodeStatus) -> Vec<(At, RunId)> {
        let records = self.state.records();
        let records = records.filter(|(_, record)| record.status == status);
        records
            .filter_map(|(at, record)| Some((at, record.child_run_id()?)))
            .collect()
    }

    /// Goes on with a node whose child is there; `first` is the first run of the child's chain.
    pub(super) async fn follow(
        &mut self,
        at: At,
        first: &RunId,
    ) -> Result<Option<Stopped>, EngineError> {
        let mut record = self.state.blank(at);
        match self.what_became(&record, first).await? {
            Follow::Take(head) => {
                let result = self.result_of(&record, &head).await?;
                record.due_at = None;
                match self.fits(&result) {
                    Ok(()) => {
                        record.result = Some(result);
                        self.close(&mut record, NodeStatus::Success, None);
                    }
                    Err(error) => self.close(&mut record, NodeStatus::Failure, Some(error)),
                }
                self.put(at, record, true);
            }
            Follow::Wait => {
                self.keep_waiting(&mut record);
                self.put(at, record, false);
            }
            Follow::Retry(head) => {
                record.extra = Some(with(record.extra.as_ref(), RETRIES_CHILD, true.into()));
                self.keep_waiting(&mut record);
                let path = record.path.clone();
                self.put(at, record, false);
                // Asked for only by a parent that holds its lease and says so in its state.
                if !self.flush().await? {
                    return Ok(Some(Stopped::LeaseLost));
                }
                self.retry_child(&path, head).await?;
            }
            Follow::Fail(error) => {
                record.due_at = None;
                self.close(&mut record, NodeStatus::Failure, Some(error));
                self.put(at, record, true);
            }
        }
        Ok(None)
    }

    async fn what_became(&self, record: &NodeRecord, first: &RunId) -> Result<Follow, EngineError> {
        // Asked before the chain is read: an accepted retry is in what is read.
        let asked = self.asked(&record.path).await?;
        let Some(head) = self.head_of(first).await? else {
            let message = format!("run {first}, which this node started, is not there");
            return Ok(Follow::Fail(failed("child_not_found", message)));
        };
        let retries = record.status != NodeStatus::Waiting || is_marked(record);
        Ok(match (head.status, asked) {
            (RunStatus::Success | RunStatus::Partial, _) => Follow::Take(Box::new(head)),
            (RunStatus::Waiting | RunStatus::Running, _) => Follow::Wait,
            (RunStatus::Failure | RunStatus::Cancelled, None) if retries => Follow::Retry(head.id),
            (RunStatus::Failure | RunStatus::Cancelled, asked) => {
                let refusal = asked.and_then(|asked| asked.refusal);
                Follow::Fail(ended_badly(&head, refusal))
            }
        })
    }

    /// The retry of the child that this run has asked for.
    async fn asked(&self, path: &NodePath) -> Result<Option<Retry>, EngineError> {
        let (store, id) = (&self.engine.store, self.retry_id(path)?);
        self.recorder
            .insist(|| store.retry(&self.context.organization_id, &id))
            .await
    }

    async fn retry_child(&self, path: &NodePath, head: RunId) -> Result<(), EngineError> {
        let child = ChildRetry {
            retry_id: self.retry_id(path)?,
            organization_id: self.context.organization_id.clone(),
            source_run_id: head,
            parent_run_id: self.context.run_id.clone(),
        };
        self.recorder
            .insist(|| self.engine.children.retry(child.clone()))
            .await
    }

    fn retry_id(&self, path: &NodePath) -> Result<RetryId, EngineError> {
        let parts = format!(
            "{}\n{}\n{path}",
            self.context.organization_id, self.context.run_id
        );
        let id = format!("rty_child_{:x}", Sha256::digest(parts));
        id.parse()
            .map_err(|error| EngineError::Store(unfit(&id, &error)))
    }

    async fn head_of(&self, first: &RunId) -> Result<Option<Run>, EngineError> {
        let (store, organization) = (&self.engine.store, &self.context.organization_id);
        let head = self.recorder.insist(|| store.head(first)).await?;
        let head = head.unwrap_or_else(|| first.clone());
        self.recorder
            .insist(|| store.run(organization, &head))
            .await
    }

    fn keep_waiting(&self, record: &mut NodeRecord) {
        let now = self.engine.clock.now();
        if record.status != NodeStatus::Waiting {
            record.started_at = Some(format_timestamp(now));
            record.status = NodeStatus::Waiting;
        }
        let started = record.started_at.as_deref();
        let started = started.and_then(|text| text.parse::<Timestamp>().ok());
        let waited = started.map_or(0, |started| (now - started).num_milliseconds());
        let pause = (waited / 4).clamp(*PAUSE_MS.start(), *PAUSE_MS.end());
        let due = now.checked_add_signed(TimeDelta::milliseconds(pause));
        record.due_at = Some(format_timestamp(due.unwrap_or(now)));
    }

    /// What the node says of the child: which run it was in the end, and the results of its last
    /// nodes.
    async fn result_of(&self, record: &NodeRecord, head: &Run) -> Result<JsonText, EngineError> {
        let (store, organization) = (&self.engine.store, &self.context.organization_id);
        let workflow = match &head.workflow_id {
            Some(id) => {
                self.recorder
                    .insist(|| store.workflow(organization, id))
                    .await?
            }
            None => None,
        };
        let text = match &head.definition_hash {
            Some(hash) => self.recorder.insist(|| store.definition(hash)).await?,
            None => None,
        };
        let last = text.as_ref().map(last_nodes).unwrap_or_default();
        let records = self
            .recorder
            .insist(|| store.nodes(&head.id, Some(&last)))
            .await?;
        let mut outputs = Map::new();
        for record in records {
            if let (NodeStatus::Success, Some(result)) = (record.status, &record.result) {
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
}

/// The record of a node that begins to wait for the child it started.
pub(super) fn awaiting(mut record: NodeRecord, child: &RunId) -> NodeRecord {
    let id = Value::from(child.as_str());
    record.extra = Some(with(record.extra.as_ref(), CHILD_RUN_ID, id));
    record.status = NodeStatus::Waiting;
    record.due_at = record.started_at.clone();
    record
}

/// The nodes outside all loops that nothing follows.
fn last_nodes(text: &JsonText) -> Vec<NodePath> {
    let value = text.value().unwrap_or_default();
    let Ok(definition) = Definition::parse(&value, &DefinitionLimits::STORED) else {
        return Vec::new();
    };
    let top = &definition.body(crate::workflow::TOP).members;
    let top = top.iter().map(|&position| definition.node(position));
    let last = top.filter(|node| node.children.is_empty());
    last.map(|node| NodePath::of(node.id.clone())).collect()
}

fn is_marked(record: &NodeRecord) -> bool {
    let extra = record.extra.as_ref().and_then(|extra| extra.value().ok());
    extra.is_some_and(|extra| extra.get(RETRIES_CHILD) == Some(&Value::Bool(true)))
}

fn with(extra: Option<&JsonText>, name: &str, value: Value) -> JsonText {
    let members = extra.and_then(|extra| extra.value().ok());
    let mut members = match members {
        Some(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.insert(name.to_owned(), value);
    JsonText::of(&Value::Object(members))
}

fn ended_badly(head: &Run, refusal: Option<Refusal>) -> NodeError {
    if let Some(refusal) = refusal {
        let (id, why) = (&head.id, &refusal.message);
        let message = format!("run {id}, which this node waits for, can't be retried: {why}");
        return failed(refusal.reason.as_str(), message);
    }
    let (id, status) = (&head.id, head.status.as_str());
    let why = head.summary.as_deref().unwrap_or_default();
    let message = format!("run {id}, which this node waited for, ended {status}. {why}");
    let code = if head.status == RunStatus::Cancelled {
        "child_cancelled"
    } else {
        "child_failed"
    };
    failed(code, message.trim_end().to_owned())
}

fn failed(code: &str, message: String) -> NodeError {
    NodeError::new(ErrorClass::Permanent, code, message)
}

fn unfit(id: &str, error: &crate::domain::InvalidId) -> StoreError {
    StoreError::Inconsistent {
        table: "retries",
        column: "id",
        row: id.to_owned(),
        why: error.to_string(),
    }
}
