//! A refused request: its reason, a sentence, and what the caller may need to go on.

use std::{error::Error, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderValue, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::envelope::Outcome;
pub(super) use super::reason::Reason;
use crate::{
    domain::{NodePath, Refusal, RefusalReason},
    intake::IntakeError,
    store::StoreError,
};

/// A refused request.
#[derive(Debug, Clone)]
pub(super) struct ApiError(Box<Facts>);

#[derive(Debug, Clone)]
struct Facts {
    reason: Reason,
    message: String,
    details: Vec<Value>,
    /// Members of `error` beside `reason`.
    members: Map<String, Value>,
    /// What `WWW-Authenticate` says.
    challenge: Option<String>,
    /// What went wrong inside: logged, never shown.
    cause: Option<Arc<dyn Error + Send + Sync>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Envelope<'a> {
    code: u32,
    message: &'a str,
    details: &'a [Value],
    request_id: &'a str,
    error: Members<'a>,
}

#[derive(Serialize)]
struct Members<'a> {
    reason: &'static str,
    #[serde(flatten)]
    others: &'a Map<String, Value>,
}

impl ApiError {
    /// A refusal with its sentence.
    pub(super) fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self(Box::new(Facts {
            reason,
            message: message.into(),
            details: Vec::new(),
            members: Map::new(),
            challenge: None,
            cause: None,
        }))
    }

    /// 400: one member or parameter is wrong.
    pub(super) fn invalid_field(field: &str, why: &str) -> Self {
        let message = format!("{field}: {why}");
        let mut error = Self::new(Reason::InvalidRequest, message);
        error
            .0
            .details
            .push(json!({"field": field, "message": why}));
        error
    }

    /// 401 or 403, with its challenge.
    pub(super) fn challenged(reason: Reason, message: &str, challenge: String) -> Self {
        let mut error = Self::new(reason, message);
        error.0.challenge = Some(challenge);
        error
    }

    /// 404: no such run. Another organisation's run has the same answer.
    pub(super) fn run_not_found() -> Self {
        Self::new(Reason::RunNotFound, "there is no such run")
    }

    /// 404: no such retry. Another organisation's retry has the same answer.
    pub(super) fn retry_not_found() -> Self {
        Self::new(Reason::RetryNotFound, "there is no such retry")
    }

    /// 404: no such dead letter.
    pub(super) fn dead_letter_not_found() -> Self {
        Self::new(Reason::DeadLetterNotFound, "there is no such dead letter")
    }

    /// 404: no such workflow. Another organisation's workflow has the same answer.
    pub(super) fn workflow_not_found() -> Self {
        Self::new(Reason::WorkflowNotFound, "there is no such workflow")
    }

    /// 404: the workflow declares no such variable that outlives a run.
    pub(super) fn variable_not_found() -> Self {
        let message = "the workflow declares no such variable with lifetime \"persist\"";
        Self::new(Reason::VariableNotFound, message)
    }

    /// 500: the cause is logged, and not shown.
    pub(super) fn internal(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let mut error = Self::new(Reason::Internal, "an internal error; the log has more");
        error.0.cause = Some(cause);
        error
    }

    /// Why.
    pub(super) fn reason(&self) -> Reason {
        self.0.reason
    }

    /// What went wrong inside.
    pub(super) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.0.cause.as_deref()
    }

    /// Adds a member of `error`.
    fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.0.members.insert(name.into(), value.into());
        }
        self
    }

    /// Adds a list as a member of `error`, unless it is empty.
    fn with_texts(mut self, name: &str, texts: &[String]) -> Self {
        if !texts.is_empty() {
            let texts = texts.iter().map(|text| Value::from(text.as_str()));
            self.0.members.insert(name.into(), texts.collect());
        }
        self
    }

    /// What it says, as a value inside a success.
    pub(super) fn to_value(&self) -> Value {
        let mut value = self.0.members.clone();
        value.insert("reason".into(), self.0.reason.word().into());
        value.insert("code".into(), self.0.reason.code().into());
        value.insert("message".into(), self.0.message.clone().into());
        Value::Object(value)
    }

    /// The headers that belong to the reason.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let challenge = self.0.challenge.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(challenge)) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if matches!(
            self.0.reason,
            Reason::Unavailable | Reason::RateLimited | Reason::IdempotencyInFlight
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }

    /// The body.
    pub(super) fn envelope<'a>(&'a self, request_id: &'a str) -> Envelope<'a> {
        Envelope {
            code: self.0.reason.code(),
            message: &self.0.message,
            details: &self.0.details,
            request_id,
            error: Members {
                reason: self.0.reason.word(),
                others: &self.0.members,
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Outcome::Refusal(self).into_response()
    }
}

impl From<StoreError> for ApiError {
    /// Only what a later try may find otherwise is 503; all else is a fault of this program or of
    /// its surroundings.
    fn from(error: StoreError) -> Self {
        let message = if matches!(error, StoreError::Unavailable(_)) {
            "the database is not available: try again"
        } else if matches!(error, StoreError::InDoubt(_)) {
            "the database was lost while it stored this: read before you repeat"
        } else {
            return Self::internal(Arc::new(error));
        };
        let mut refusal = Self::new(Reason::Unavailable, message);
        refusal.0.cause = Some(Arc::new(error));
        refusal
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let run = refusal.run_id.as_ref().map(AsRef::as_ref);
        let retry = refusal.retry_id.as_ref().map(AsRef::as_ref);
        let error = Self::new(refusal.reason.into(), refusal.message)
            .with("runId", run)
            .with("retryId", retry)
            .with("planHash", refusal.plan_hash.as_deref())
            .with_texts("differences", &refusal.differences);
        match refusal.reason {
            RefusalReason::AlreadyRetried => error.with("retriedByRunId", run),
            RefusalReason::ConfirmationRequired => {
                let paths: Vec<_> = refusal.paths.iter().map(NodePath::to_string).collect();
                error.with_texts("paths", &paths)
            }
            RefusalReason::RunStillActive
            | RefusalReason::RunNotRetryable
            | RefusalReason::RetryInProgress
            | RefusalReason::MissingState
            | RefusalReason::WorkersLost
            | RefusalReason::RunNotFound
            | RefusalReason::RunExists
            | RefusalReason::InvalidRequest
            | RefusalReason::PlanChanged
            | RefusalReason::DefinitionIncompatible
            | RefusalReason::WorkflowNotFound
            | RefusalReason::RateLimited => error,
        }
    }
}

impl From<IntakeError> for ApiError {
    fn from(error: IntakeError) -> Self {
        let message = error.to_string();
        match error {
            IntakeError::InvalidRequest(_) => Self::new(Reason::InvalidRequest, message),
            IntakeError::InvalidDefinition(_) => Self::new(Reason::InvalidDefinition, message),
            IntakeError::NotManualTrigger(_) => Self::new(Reason::NotManualTrigger, message),
            IntakeError::InvalidRunId(_) => Self::new(Reason::InvalidRunId, message),
            IntakeError::StartExists(id) => {
                Self::new(Reason::StartExists, message).with("runId", Some(id.as_str()))
            }
            IntakeError::ImportExists(id) => {
                Self::new(Reason::ImportExists, message).with("runId", Some(id.as_str()))
            }
            IntakeError::RunNotFound(_) => Self::run_not_found(),
            IntakeError::WorkflowNotFound => Self::workflow_not_found(),
            IntakeError::Refused(refusal) => (*refusal).into(),
            IntakeError::AlreadyEnded { id, status } => Self::new(Reason::RunAlreadyEnded, message)
                .with("runId", Some(id.as_str()))
                .with("status", Some(status)),
            IntakeError::KeyInFlight => Self::new(Reason::IdempotencyInFlight, message),
            IntakeError::KeyReused => Self::new(Reason::IdempotencyKeyReused, message),
            IntakeError::Store(error) => error.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::RunStatus;

    fn shown(error: impl Into<ApiError>) -> Value {
        serde_json::to_value(error.into().envelope("req-1")).unwrap()
    }

    #[test]
    fn a_refusal_names_where_to_go_on() {
        let [source, head] = ["run_a", "run_b"].map(|id| id.parse().unwrap());
        let retried = shown(Refusal::already_retried(&source, &head));
        assert_eq!(
            retried,
            json!({
                "code": 409_004,
                "message": "run run_a has been retried: retry the newest run, run_b",
                "details": [],
                "requestId": "req-1",
                "error": {"reason": "already_retried", "runId": "run_b", "retriedByRunId": "run_b"},
            })
        );
        let live = shown(Refusal::in_progress(
            &source,
            &"rty_1".parse().unwrap(),
            &head,
        ));
        assert_eq!(
            live["error"],
            json!({"reason": "retry_in_progress", "runId": "run_b", "retryId": "rty_1"})
        );
        let active = shown(Refusal::still_active(&source, RunStatus::Running));
        assert_eq!(active["error"], json!({"reason": "run_still_active"}));
    }

    #[test]
    fn what_intake_refuses_has_its_reason() {
        let id: crate::domain::RunId = "run_a".parse().unwrap();
        let cases = [
            (IntakeError::InvalidRequest("no".into()), 400_000),
            (IntakeError::InvalidDefinition("no".into()), 400_228),
            (IntakeError::NotManualTrigger("no".into()), 400_229),
            (IntakeError::InvalidRunId("no".into()), 400_078),
            (IntakeError::StartExists(id.clone()), 400_079),
            (IntakeError::ImportExists(id.clone()), 409_009),
            (IntakeError::RunNotFound("run_a".into()), 404_000),
            (IntakeError::KeyInFlight, 409_010),
            (IntakeError::KeyReused, 422_000),
            (Refusal::rate_limited(2).into(), 429_000),
            (
                IntakeError::AlreadyEnded {
                    id,
                    status: "success",
                },
                409_011,
            ),
            (StoreError::UnknownScheme.into(), 500_000),
            (
                StoreError::Unavailable(sqlx::Error::PoolTimedOut).into(),
                503_000,
            ),
            (StoreError::InDoubt(sqlx::Error::PoolClosed).into(), 503_000),
        ];
        for (error, code) in cases {
            let name = format!("{error:?}");
            assert_eq!(shown(error)["code"], code, "{name}");
        }
    }

    #[test]
    fn an_internal_error_shows_nothing_of_its_cause() {
        let error = ApiError::from(StoreError::Inconsistent {
            table: "runs",
            column: "status",
            row: "run_secret".into(),
            why: "hunter2".into(),
        });
        assert!(error.cause().is_some());
        let text = serde_json::to_string(&error.envelope("req-1")).unwrap();
        assert!(
            !text.contains("hunter2") && !text.contains("runs"),
            "{text}"
        );
    }

    #[test]
    fn an_absent_database_asks_to_come_back() {
        let response = ApiError::from(StoreError::Unavailable(sqlx::Error::PoolTimedOut));
        assert_eq!(response.into_response().headers()[header::RETRY_AFTER], "1");
    }
}
