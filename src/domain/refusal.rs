//! Why a retry is refused.

use serde::Serialize;

use super::{NodePath, RetryId, RunId, RunStatus};

/// The stable word for why a retry is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalReason {
    /// The source has not ended.
    RunStillActive,
    /// The source ended in a way that leaves nothing to retry.
    RunNotRetryable,
    /// The chain has a live retry.
    RetryInProgress,
    /// The source has been retried.
    AlreadyRetried,
    /// The source has no definition or no record of the trigger that fired.
    MissingState,
    /// A call in doubt must not be repeated without somebody's word.
    ConfirmationRequired,
    /// Worker after worker was lost before the retry's run was created.
    WorkersLost,
    /// A published intent names a source that its organisation does not have.
    RunNotFound,
    /// A published intent names a new run whose id is taken.
    RunExists,
    /// A choice of the request does not fit the run.
    InvalidRequest,
    /// The plan is not the one that the requester was shown.
    PlanChanged,
    /// The latest definition does not go with what the run has done.
    DefinitionIncompatible,
    /// The run belongs to a workflow that is not registered.
    WorkflowNotFound,
    /// The organisation has as many runs under way as it may.
    RateLimited,
}

impl RefusalReason {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RunStillActive => "run_still_active",
            Self::RunNotRetryable => "run_not_retryable",
            Self::RetryInProgress => "retry_in_progress",
            Self::AlreadyRetried => "already_retried",
            Self::MissingState => "missing_state",
            Self::ConfirmationRequired => "confirmation_required",
            Self::WorkersLost => "workers_lost",
            Self::RunNotFound => "run_not_found",
            Self::RunExists => "run_exists",
            Self::InvalidRequest => "invalid_request",
            Self::PlanChanged => "plan_changed",
            Self::DefinitionIncompatible => "definition_incompatible",
            Self::WorkflowNotFound => "workflow_not_found",
            Self::RateLimited => "rate_limited",
        }
    }

    /// The reason with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "run_still_active" => Self::RunStillActive,
            "run_not_retryable" => Self::RunNotRetryable,
            "retry_in_progress" => Self::RetryInProgress,
            "already_retried" => Self::AlreadyRetried,
            "missing_state" => Self::MissingState,
            "confirmation_required" => Self::ConfirmationRequired,
            "workers_lost" => Self::WorkersLost,
            "run_not_found" => Self::RunNotFound,
            "run_exists" => Self::RunExists,
            "invalid_request" => Self::InvalidRequest,
            "plan_changed" => Self::PlanChanged,
            "definition_incompatible" => Self::DefinitionIncompatible,
            "workflow_not_found" => Self::WorkflowNotFound,
            "rate_limited" => Self::RateLimited,
            _ => return None,
        })
    }
}

/// Why a retry is refused: what was asked, of which state, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// The stable word.
    pub reason: RefusalReason,
    /// The sentence.
    pub message: String,
    /// The run to look at or to retry instead.
    pub run_id: Option<RunId>,
    /// The live retry, for `retry_in_progress`.
    pub retry_id: Option<RetryId>,
    /// The nodes that it is about, for `confirmation_required`.
    pub paths: Vec<NodePath>,
    /// What differs, for `plan_changed`; what does not fit, for `definition_incompatible`.
    pub differences: Vec<String>,
    /// The hash of the present plan, for `plan_changed`.
    pub plan_hash: Option<String>,
}

impl Refusal {
    fn new(reason: RefusalReason, message: String) -> Self {
        Self {
            reason,
            message,
            run_id: None,
            retry_id: None,
            paths: Vec::new(),
            differences: Vec::new(),
            plan_hash: None,
        }
    }

    fn naming(mut self, run: &RunId) -> Self {
        self.run_id = Some(run.clone());
        self
    }

    /// Whether it is the request's own fault, and not the run's.
    #[must_use]
    pub fn is_invalid_request(&self) -> bool {
        self.reason == RefusalReason::InvalidRequest
    }

    /// The source has not ended.
    #[must_use]
    pub fn still_active(run: &RunId, status: RunStatus) -> Self {
        let message = format!(
            "run {run} is {}: wait for its end or cancel it, then retry it",
            status.as_str()
        );
        Self::new(RefusalReason::RunStillActive, message)
    }

    /// The source ended in a way that can't be retried.
    #[must_use]
    pub fn not_retryable(run: &RunId, status: RunStatus) -> Self {
        let message = format!(
            "run {run} ended {}: only a failure or a cancelled run can be retried",
            status.as_str()
        );
        Self::new(RefusalReason::RunNotRetryable, message)
    }

