//! A run's header: everything but its nodes and its definition's text.

use serde::{Deserialize, Serialize};

use super::{DefinitionHash, JsonText, NodeId, NodePath, OrganizationId, RunId, Timestamp};

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Nothing of it runs now; [`WaitingFor`] says what it waits for.
    Waiting,
    /// A worker holds it.
    Running,
    /// Ended; every node that had to run succeeded.
    Success,
    /// Ended; a loop had mixed iterations.
    Partial,
    /// Ended by a node's failure.
    Failure,
    /// Ended on request.
    Cancelled,
}

impl RunStatus {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Running => "running",
            Self::Success => "success",
            Self::Partial => "partial",
            Self::Failure => "failure",
            Self::Cancelled => "cancelled",
        }
    }

    /// The status with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "waiting" => Self::Waiting,
            "running" => Self::Running,
            "success" => Self::Success,
            "partial" => Self::Partial,
            "failure" => Self::Failure,
            "cancelled" => Self::Cancelled,
            _ => return None,
        })
    }

    /// Whether the run has ended; an ended run never changes.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Success | Self::Partial | Self::Failure | Self::Cancelled => true,
        }
    }
}

/// What a waiting run waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WaitingFor {
    /// A worker.
    Queue,
    /// Its `notBefore`.
    Schedule,
    /// The resume of a `wait` node.
    Wait,
    /// The end of a `delay` node.
    Delay,
    /// A node's own retry delay.
    NodeRetry,
    /// The end of a child run.
    Child,
    /// An open circuit breaker.
    Breaker,
}

impl WaitingFor {
    /// The word in the API and in the ledger.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queue => "queue",
            Self::Schedule => "schedule",
            Self::Wait => "wait",
            Self::Delay => "delay",
            Self::NodeRetry => "node_retry",
            Self::Child => "child",
            Self::Breaker => "breaker",
        }
    }

    /// The cause with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "queue" => Self::Queue,
            "schedule" => Self::Schedule,
            "wait" => Self::Wait,
            "delay" => Self::Delay,
            "node_retry" => Self::NodeRetry,
            "child" => Self::Child,
            "breaker" => Self::Breaker,
            _ => return None,
        })
    }
}

/// The simulation fields of a run. They go over to its retries and to every connector call.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simulation {
    /// `simulationForks`, an array, as it came.
    pub forks: Option<JsonText>,
    /// `simulationMode`.
    pub mode: Option<String>,
    /// `isSimulation`.
    pub is_simulation: bool,
    /// `isDustTest`.
    pub is_dust_test: bool,
}

/// A run, without its nodes and its definition's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The run.
    pub id: RunId,
    /// Whose run it is.
    pub organization_id: OrganizationId,
    /// The first run of its chain; itself when it is no retry.
    pub root_run_id: RunId,
    /// The run it retries. An import may name a run that is not here.
    pub source_run_id: Option<RunId>,
    /// Where it stands.
    pub status: RunStatus,
    /// What it waits for, while `status` is `waiting`.
    pub waiting_for: Option<WaitingFor>,
    /// Whether it has a state of its own: a retry's run has none until a worker creates it.
    pub created: bool,
    /// Its definition, by content.
    pub definition_hash: Option<DefinitionHash>,
    /// The trigger that fired.
    pub trigger_node_id: Option<NodeId>,
    /// How it came to be: `api`, `import`, `retry`, or what an import says.
    pub trigger_source: Option<String>,
    /// Who started or retried it.
    pub triggered_by: Option<String>,
    /// The workflow it belongs to.
    pub workflow_id: Option<String>,
    /// The version of that workflow.
    pub workflow_version: Option<i64>,
    /// The owner of that workflow.
    pub workflow_owner_user_id: Option<String>,
    /// `propValues`, an object.
    pub prop_values: JsonText,
    /// The values of its variables when it was accepted: an object by name. What the definition
    /// declares and this does not hold starts at its default.
    pub variables: JsonText,
    /// The simulation fields.
    pub simulation: Simulation,
    /// One sentence about how it ended.
    pub summary: Option<String>,
    /// What it cost: a JSON number. 1 per executed attempt unless configured otherwise.
    pub total_cu: JsonText,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it began, as text: imported times come back as they went in.
    pub started_at: Option<String>,
    /// When it ended.
    pub finished_at: Option<String>,
    /// When its cancellation was asked for.
    pub cancel_requested_at: Option<Timestamp>,
}

impl Run {
    /// The header of a new run that waits for a worker and is the first of its chain.
    #[must_use]
    pub fn fresh(id: RunId, organization_id: OrganizationId, now: Timestamp) -> Self {
        Self {
            root_run_id: id.clone(),
            id,
            organization_id,
            source_run_id: None,
            status: RunStatus::Waiting,
            waiting_for: Some(WaitingFor::Queue),
            created: true,
            definition_hash: None,
            trigger_node_id: None,
            trigger_source: None,
            triggered_by: None,
            workflow_id: None,
            workflow_version: None,
            workflow_owner_user_id: None,
            prop_values: JsonText::trusted("{}"),
            variables: JsonText::trusted("{}"),
            simulation: Simulation::default(),
            summary: None,
            total_cu: JsonText::trusted("0"),
            created_at: now,
            started_at: None,
            finished_at: None,
            cancel_requested_at: None,
        }
    }
}

/// One logged write of a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VariableWrite {
    /// The variable.
    pub name: String,
    /// The value before; JSON null when there was none.
    pub old_value: JsonText,
    /// The value after.
    pub new_value: JsonText,
    /// The node that wrote it.
    pub written_by_node: Option<NodePath>,
    /// When.
    pub written_at: Timestamp,
    /// Whether it is a write to the run's workflow, which keeps it, and not to the run only.
    pub lasts: bool,
}
