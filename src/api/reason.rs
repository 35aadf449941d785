//! The stable words for why a request is refused, each with its HTTP status and code.

use axum::http::StatusCode;

use crate::domain::RefusalReason;

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
    /// No such dead letter.
    DeadLetterNotFound = "dead_letter_not_found", 404_000;
    /// No such workflow in the caller's organisation.
    WorkflowNotFound = "workflow_not_found", 404_000;
    /// No such variable on the workflow.
    VariableNotFound = "variable_not_found", 404_000;
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
            RefusalReason::InvalidRequest => Self::InvalidRequest,
            RefusalReason::PlanChanged => Self::PlanChanged,
            RefusalReason::DefinitionIncompatible => Self::DefinitionIncompatible,
            RefusalReason::WorkflowNotFound => Self::WorkflowNotFound,
            RefusalReason::RateLimited => Self::RateLimited,
            // Found after acceptance or for published intents only: no request is refused so.
            RefusalReason::WorkersLost | RefusalReason::RunNotFound | RefusalReason::RunExists => {
                Self::Internal
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
                ("dead_letter_not_found", 404, 404_000),
                ("workflow_not_found", 404, 404_000),
                ("variable_not_found", 404, 404_000),
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
}
