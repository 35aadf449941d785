//! An accepted retry and its states.

use serde::Serialize;

use super::{JsonText, Lane, OrganizationId, Refusal, RetryId, RunId, Timestamp};

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

/// What became of one accepted retry, and who asked for it and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The retry.
    pub id: RetryId,
    /// Whose it is.
    pub organization_id: OrganizationId,
    /// The run that is retried.
    pub source_run_id: RunId,
    /// The new run, chosen at acceptance; none if a published intent was refused before it.
    pub run_id: Option<RunId>,
    /// The first run of the chain; none without a run.
    pub root_run_id: Option<RunId>,
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
