//! An accepted retry, its states, and why a retry is refused.

use serde::Serialize;

use super::{JsonText, NodePath, OrganizationId, RunId, Timestamp};
use super::{RetryId, RunStatus};

/// Where an accepted retry stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum RetryState {
    /// Not before its time.
    Scheduled,
    /// Waits for a worker.
    Queued,
    /// A worker validates it.
    Claimed,
    /// Its run exists and goes its way.
    Created,
    /// Turned down after acceptance; the reason is recorded.
    Refused,
    /// Gave way to a person's retry.
    Superseded,
    /// Cancelled before its run was created.
    Cancelled,
}

/// What happens to an accepted retry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RetryEvent {
    /// Its time has come, or somebody hurried it.
    Queue,
    /// A worker took it.
    Claim,
    /// The worker created the run.
    Create,
    /// The worker found that it may not be retried.
    Refuse,
    /// A person's retry took its place.
    Supersede,
    /// Its run was cancelled.
    Cancel,
}

/// A transition that the state machine of a retry does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a retry that is {from:?} can't {event:?}")]
pub struct IllegalTransition {
    /// The state it was in.
    pub from: RetryState,
    /// What was asked of it.
    pub event: RetryEvent,
}

impl RetryState {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Queued => "queued",
            Self::Claimed => "claimed",
            Self::Created => "created",
            Self::Refused => "refused",
            Self::Superseded => "superseded",
            Self::Cancelled => "cancelled",
        }
    }

    /// The state with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "scheduled" => Self::Scheduled,
            "queued" => Self::Queued,
            "claimed" => Self::Claimed,
            "created" => Self::Created,
            "refused" => Self::Refused,
            "superseded" => Self::Superseded,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// The state after `event`. Every write of a retry's state asks here first.
    ///
    /// # Errors
    /// The machine has no such transition. A claimed retry may be claimed again: its worker died
    /// before it created the run.
    pub const fn next(self, event: RetryEvent) -> Result<Self, IllegalTransition> {
        use RetryEvent as E;
        use RetryState as S;
        match (self, event) {
            (S::Scheduled, E::Queue) => Ok(S::Queued),
            (S::Scheduled, E::Supersede) => Ok(S::Superseded),
            (S::Queued | S::Claimed, E::Claim) => Ok(S::Claimed),
            (S::Claimed, E::Create) => Ok(S::Created),
            (S::Queued | S::Claimed, E::Refuse) => Ok(S::Refused),
            (S::Scheduled | S::Queued | S::Claimed, E::Cancel) => Ok(S::Cancelled),
            (from, event) => Err(IllegalTransition { from, event }),
        }
    }
}

/// Which share of the workers a retry draws on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Lane {
    /// Somebody waits for it.
    Interactive,
    /// A policy asked.
    Automatic,
    /// One of very many.
    Bulk,
}

impl Lane {
    /// The word in the API, in the ledger and as routing key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "interactive",
            Self::Automatic => "automatic",
            Self::Bulk => "bulk",
        }
    }

    /// The lane with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "interactive" => Self::Interactive,
            "automatic" => Self::Automatic,
            "bulk" => Self::Bulk,
            _ => return None,
        })
    }
}

/// What became of one accepted retry, and who asked for it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The retry.
    pub id: RetryId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The run that is retried.
    pub source_run_id: RunId,
    /// The new run, chosen at acceptance.
    pub run_id: RunId,
    /// The first run of the chain.
    pub root_run_id: RunId,
    /// Which retry of its source it is, from 1; none once it does not count.
    pub ordinal: Option<i64>,
    /// Where it stands.
    pub state: RetryState,
    /// Its lane.
    pub lane: Lane,
    /// The request as accepted: an object, empty for an empty body.
    pub request: JsonText,
    /// Why, in the requester's words.
    pub reason: Option<String>,
    /// Who asked.
    pub triggered_by: Option<String>,
    /// Why it was refused after acceptance.
    pub refusal: Option<Refusal>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

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
}

impl Refusal {
    fn new(reason: RefusalReason, message: String) -> Self {
        Self {
            reason,
            message,
            run_id: None,
            retry_id: None,
            paths: Vec::new(),
        }
    }

    fn naming(mut self, run: &RunId) -> Self {
        self.run_id = Some(run.clone());
        self
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
        let message =
            format!("run {run} ends a chain of {limit} runs, the longest allowed: start anew");
        Self::new(RefusalReason::RunNotRetryable, message)
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
             became of them; this version can't repeat them",
            names.join(", ")
        );
        Self {
            paths,
            ..Self::new(RefusalReason::ConfirmationRequired, message)
        }
    }

    /// Worker after worker was lost before the retry's run was created.
    #[must_use]
    pub fn workers_lost(run: &RunId, count: i64) -> Self {
        let message = format!(
            "{count} workers were lost while they prepared the retry of run {run}: see their logs"
        );
        Self::new(RefusalReason::WorkersLost, message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_machine_of_a_retry() {
        use RetryEvent as E;
        use RetryState as S;
        let states = [
            S::Scheduled,
            S::Queued,
            S::Claimed,
            S::Created,
            S::Refused,
            S::Superseded,
            S::Cancelled,
        ];
        let events = [
            E::Queue,
            E::Claim,
            E::Create,
            E::Refuse,
            E::Supersede,
            E::Cancel,
        ];
        let legal: Vec<_> = states
            .iter()
            .flat_map(|s| {
                events
                    .iter()
                    .filter_map(|e| Some((*s, *e, s.next(*e).ok()?)))
            })
            .collect();
        assert_eq!(
            legal,
            [
                (S::Scheduled, E::Queue, S::Queued),
                (S::Scheduled, E::Supersede, S::Superseded),
                (S::Scheduled, E::Cancel, S::Cancelled),
                (S::Queued, E::Claim, S::Claimed),
                (S::Queued, E::Refuse, S::Refused),
                (S::Queued, E::Cancel, S::Cancelled),
                (S::Claimed, E::Claim, S::Claimed),
                (S::Claimed, E::Create, S::Created),
                (S::Claimed, E::Refuse, S::Refused),
                (S::Claimed, E::Cancel, S::Cancelled),
            ]
        );
        for state in states {
            assert_eq!(RetryState::parse(state.as_str()), Some(state));
        }
        let refused = S::Created.next(E::Claim).unwrap_err().to_string();
        assert_eq!(refused, "a retry that is Created can't Claim");
    }
}
