//! Accepting one retry.

use serde_json::Value;

use super::{
    Caller, Intake, IntakeError, Planned,
    body::{invalid, object, text},
};
use crate::{
    domain::{
        JsonText, Lane, Retry, RetryId, RetryState, Run, RunId, RunStatus, Timestamp, WaitingFor,
    },
    store::NewRetry,
};

/// Members that later versions take. They are refused by name, never ignored: a choice that is
/// silently dropped would repeat what its author meant to keep.
const LATER: [&str; 14] = [
    "fromNodeId",
    "mode",
    "includePartial",
    "definition",
    "propValues",
    "variables",
    "nodeResults",
    "acknowledge",
    "newEffectKey",
    "allowAgain",
    "planHash",
    "notBefore",
    "lane",
    "dryRun",
];

/// The longest `reason`, in characters.
const MOST_REASON: usize = 1_000;

/// How a retry's run came to be.
pub(super) const TRIGGER_SOURCE: &str = "retry";

/// A request body that has been read.
#[derive(Debug, Clone)]
pub(super) struct Request {
    pub(super) text: JsonText,
    pub(super) reason: Option<String>,
}

impl Request {
    pub(super) fn read(body: Option<Value>) -> Result<Self, IntakeError> {
        let members = object(body.unwrap_or_else(|| Value::Object(serde_json::Map::new())))?;
        for name in members.keys() {
            if LATER.contains(&name.as_str()) {
                let message = format!("the member {name:?} is not supported by this version");
                return Err(invalid(message));
            }
            if name != "reason" {
                return Err(invalid(format!(
                    "unknown member {name:?}: a retry takes reason"
                )));
            }
        }
        let reason = text(&members, "reason")?;
        let mut request = Self {
            text: JsonText::of(&Value::Object(members)),
            reason: None,
        };
        if let Some(reason) = reason {
            request.set_reason(&reason)?;
        }
        Ok(request)
    }

    /// Gives it a reason, whatever it had.
    pub(super) fn set_reason(&mut self, reason: &str) -> Result<(), IntakeError> {
        if reason.chars().count() > MOST_REASON {
            return Err(invalid(format!(
                "reason must be at most {MOST_REASON} characters"
            )));
        }
        self.reason = Some(reason.to_owned());
        Ok(())
    }
}

impl Intake {
    pub(super) async fn accept_retry(
        &self,
        caller: &Caller,
        source: &RunId,
        request: Request,
    ) -> Result<(Run, Retry), IntakeError> {
        let organization = &caller.organization_id;
        let planned = Planned::load(&self.store, organization, source).await?;
        let planned = planned.ok_or_else(|| IntakeError::RunNotFound(source.to_string()))??;
        let now = self.clock.now();
        let run = header(&planned.source, caller, now);
        let new = NewRetry {
            retry: retry_of(&planned.source, &run, caller, request, now),
            run,
            chain_limit: self.limits.chain_length,
            traceparent: caller.traceparent.clone(),
        };
        let accepted = self.store.accept_retry(&new).await??;
        self.hints.something_is_due();
        Ok(accepted)
    }
}

/// The retry of `source` whose outcome will be `run`.
pub(super) fn retry_of(
    source: &Run,
    run: &Run,
    caller: &Caller,
    request: Request,
    now: Timestamp,
) -> Retry {
    Retry {
        id: RetryId::generate(now),
        organization_id: caller.organization_id.clone(),
        source_run_id: source.id.clone(),
        run_id: Some(run.id.clone()),
        root_run_id: Some(source.root_run_id.clone()),
        ordinal: None,
        state: RetryState::Queued,
        lane: Lane::Interactive,
        request: request.text,
        reason: request.reason,
        triggered_by: caller.actor.clone(),
        refusal: None,
        created_at: now,
        updated_at: now,
    }
}

/// The header of the new run: what goes over from its source, and nothing that is its own yet.
pub(super) fn header(source: &Run, caller: &Caller, now: Timestamp) -> Run {
    Run {
        id: RunId::generate(now),
        source_run_id: Some(source.id.clone()),
        status: RunStatus::Waiting,
        waiting_for: Some(WaitingFor::Queue),
        created: false,
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn refused(body: Value) -> String {
        Request::read(Some(body)).unwrap_err().to_string()
    }

    #[test]
    fn an_empty_body_is_the_contracts_behaviour() {
        assert_eq!(Request::read(None).unwrap().text.as_str(), "{}");
        assert_eq!(Request::read(Some(json!({}))).unwrap().reason, None);
        let request = Request::read(Some(json!({"reason": "target is back"}))).unwrap();
        assert_eq!(request.reason.as_deref(), Some("target is back"));
    }

    #[test]
    fn members_are_refused_by_name_never_ignored() {
        for name in LATER {
            let message = refused(json!({ name: null }));
            assert!(
                message.contains(name) && message.contains("not supported"),
                "{message}"
            );
        }
        assert!(refused(json!({"resaon": "typo"})).contains("resaon"));
        assert!(refused(json!({"reason": 7})).contains("must be a string"));
        assert!(refused(json!([])).contains("must be a JSON object"));
        assert!(refused(json!({"reason": "x".repeat(1_001)})).contains("at most 1000"));
    }
}
