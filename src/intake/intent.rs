//! Accepting a retry that was published instead of requested.

use super::{
    Caller, Intake, IntakeError, Planned, Request,
    request::check_not_before,
    retry::{header, new_retry},
};
use crate::{
    broker::{Dispatch, Intent, Message},
    domain::{
        JsonText, Lane, OrganizationId, Refusal, Retry, RetryId, RetryState, RunId, same_value,
    },
    store::{AcceptedIntent, NewRetry, StoreError},
};

/// What became of a published intent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IntentOutcome {
    /// It is a retry, as if it had been requested; its run needs a worker.
    Accepted(RunId),
    /// It is stored as a refused retry.
    Refused,
    /// It came before.
    Duplicate,
    /// It can't be used, now or later.
    Unusable(Unusable),
}

/// Why a message can't be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// The word for it.
    pub reason: &'static str,
    /// The sentence for it.
    pub message: String,
}

impl Unusable {
    fn new(reason: &'static str, message: impl Into<String>) -> Self {
        Self {
            reason,
            message: message.into(),
        }
    }
}

impl Intake {
    /// Accepts an intent that came through `lane`, or records its refusal. The same one again, in
    /// this process or another, changes nothing.
    ///
    /// # Errors
    /// The ledger did not answer: nothing was decided.
    pub async fn intent(
        &self,
        intent: &Intent,
        lane: Lane,
        traceparent: Option<String>,
    ) -> Result<IntentOutcome, StoreError> {
        if !self.accept_intents {
            return Ok(IntentOutcome::Unusable(not_accepted()));
        }
        let text = intent.to_text();
        let earlier = self
            .store
            .intent(&intent.organization_id, &intent.retry_id)
            .await?;
        if let Some(earlier) = earlier {
            return Ok(again(intent, &text, earlier.as_ref()));
        }
        let request = match request_of(intent) {
            Ok(request) => request,
            Err(unusable) => return Ok(IntentOutcome::Unusable(unusable)),
        };
        if let Err(error) = check_not_before(&request, self.clock.now()) {
            let unusable = Unusable::new("invalid_message", error.to_string());
            return Ok(IntentOutcome::Unusable(unusable));
        }
        let caller = Caller {
            organization_id: intent.organization_id.clone(),
            actor: intent.triggered_by.clone(),
            traceparent,
            key: None,
        };
        let lane = intent.lane.or(request.lane).unwrap_or(lane);
        let (intake, intent) = (self.clone(), intent.clone());
        super::uncancelled(async move {
            intake
                .store_intent(&intent, &text, request, &caller, lane)
                .await
        })
        .await
    }

    /// Accepts the retry of a run that another run waits for, or records its refusal, whether or
    /// not published intents are accepted. The same one again changes nothing.
    ///
    /// # Errors
    /// The ledger did not answer: nothing was decided.
    pub async fn child_retry(
        &self,
        id: RetryId,
        organization: OrganizationId,
        source: RunId,
        parent: &RunId,
    ) -> Result<(), StoreError> {
        if self.store.intent(&organization, &id).await?.is_some() {
            return Ok(());
        }
        let intent = Intent::of_parent(id, source, organization, parent);
        let caller = Caller {
            organization_id: intent.organization_id.clone(),
            actor: intent.triggered_by.clone(),
            traceparent: None,
            key: None,
        };
        let (intake, request) = (self.clone(), Request::default());
        super::uncancelled(async move {
            let text = intent.to_text();
            intake
                .store_intent(&intent, &text, request, &caller, Lane::Interactive)
                .await
        })
        .await?;
        Ok(())
    }

    async fn store_intent(
        &self,
        intent: &Intent,
        text: &JsonText,
        request: Request,
        caller: &Caller,
        lane: Lane,
    ) -> Result<IntentOutcome, StoreError> {
        let source = &intent.source_run_id;
        let organization = &caller.organization_id;
        let planned = Planned::load(&self.store, organization, source, &request, None).await?;
        let planned = planned
            .map(|planned| planned.and_then(|planned| planned.check_hash().map(|()| planned)));
        let refusal = match planned {
            Some(Ok(planned)) => {
                let new = self.new_retry(intent, &planned, &request, caller, lane);
                match self.store.accept_intent(&new, text).await? {
                    AcceptedIntent::Accepted(accepted) => {
                        self.hints.something_is_due();
                        return Ok(IntentOutcome::Accepted(accepted.0.id));
                    }
                    AcceptedIntent::Exists(earlier) => {
                        return Ok(again(intent, text, earlier.as_ref()));
                    }
                    AcceptedIntent::Refused(refusal) => refusal,
                }
            }
            Some(Err(refusal)) => refusal,
            None => Refusal::run_not_found(source),
        };
        let refused = self.refused(intent, request, caller, lane, refusal);
        if self.store.refuse_intent(&refused, text).await? {
            return Ok(IntentOutcome::Refused);
        }
        let (organization, id) = (&refused.organization_id, &refused.id);
        let earlier = self.store.intent(organization, id).await?.flatten();
        Ok(again(intent, text, earlier.as_ref()))
    }

