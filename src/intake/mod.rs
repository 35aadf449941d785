//! Accepts a retry, a start, an import or a cancellation: everything is checked here, then stored
//! in one transaction that the caller's disconnect can't cancel.

mod body;
mod ended;
mod import;
mod intent;
mod keyed;
mod planned;
mod request;
mod retry;
mod start;
mod turns;
mod workflow;

pub use ended::record_end;
pub use intent::{IntentOutcome, Unusable};
pub use planned::{Inspected, Planned};
pub use request::Request;

use std::{panic::resume_unwind, sync::Arc};

use serde_json::Value;
use sha2::{Digest, Sha256};
use tracing::Instrument;

use self::turns::Turns;
use crate::{
    broker::Hints,
    config::LimitsConfig,
    domain::{Clock, InvalidId, JsonText, NodePath, OrganizationId, Refusal, Retry, Run, RunId},
    faults,
    store::{CancelOutcome, IdempotencyKey, Resumed, Store, StoreError, StoredDefinition},
    workflow::{DefinitionError, DefinitionLimits, ExpressionLimits},
};

/// Who asks.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The organisation that the token speaks for.
    pub organization_id: OrganizationId,
    /// The token's name or id, or whom an intent names: recorded as `triggeredBy`.
    pub actor: Option<String>,
    /// The W3C trace context of the request.
    pub traceparent: Option<String>,
    /// The key of the request, if it has one: with it, it is done once.
    pub key: Option<IdempotencyKey>,
}

/// The one way in. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Intake {
    store: Store,
    clock: Arc<dyn Clock>,
    limits: LimitsConfig,
    hints: Hints,
    accept_intents: bool,
    turns: Turns,
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
    /// No such workflow in the caller's organisation: 404 `workflow_not_found`.
    #[error("there is no such workflow")]
    WorkflowNotFound,
    /// The retry is refused: 409 and the refusal's reason.
    #[error(transparent)]
    Refused(Box<Refusal>),
    /// The same request is being decided: 409 `idempotency_in_flight`.
    #[error("a request with this idempotency key is under way: send it again in a moment")]
    KeyInFlight,
    /// The key was used for another request: 422 `idempotency_key_reused`.
    #[error("this idempotency key was used for another request: take a new one")]
    KeyReused,
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

impl From<Refusal> for IntakeError {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(Box::new(refusal))
    }
}

impl From<DefinitionError> for IntakeError {
    fn from(error: DefinitionError) -> Self {
        Self::InvalidDefinition(error.to_string())
    }
}

impl Intake {
    /// An intake on this ledger.
    #[must_use]
    pub fn new(store: Store, clock: Arc<dyn Clock>, limits: LimitsConfig, hints: Hints) -> Self {
        Self {
            store,
            clock,
            limits,
            hints,
            accept_intents: false,
            turns: Turns::default(),
        }
    }

    /// The same intake, accepting retries that are published instead of requested, or not.
    #[must_use]
    pub fn accepting_intents(mut self, accept: bool) -> Self {
        self.accept_intents = accept;
        self
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
        let (intake, caller, run) = (self.clone(), caller.clone(), run.clone());
        uncancelled(async move {
            if let Some(earlier) = intake.earlier(&caller).await? {
                return intake.retry_again(&caller, earlier).await;
            }
            intake
                .accept_retry(&caller, &run, Request::read(body)?)
                .await
        })
        .await
    }

    /// What a retry of `run` with this request body would do, and be refused with. Changes nothing.
    ///
    /// # Errors
    /// The body is not a retry's, or there is no such run.
    pub async fn plan(
        &self,
        caller: &Caller,
        run: &RunId,
        body: Option<Value>,
    ) -> Result<Inspected, IntakeError> {
        let request = Request::read(body)?;
        request::check_not_before(&request, self.clock.now())?;
        let organization = &caller.organization_id;
        let inspected = Planned::inspect(&self.store, organization, run, &request, None).await?;
        let mut inspected = inspected.ok_or_else(|| IntakeError::RunNotFound(run.to_string()))?;
        if let Some(refusal) = inspected
            .refusal
            .take_if(|refusal| refusal.is_invalid_request())
        {
            return Err(refusal.into());
        }
        // The chain comes first: nobody is asked to confirm what would be refused all the same.
        let terms = retry::terms(&self.limits, &request);
        let by_chain = self.store.retry_refusal(organization, run, &terms).await?;
        inspected.refusal = by_chain.or(inspected.refusal);
        if let (None, Some(planned)) = (&inspected.refusal, &inspected.planned) {
            inspected.refusal = planned.check_hash().err();
        }
        Ok(inspected)
    }

