//! Why a request is refused: a stable reason with its HTTP status and code, and a sentence.

use std::{error::Error, sync::Arc};

use axum::{
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::envelope::Outcome;
use crate::{
    domain::{Refusal, RefusalReason},
    intake::IntakeError,
    store::StoreError,
};

macro_rules! reasons {
    ($( $(#[$doc:meta])* $name:ident = $word:literal, $code:literal; )*) => {
        /// The stable word for why a request is refused. The code is the HTTP status and three
        /// digits.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $( $(#[$doc])* $name, )*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name),*];

            /// The word in `error.reason`.
            #[must_use]
            pub const fn word(self) -> &'static str {
                match self { $(Self::$name => $word,)* }
            }

            /// The number in `code`.
            #[must_use]
            pub const fn code(self) -> u32 {
                match self { $(Self::$name => $code,)* }
            }
        }
    };
}

reasons! {
    /// The request is not what this call takes.
    InvalidRequest = "invalid_request", 400_000;
    /// The run id in the body is none.
    InvalidRunId = "invalid_run_id", 400_078;
    /// A start names a run that exists.
    StartExists = "run_exists", 400_079;
    /// The definition can't be run.
    InvalidDefinition = "invalid_definition", 400_228;
    /// The trigger can't be fired by hand.
    NotManualTrigger = "not_manual_trigger", 400_229;
    /// No token, or none that is known.
    Unauthorized = "unauthorized", 401_000;
    /// The token lacks a scope.
    Forbidden = "forbidden", 403_000;
    /// No such run in the caller's organisation.
    RunNotFound = "run_not_found", 404_000;
    /// No such retry in the caller's organisation.
    RetryNotFound = "retry_not_found", 404_000;
    /// No such route.
    RouteNotFound = "route_not_found", 404_000;
    /// The route has no such method.
    MethodNotAllowed = "method_not_allowed", 405_000;
    /// The request's body did not arrive in time.
    RequestTimeout = "request_timeout", 408_000;
    /// The source has not ended.
    RunStillActive = "run_still_active", 409_001;
    /// The source ended in a way that leaves nothing to retry.
    RunNotRetryable = "run_not_retryable", 409_002;
    /// The chain has a live retry.
    RetryInProgress = "retry_in_progress", 409_003;
    /// The source has been retried.
    AlreadyRetried = "already_retried", 409_004;
    /// The plan repeats what somebody must confirm.
    ConfirmationRequired = "confirmation_required", 409_005;
    /// The plan is not the one that was confirmed.
    PlanChanged = "plan_changed", 409_006;
    /// The stored state does not fit the definition.
    DefinitionIncompatible = "definition_incompatible", 409_007;
    /// The source lacks what a resume needs.
    MissingState = "missing_state", 409_008;
    /// An import names a run that exists.
    ImportExists = "run_exists", 409_009;
    /// A request with the same idempotency key is under way.
    IdempotencyInFlight = "idempotency_in_flight", 409_010;
    /// The run to cancel had ended.
    RunAlreadyEnded = "run_already_ended", 409_011;
    /// The body is too long.
    PayloadTooLarge = "payload_too_large", 413_000;
    /// The body is not JSON by its content type.
    UnsupportedMediaType = "unsupported_media_type", 415_000;
    /// The idempotency key belongs to another request.
    IdempotencyKeyReused = "idempotency_key_reused", 422_000;
    /// Too many requests.
    RateLimited = "rate_limited", 429_000;
    /// A fault of this program.
    Internal = "internal", 500_000;
    /// The ledger is away: try again.
    Unavailable = "unavailable", 503_000;
}

impl Reason {
    /// The HTTP status: the code without its last three digits.
    #[must_use]
    pub fn status(self) -> StatusCode {
        u16::try_from(self.code() / 1_000)
            .ok()
            .and_then(|status| StatusCode::from_u16(status).ok())
            .unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

impl From<RefusalReason> for Reason {
    fn from(reason: RefusalReason) -> Self {
        match reason {
            RefusalReason::RunStillActive => Self::RunStillActive,
            RefusalReason::RunNotRetryable => Self::RunNotRetryable,
            RefusalReason::RetryInProgress => Self::RetryInProgress,
            RefusalReason::AlreadyRetried => Self::AlreadyRetried,
            RefusalReason::MissingState => Self::MissingState,
            RefusalReason::ConfirmationRequired => Self::ConfirmationRequired,
        }
    }
}

/// A refused request.
#[derive(Debug, Clone)]
pub(super) struct ApiError {
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
        Self {
            reason,
            message: message.into(),
            details: Vec::new(),
            members: Map::new(),
            challenge: None,
            cause: None,
        }
    }

    /// 400: one member or parameter is wrong.
    pub(super) fn invalid_field(field: &str, why: &str) -> Self {
        let message = format!("{field}: {why}");
        let mut error = Self::new(Reason::InvalidRequest, message);
        error.details.push(json!({"field": field, "message": why}));
        error
    }

    /// 401 or 403, with its challenge.
    pub(super) fn challenged(reason: Reason, message: &str, challenge: String) -> Self {
        let mut error = Self::new(reason, message);
        error.challenge = Some(challenge);
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

    /// 500: the cause is logged, and not shown.
    pub(super) fn internal(cause: Arc<dyn Error + Send + Sync>) -> Self {
        let mut error = Self::new(Reason::Internal, "an internal error; the log has more");
        error.cause = Some(cause);
        error
    }

    /// Why.
    pub(super) fn reason(&self) -> Reason {
        self.reason
    }

    /// What went wrong inside.
    pub(super) fn cause(&self) -> Option<&(dyn Error + Send + Sync)> {
        self.cause.as_deref()
    }

    /// Adds a member of `error`.
    fn with(mut self, name: &str, value: Option<&str>) -> Self {
        if let Some(value) = value {
            self.members.insert(name.into(), value.into());
        }
        self
    }

    /// The headers that belong to the reason.
    pub(super) fn add_headers(&self, headers: &mut HeaderMap) {
        let challenge = self.challenge.as_deref().map(HeaderValue::from_str);
        if let Some(Ok(challenge)) = challenge {
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        if self.reason == Reason::Unavailable {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
    }

    /// The body.
    pub(super) fn envelope<'a>(&'a self, request_id: &'a str) -> Envelope<'a> {
        Envelope {
            code: self.reason.code(),
            message: &self.message,
            details: &self.details,
            request_id,
            error: Members {
                reason: self.reason.word(),
                others: &self.members,
            },
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        Outcome::Refusal(Box::new(self)).into_response()
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) => {
                let message = "the database is not available: try again";
                let mut refusal = Self::new(Reason::Unavailable, message);
                refusal.cause = Some(Arc::new(error));
                refusal
            }
            StoreError::InDoubt(_) => {
                let message = "the database was lost while it stored this: read before you repeat";
                let mut refusal = Self::new(Reason::Unavailable, message);
                refusal.cause = Some(Arc::new(error));
                refusal
            }
            StoreError::UnknownScheme
            | StoreError::Driver(_)
            | StoreError::Inconsistent { .. }
            | StoreError::LockFile { .. }
            | StoreError::Locked { .. }
            | StoreError::Migration(_) => Self::internal(Arc::new(error)),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        let run = refusal.run_id.as_ref().map(AsRef::as_ref);
        let retry = refusal.retry_id.as_ref().map(AsRef::as_ref);
        let error = Self::new(refusal.reason.into(), refusal.message)
            .with("runId", run)
            .with("retryId", retry);
        match refusal.reason {
            RefusalReason::AlreadyRetried => error.with("retriedByRunId", run),
            RefusalReason::RunStillActive
            | RefusalReason::RunNotRetryable
            | RefusalReason::RetryInProgress
            | RefusalReason::MissingState
            | RefusalReason::ConfirmationRequired => error,
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
            IntakeError::Refused(refusal) => (*refusal).into(),
            IntakeError::AlreadyEnded { id, status } => Self::new(Reason::RunAlreadyEnded, message)
                .with("runId", Some(id.as_str()))
                .with("status", Some(status)),
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
    fn every_reason_has_its_status_and_code() {
        let table: Vec<_> = Reason::ALL
            .iter()
            .map(|r| (r.word(), r.status().as_u16(), r.code()))
            .collect();
        assert_eq!(
            table,
            [
                ("invalid_request", 400, 400_000),
                ("invalid_run_id", 400, 400_078),
                ("run_exists", 400, 400_079),
                ("invalid_definition", 400, 400_228),
                ("not_manual_trigger", 400, 400_229),
                ("unauthorized", 401, 401_000),
                ("forbidden", 403, 403_000),
                ("run_not_found", 404, 404_000),
                ("retry_not_found", 404, 404_000),
                ("route_not_found", 404, 404_000),
                ("method_not_allowed", 405, 405_000),
                ("request_timeout", 408, 408_000),
                ("run_still_active", 409, 409_001),
                ("run_not_retryable", 409, 409_002),
                ("retry_in_progress", 409, 409_003),
                ("already_retried", 409, 409_004),
                ("confirmation_required", 409, 409_005),
                ("plan_changed", 409, 409_006),
                ("definition_incompatible", 409, 409_007),
                ("missing_state", 409, 409_008),
                ("run_exists", 409, 409_009),
                ("idempotency_in_flight", 409, 409_010),
                ("run_already_ended", 409, 409_011),
                ("payload_too_large", 413, 413_000),
                ("unsupported_media_type", 415, 415_000),
                ("idempotency_key_reused", 422, 422_000),
                ("rate_limited", 429, 429_000),
                ("internal", 500, 500_000),
                ("unavailable", 503, 503_000),
            ]
        );
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