    fn new_retry(
        &self,
        intent: &Intent,
        planned: &Planned,
        request: &Request,
        caller: &Caller,
        lane: Lane,
    ) -> NewRetry {
        let now = self.clock.now();
        let mut run = header(planned, caller, request, now);
        if let Some(id) = &intent.run_id {
            run.id = id.clone();
        }
        let mut new = new_retry(&self.limits, planned, run, caller, request.clone(), now);
        new.retry.id = intent.retry_id.clone();
        new.retry.lane = lane;
        // Nobody is there to come back later.
        new.terms.live_limit = None;
        new
    }

    /// The record of an intent that never became a retry: it has no run.
    fn refused(
        &self,
        intent: &Intent,
        request: Request,
        caller: &Caller,
        lane: Lane,
        refusal: Refusal,
    ) -> Retry {
        let now = self.clock.now();
        Retry {
            id: intent.retry_id.clone(),
            organization_id: intent.organization_id.clone(),
            source_run_id: intent.source_run_id.clone(),
            run_id: None,
            root_run_id: None,
            ordinal: None,
            state: RetryState::Refused,
            lane,
            request: request.frozen(),
            reason: request.reason,
            triggered_by: caller.actor.clone(),
            refusal: Some(refusal),
            created_at: now,
            updated_at: now,
        }
    }

    /// Why a message can't be used, if that can be seen from it and from the ledger: what the
    /// broker says of a dead letter is only that it was rejected.
    ///
    /// # Errors
    /// The ledger did not answer.
    pub async fn examine(&self, body: &[u8]) -> Result<Option<Unusable>, StoreError> {
        match Message::from_bytes(body) {
            Err(why) => Ok(Some(Unusable::new("invalid_message", why))),
            Ok(Message::Intent(intent)) => self.examine_intent(&intent).await,
            Ok(Message::Dispatch(dispatch)) => self.examine_dispatch(&dispatch).await,
        }
    }

    async fn examine_intent(&self, intent: &Intent) -> Result<Option<Unusable>, StoreError> {
        if !self.accept_intents {
            return Ok(Some(not_accepted()));
        }
        if let Err(unusable) = request_of(intent) {
            return Ok(Some(unusable));
        }
        let (organization, id) = (&intent.organization_id, &intent.retry_id);
        let earlier = self.store.intent(organization, id).await?;
        let outcome = earlier.map(|earlier| again(intent, &intent.to_text(), earlier.as_ref()));
        Ok(match outcome {
            Some(IntentOutcome::Unusable(unusable)) => Some(unusable),
            _ => None,
        })
    }

    async fn examine_dispatch(&self, dispatch: &Dispatch) -> Result<Option<Unusable>, StoreError> {
        let (organization, run) = (&dispatch.organization_id, &dispatch.run_id);
        let found = self.store.run(organization, run).await?;
        Ok(found.is_none().then(|| {
            let message = format!("there is no run {run} of organization {organization}");
            Unusable::new("run_not_found", message)
        }))
    }
}

/// The same id again: a duplicate if the content is the same too.
fn again(intent: &Intent, text: &JsonText, earlier: Option<&JsonText>) -> IntentOutcome {
    let is_same = earlier.is_some_and(
        |earlier| matches!((earlier.value(), text.value()), (Ok(a), Ok(b)) if same_value(&a, &b)),
    );
    if is_same {
        return IntentOutcome::Duplicate;
    }
    let message = format!(
        "there is a retry {} of organization {} with other content",
        intent.retry_id, intent.organization_id
    );
    IntentOutcome::Unusable(Unusable::new("retry_id_reused", message))
}

/// The request inside an intent; a reason of the intent's own goes before.
fn request_of(intent: &Intent) -> Result<Request, Unusable> {
    let body = intent.request.clone().map(serde_json::Value::Object);
    let invalid = |error: IntakeError| Unusable::new("invalid_message", error.to_string());
    let mut request = Request::read(body).map_err(invalid)?;
    if let Some(reason) = &intent.reason {
        request.set_reason(reason).map_err(invalid)?;
    }
    Ok(request)
}

fn not_accepted() -> Unusable {
    let message = "published retries are not accepted here: see broker.accept_external_intents";
    Unusable::new("intents_not_accepted", message)
}
