//! A `trigger-workflow` that waits for the run it started (`"wait": true`).
//!
//! It follows the *chain* of that run: the head's end ends the wait, so a child that somebody
//! retried meanwhile counts by what became of it. When the parent itself is retried, a child that
//! has failed is retried from its own failure point first. The chain is read when the node runs: the
//! end of a child makes its parent due, and a parent that waits looks again by itself, at intervals
//! that grow with the time it has waited.

use std::{fmt::Debug, future::Future, pin::Pin};

use chrono::TimeDelta;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{
    child_end::{failed, too_long},
    drive::{Drive, EngineError, Stopped},
    loops::begun,
};
use crate::{
    domain::{
        CHILD_RUN_ID, NodeError, NodeRecord, NodeStatus, OrganizationId, RETRIES_CHILD, Retry,
        RetryId, Run, RunId, RunStatus, Timestamp, format_timestamp,
    },
    store::StoreError,
    workflow::At,
};

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
        let between_attempts = self.children_in(NodeStatus::Scheduled);
        for (_, child) in self.awaited().into_iter().chain(between_attempts) {
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
        if record.status != NodeStatus::Waiting {
            // A child of an earlier attempt: this one has it retried, now or when it has ended.
            record = begun(record, self.engine.clock.now());
            record.set_extra(RETRIES_CHILD, true.into());
        }
        match self.what_became(&record, first).await? {
            Follow::Take(head) => self.take(at, record, &head).await?,
            Follow::Wait => match self.time_left(at, &record) {
                Some(left) if left <= TimeDelta::zero() => self.give_back(at, record, too_long()),
                left => self.keep_waiting(at, record, left),
            },
            Follow::Retry(head) => {
                let asked = self.retry_of(&record, head)?;
                let left = self.time_left(at, &record);
                self.keep_waiting(at, record, left);
                // Asked for only by a parent that holds its lease and says so in its state.
                if !self.flush().await? {
                    return Ok(Some(Stopped::LeaseLost));
                }
                self.recorder
                    .insist(|| self.engine.children.retry(asked.clone()))
                    .await?;
            }
            Follow::Fail(error) => self.give_back(at, record, error),
        }
        Ok(None)
    }

    /// The child has ended well: the node gives what it gave.
    async fn take(
        &mut self,
        at: At,
        mut record: NodeRecord,
        head: &Run,
    ) -> Result<(), EngineError> {
        let result = self.result_of(&record, head).await?;
        record.due_at = None;
        record.remove_extra(RETRIES_CHILD);
        match self.fits(at, &record, &result) {
            Ok(()) => {
                record.result = Some(result);
                self.close(&mut record, NodeStatus::Success, None);
            }
            Err(error) => self.close(&mut record, NodeStatus::Failure, Some(error)),
        }
        self.put(at, record, true);
        Ok(())
    }

    /// The attempt has failed; whether there is another one is for the node's policy to say.
    fn give_back(&mut self, at: At, mut record: NodeRecord, error: NodeError) {
        record.due_at = None;
        record.remove_extra(RETRIES_CHILD);
        self.fail_attempt(at, record, error);
    }

    async fn what_became(&self, record: &NodeRecord, first: &RunId) -> Result<Follow, EngineError> {
        // Asked before the chain is read: an accepted retry is in what is read.
        let asked = self.asked(record).await?;
        let Some(head) = self.head_of(first).await? else {
            let message = format!("run {first}, which this node started, is not there");
            return Ok(Follow::Fail(failed("child_not_found", message)));
        };
        Ok(match (head.status, asked) {
            (RunStatus::Success | RunStatus::Partial, _) => Follow::Take(Box::new(head)),
            (RunStatus::Waiting | RunStatus::Running, _) => Follow::Wait,
            (RunStatus::Failure | RunStatus::Cancelled, None) if is_marked(record) => {
                Follow::Retry(head.id)
            }
            (RunStatus::Failure | RunStatus::Cancelled, asked) => {
                let refusal = asked.and_then(|asked| asked.refusal);
                Follow::Fail(self.ended_badly(&head, refusal).await?)
            }
        })
    }

    /// How much is left of the time that the node gives an attempt; none if it gives all of it.
    fn time_left(&self, at: At, record: &NodeRecord) -> Option<TimeDelta> {
        let timeout = TimeDelta::from_std(self.state.node(at).timeout?).ok()?;
        Some(timeout - self.waited(record))
    }

    /// How long the attempt at hand has waited.
    fn waited(&self, record: &NodeRecord) -> TimeDelta {
        let attempt = record.attempts.last();
        let since = attempt.and_then(|attempt| attempt.started_at.parse::<Timestamp>().ok());
        let now = self.engine.clock.now();
        since.map_or(TimeDelta::zero(), |since| now - since)
    }

    /// The retry of the child that this attempt has asked for.
    async fn asked(&self, record: &NodeRecord) -> Result<Option<Retry>, EngineError> {
        let (store, id) = (&self.engine.store, self.retry_id(record)?);
        self.recorder
            .insist(|| store.retry(&self.context.organization_id, &id))
            .await
    }

    fn retry_of(&self, record: &NodeRecord, head: RunId) -> Result<ChildRetry, EngineError> {
        Ok(ChildRetry {
            retry_id: self.retry_id(record)?,
            organization_id: self.context.organization_id.clone(),
            source_run_id: head,
            parent_run_id: self.context.run_id.clone(),
        })
    }

    /// The first attempt's is that of its node.
    fn retry_id(&self, record: &NodeRecord) -> Result<RetryId, EngineError> {
        let (organization, run) = (&self.context.organization_id, &self.context.run_id);
        let attempt = record.attempts.last().map(|attempt| attempt.number);
        let attempt = attempt.filter(|number| *number > 1);
        let attempt = attempt.map_or(String::new(), |number| format!("\n{number}"));
        let parts = format!("{organization}\n{run}\n{}{attempt}", record.path);
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

    /// Looks again after a pause, at the latest when no time is `left`.
    fn keep_waiting(&mut self, at: At, mut record: NodeRecord, left: Option<TimeDelta>) {
        let waited = self.waited(&record).num_milliseconds();
        let pause = (waited / 4).clamp(*PAUSE_MS.start(), *PAUSE_MS.end());
        let pause = TimeDelta::milliseconds(pause);
        let pause = left.map_or(pause, |left| pause.min(left));
        let now = self.engine.clock.now();
        let due = now.checked_add_signed(pause);
        record.status = NodeStatus::Waiting;
        record.due_at = Some(format_timestamp(due.unwrap_or(now)));
        self.put(at, record, false);
    }
}

/// The record of a node that begins to wait for the child it started.
pub(super) fn awaiting(mut record: NodeRecord, child: &RunId) -> NodeRecord {
    record.set_extra(CHILD_RUN_ID, child.as_str().into());
    record.status = NodeStatus::Waiting;
    record.due_at = record.started_at.clone();
    record
}

fn is_marked(record: &NodeRecord) -> bool {
    let extra = record.extra.as_ref().and_then(|extra| extra.value().ok());
    extra.is_some_and(|extra| extra.get(RETRIES_CHILD) == Some(&Value::Bool(true)))
}

fn unfit(id: &str, error: &crate::domain::InvalidId) -> StoreError {
    StoreError::Inconsistent {
        table: "retries",
        column: "id",
        row: id.to_owned(),
        why: error.to_string(),
    }
}
