//! Accepts a retry, a start, an import or a cancellation: everything is checked here, then stored
//! in one transaction that the caller's disconnect can't cancel.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    config::LimitsConfig,
    domain::{Clock, OrganizationId, Refusal, Retry, Run, RunId},
    store::{Store, StoreError},
};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organisation that the token speaks for.
    pub organization_id: OrganizationId,
    /// The token's name or id: recorded as `triggeredBy`.
    pub actor: String,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
}

/// The one way in.
#[derive(Debug, Clone)]
pub struct Intake {
    store: Store,
    clock: Arc<dyn Clock>,
    limits: LimitsConfig,
}

/// Why a request is turned down.
#[derive(Debug, thiserror::Error)]
pub enum IntakeError {
    /// The body is not what this call takes: 400 `invalid_request`.
    #[error("{0}")]
    InvalidRequest(String),
    /// The definition can't be run: 400 `invalid_definition`.
    #[error("{0}")]
    InvalidDefinition(String),
    /// The trigger can't be fired by hand: 400 `not_manual_trigger`.
    #[error("{0}")]
    NotManualTrigger(String),
    /// The run id in the body is none: 400 `invalid_run_id`.
    #[error("{0}")]
    InvalidRunId(String),
    /// A run with this id exists: 400 `run_exists` for a start.
    #[error("a run with the id {0} exists: choose another one")]
    StartExists(RunId),
    /// A run with this id exists: 409 `run_exists` for an import.
    #[error("a run with the id {0} exists: it can't be imported again")]
    ImportExists(RunId),
    /// No such run in the caller's organisation: 404 `run_not_found`.
    #[error("no run {0}")]
    RunNotFound(String),
    /// The retry is refused: 409 and the refusal's reason.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The run had ended: 409 `run_already_ended`.
    #[error("run {id} has ended ({status}): there is nothing to cancel")]
    AlreadyEnded {
        /// The run.
        id: RunId,
        /// How it ended.
        status: &'static str,
    },
    /// The ledger did not answer: 503 `unavailable` when it is away, else 500.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Intake {
    /// An intake on this ledger.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, limits: LimitsConfig) -> Self {
        Self {
            store,
            clock,
            limits,
        }
    }

    /// Accepts a retry of `run` with the request body `body` (`None` for an empty one).
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn retry(
        &self,
        caller: &Caller,
        run: &RunId,
        body: Option<Value>,
    ) -> Result<(Run, Retry), IntakeError> {
        todo!()
    }

    /// Starts a run: `{definition, payload?, propValues?, runId?}`.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn start(&self, caller: &Caller, body: Value) -> Result<Run, IntakeError> {
        todo!()
    }

    /// Imports an ended run as `GET /v1/runs/{id}` shows it, bare or in its envelope.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn import(&self, caller: &Caller, body: Value) -> Result<Run, IntakeError> {
        todo!()
    }

    /// Asks for the cancellation of a run.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn cancel(&self, caller: &Caller, run: &RunId) -> Result<Run, IntakeError> {
        todo!()
    }
}
