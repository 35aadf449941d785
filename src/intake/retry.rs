//! Accepting one retry.

use serde_json::{Map, Value};

use super::{Caller, Intake, IntakeError, Planned, Request, request::check_not_before};
use crate::{
    config::LimitsConfig,
    domain::{
        JsonText, Lane, Retry, RetryId, RetryState, Run, RunId, RunStatus, Timestamp, WaitingFor,
    },
    faults,
    store::{NewRetry, RetryTerms},
};

/// How a retry's run came to be.
pub(super) const TRIGGER_SOURCE: &str = "retry";

impl Intake {
    pub(super) async fn accept_retry(
        &self,
        caller: &Caller,
        source: &RunId,
        request: Request,
    ) -> Result<(Run, Retry), IntakeError> {
        let organization = &caller.organization_id;
        let now = self.clock.now();
        check_not_before(&request, now)?;
        let _turn = self.turns.take(source).await;
        let planned = Planned::load(&self.store, organization, source, &request, None).await?;
        let planned = planned.ok_or_else(|| IntakeError::RunNotFound(source.to_string()))?;
        let planned = planned.and_then(|planned| planned.check_hash().map(|()| planned));
        let planned = match planned {
            Ok(planned) => planned,
            Err(refusal) if refusal.is_invalid_request() => return Err(refusal.into()),
            // The chain comes first: nobody is asked to confirm what would be refused all the same.
            Err(refusal) => {
                let terms = terms(&self.limits, &request);
                let by_chain = self
                    .store
                    .retry_refusal(organization, source, &terms)
                    .await?;
                return Err(by_chain.unwrap_or(refusal).into());
            }
        };
        let run = header(&planned, caller, &request, now);
        let new = new_retry(&self.limits, &planned, run, caller, request, now);
        let accepted = match self.store.accept_retry(&new, caller.key.as_ref()).await? {
            Ok(accepted) => accepted?,
            Err(earlier) => return self.retry_again(caller, earlier).await,
        };
        faults::point("retry.accepted");
        self.hints.something_is_due();
        Ok(accepted)
    }
}

/// The retry of a planned source whose outcome will be `run`.
pub(super) fn new_retry(
    limits: &LimitsConfig,
    planned: &Planned,
    run: Run,
    caller: &Caller,
    request: Request,
    now: Timestamp,
) -> NewRetry {
    let due_at = request.not_before.filter(|time| *time > now);
    let terms = terms(limits, &request);
    let retry = Retry {
        id: RetryId::generate(now),
        organization_id: caller.organization_id.clone(),
        source_run_id: planned.source.id.clone(),
        run_id: Some(run.id.clone()),
        root_run_id: Some(planned.source.root_run_id.clone()),
        ordinal: None,
        state: match due_at {
            Some(_) => RetryState::Scheduled,
            None => RetryState::Queued,
        },
        lane: request.lane.unwrap_or(Lane::Interactive),
        request: request.frozen(),
        reason: request.reason,
        triggered_by: caller.actor.clone(),
        refusal: None,
        created_at: now,
        updated_at: now,
    };
    NewRetry {
        retry,
        run,
        terms,
        due_at,
        traceparent: caller.traceparent.clone(),
    }
}

/// What a retry with this request may follow.
pub(super) fn terms(limits: &LimitsConfig, request: &Request) -> RetryTerms {
    RetryTerms {
        chain_limit: limits.chain_length,
        include_partial: request.include_partial,
        live_limit: limits.live_limit(),
        allow_again: request.allow_again,
    }
}

/// The header of the new run: what goes over from its source, with what the request changes, and
/// nothing that is its own yet.
pub(super) fn header(planned: &Planned, caller: &Caller, request: &Request, now: Timestamp) -> Run {
    let source = &planned.source;
    let is_later = request.not_before.is_some_and(|time| time > now);
    Run {
        id: RunId::generate(now),
        source_run_id: Some(source.id.clone()),
        status: RunStatus::Waiting,
        waiting_for: Some(if is_later {
            WaitingFor::Schedule
        } else {
            WaitingFor::Queue
        }),
        created: false,
        definition_hash: Some(planned.definition_hash.clone()),
        workflow_version: planned.workflow_version,
        prop_values: merged(&source.prop_values, request),
        trigger_source: Some(TRIGGER_SOURCE.to_owned()),
        triggered_by: caller.actor.clone(),
        summary: None,
        total_cu: JsonText::trusted("0"),
        created_at: now,
        started_at: None,
        finished_at: None,
        cancel_requested_at: None,
        ..source.clone()
    }
}

/// The source's `propValues` with the request's over them.
fn merged(of_source: &JsonText, request: &Request) -> JsonText {
    if request.prop_values.is_empty() {
        return of_source.clone();
    }
    let mut members = match of_source.value() {
        Ok(Value::Object(members)) => members,
        _ => Map::new(),
    };
    members.extend(request.prop_values.clone());
    JsonText::of(&Value::Object(members))
}