    /// The source is a retry's run that no worker ever created.
    #[must_use]
    pub fn never_created(run: &RunId, source: &RunId) -> Self {
        let message = format!("run {run} ended before it was created: retry its source, {source}");
        Self::new(RefusalReason::RunNotRetryable, message).naming(source)
    }

    /// The chain has reached its longest.
    #[must_use]
    pub fn chain_too_long(run: &RunId, limit: u32) -> Self {
        let message = format!(
            "run {run} ends a chain of {limit} runs, the longest allowed (limits.chain_length): start anew"
        );
        Self::new(RefusalReason::RunNotRetryable, message)
    }

    /// The organisation has as many runs under way as it may.
    #[must_use]
    pub fn rate_limited(limit: u32) -> Self {
        let message = format!(
            "{limit} runs of this organization are under way, as many as may be (limits.live_runs): try \
             again when some have ended"
        );
        Self::new(RefusalReason::RateLimited, message)
    }

    /// The chain has a live retry.
    #[must_use]
    pub fn in_progress(source: &RunId, retry: &RetryId, run: &RunId) -> Self {
        let message =
            format!("the chain of run {source} has a live retry, {retry}: follow its run, {run}");
        let refusal = Self::new(RefusalReason::RetryInProgress, message).naming(run);
        Self {
            retry_id: Some(retry.clone()),
            ..refusal
        }
    }

    /// The source has been retried; `head` is the newest run below it.
    #[must_use]
    pub fn already_retried(source: &RunId, head: &RunId) -> Self {
        let message = format!("run {source} has been retried: retry the newest run, {head}");
        Self::new(RefusalReason::AlreadyRetried, message).naming(head)
    }

    /// The source lacks what a resume needs.
    #[must_use]
    pub fn missing_state(run: &RunId, what: &str) -> Self {
        let message = format!("run {run} has no {what}: import it with one to retry it");
        Self::new(RefusalReason::MissingState, message)
    }

    /// Calls whose outcome is unknown and that must not be repeated unasked.
    #[must_use]
    pub fn confirmation_required(run: &RunId, paths: Vec<NodePath>) -> Self {
        let names: Vec<_> = paths.iter().map(NodePath::to_string).collect();
        let message = format!(
            "run {run} stopped during calls that must not be repeated unasked ({}): find out what \
             became of them, then name those to repeat in `acknowledge`, or give their results in \
             `nodeResults`",
            names.join(", ")
        );
        Self {
            paths,
            ..Self::new(RefusalReason::ConfirmationRequired, message)
        }
    }

    /// A choice of the request does not fit the run.
    #[must_use]
    pub fn invalid_request(message: impl Into<String>) -> Self {
        Self::new(RefusalReason::InvalidRequest, message.into())
    }

    /// The plan is another one than the requester was shown.
    #[must_use]
    pub fn plan_changed(run: &RunId, differences: Vec<String>, plan_hash: String) -> Self {
        let message = format!(
            "the plan for run {run} is not the one that was shown ({} differs): look at the \
             present plan, then retry with its planHash",
            differences.join(", ")
        );
        Self {
            differences,
            plan_hash: Some(plan_hash),
            ..Self::new(RefusalReason::PlanChanged, message)
        }
    }

    /// The latest definition does not go with what the run has done.
    #[must_use]
    pub fn definition_incompatible(run: &RunId, differences: Vec<String>) -> Self {
        let message = format!(
            "the latest definition does not fit run {run} ({}): retry with its snapshot, or start \
             anew",
            differences.join("; ")
        );
        Self {
            differences,
            ..Self::new(RefusalReason::DefinitionIncompatible, message)
        }
    }

    /// The run's workflow is not registered, so it has no latest definition.
    #[must_use]
    pub fn workflow_not_found(run: &RunId) -> Self {
        let message = format!(
            "run {run} belongs to no registered workflow: retry with its snapshot, or register \
             the workflow"
        );
        Self::new(RefusalReason::WorkflowNotFound, message)
    }

    /// Worker after worker was lost before the retry's run was created.
    #[must_use]
    pub fn workers_lost(run: &RunId, count: i64) -> Self {
        let message = format!(
            "{count} workers were lost while they prepared the retry of run {run}: see their logs"
        );
        Self::new(RefusalReason::WorkersLost, message)
    }

    /// The organisation of a published intent has no such run.
    #[must_use]
    pub fn run_not_found(run: &RunId) -> Self {
        let message = format!("no run {run}: publish the retry of a run that is here");
        Self::new(RefusalReason::RunNotFound, message)
    }

    /// The id that a published intent chose for the new run is taken.
    #[must_use]
    pub fn run_exists(run: &RunId) -> Self {
        let message = format!("a run with the id {run} exists: choose another one, or none");
        Self::new(RefusalReason::RunExists, message)
    }
}
