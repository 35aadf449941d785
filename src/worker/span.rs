//! The span of one delivery, under the trace of the request behind it.

use tracing::{Span, field::Empty};

use super::process::Work;
use crate::{
    broker::Message,
    domain::{RetryId, RunId, join_trace},
};

/// The span that everything done for a message is part of.
pub(super) fn span(work: &Work, system: Option<&'static str>) -> Span {
    let (run_id, retry_id, organization_id) = match &work.message {
        Message::Dispatch(dispatch) => (
            Some(&dispatch.run_id),
            dispatch.retry_id.as_ref(),
            &dispatch.organization_id,
        ),
        Message::Intent(intent) => (
            intent.run_id.as_ref(),
            Some(&intent.retry_id),
            &intent.organization_id,
        ),
    };
    let span = tracing::info_span!(
        "process",
        otel.name = Empty,
        otel.kind = Empty,
        otel.status_code = Empty,
        messaging.system = system,
        run_id = run_id.map(RunId::as_str),
        source_run_id = Empty,
        organization_id = organization_id.as_str(),
        retry_id = retry_id.map(RetryId::as_str),
    );
    let parent = work.traceparent.as_deref();
    join_trace(&span, parent, "process redrive", "consumer");
    span
}