    /// Starts a run: `{definition, payload?, propValues?, runId?}`.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn start(&self, caller: &Caller, body: Value) -> Result<Run, IntakeError> {
        let (intake, caller) = (self.clone(), caller.clone());
        uncancelled(async move {
            if let Some(earlier) = intake.earlier(&caller).await? {
                return intake.start_again(&caller, earlier).await;
            }
            intake.accept_start(&caller, body).await
        })
        .await
    }

    /// Starts a run of a registered workflow.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn start_workflow(
        &self,
        caller: &Caller,
        id: &str,
        body: Value,
    ) -> Result<Run, IntakeError> {
        let (intake, caller, id) = (self.clone(), caller.clone(), id.to_owned());
        uncancelled(async move {
            if let Some(earlier) = intake.earlier(&caller).await? {
                return intake.start_again(&caller, earlier).await;
            }
            intake.accept_workflow_run(&caller, &id, body).await
        })
        .await
    }

    /// Imports an ended run as `GET /v1/runs/{id}` shows it, bare or in its envelope.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn import(&self, caller: &Caller, body: Value) -> Result<Run, IntakeError> {
        let (intake, caller) = (self.clone(), caller.clone());
        uncancelled(async move {
            if let Some(earlier) = intake.earlier(&caller).await? {
                return intake.import_again(&caller, earlier).await;
            }
            intake.accept_import(&caller, body).await
        })
        .await
    }

    /// Ends the wait of a node with what came for it.
    ///
    /// # Errors
    /// The data nests too deep, or the ledger did not answer.
    pub async fn resume(
        &self,
        caller: &Caller,
        run: &RunId,
        path: &NodePath,
        data: JsonText,
    ) -> Result<Resumed, IntakeError> {
        let value = data
            .value()
            .map_err(|error| body::invalid(error.to_string()))?;
        body::user_json(&value, "data")?;
        let (store, now) = (self.store.clone(), self.clock.now());
        let (organization, id) = (caller.organization_id.clone(), run.clone());
        let path = path.clone();
        let resumed =
            uncancelled(async move { store.resume(&organization, &id, &path, &data, now).await });
        let resumed = resumed.await?;
        if resumed == Resumed::Resumed {
            faults::point("signal.written");
            self.hints.something_is_due();
            self.hints.resumed(run);
        }
        Ok(resumed)
    }

    /// Asks for the cancellation of a run.
    ///
    /// # Errors
    /// See [`IntakeError`].
    pub async fn cancel(&self, caller: &Caller, run: &RunId) -> Result<Run, IntakeError> {
        let (store, now) = (self.store.clone(), self.clock.now());
        let (organization, id) = (caller.organization_id.clone(), run.clone());
        let outcome =
            uncancelled(async move { store.request_cancel(&organization, &id, now).await });
        match outcome.await? {
            CancelOutcome::NotFound => Err(IntakeError::RunNotFound(run.to_string())),
            CancelOutcome::AlreadyEnded(run) => Err(IntakeError::AlreadyEnded {
                id: run.id,
                status: run.status.as_str(),
            }),
            CancelOutcome::Cancelled(run) => {
                let is_retry = run.trigger_source.as_deref() == Some(retry::TRIGGER_SOURCE);
                record_end(&run, run.status, is_retry, now);
                Ok(*run)
            }
            CancelOutcome::Requested(run) => {
                self.hints.cancel_requested(&run.id);
                Ok(*run)
            }
        }
    }

    fn definition_limits(&self) -> DefinitionLimits {
        DefinitionLimits {
            nodes: self.limits.nodes,
            payload_bytes: self.limits.payload_bytes,
            loop_depth: self.limits.loop_depth,
            ..DefinitionLimits::default()
        }
    }

    fn expression_limits(&self) -> ExpressionLimits {
        ExpressionLimits::from(&self.limits)
    }
}

/// Runs a write to its end even if the caller goes away: so it is known what became of it, and the
/// next one finds it.
async fn uncancelled<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> T {
    match tokio::spawn(work.in_current_span()).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => resume_unwind(panic),
            // The runtime is going down, and the caller with it.
            Err(_) => std::future::pending().await,
        },
    }
}

fn stored(definition: &Value) -> Result<StoredDefinition, IntakeError> {
    let text = JsonText::of(definition);
    let hash = format!("{:x}", Sha256::digest(text.as_str()));
    let hash = hash
        .parse()
        .map_err(|e: InvalidId| body::invalid(e.to_string()))?;
    Ok(StoredDefinition { hash, text })
}
