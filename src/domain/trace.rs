//! The W3C trace context: how one trace goes on from a request over a stored row and a message to
//! the last node.
//!
//! Only `traceparent` is carried. `tracestate` is not: it belongs to the vendor of the caller's
//! tracing, and a row that outlives the caller's trace has no use for it.
//!
//! Without an exporter spans have no context: nothing here does anything then, and what a caller
//! sent is passed on as it came.

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Whether the text has the form of a trace context: `00-<trace>-<span>-<flags>`.
#[must_use]
pub fn is_traceparent(text: &str) -> bool {
    read(text).is_some()
}

/// Puts a span that was just made, and not yet entered, under the context that came with a request
/// or a message; without one that can be read it begins a trace. In the export it has the name and
/// the kind given here, for which it needs the fields `otel.name` and `otel.kind`.
pub fn join_trace(span: &Span, parent: Option<&str>, name: &str, kind: &str) {
    let parent = parent.and_then(read).map_or_else(Context::new, |parent| {
        Context::new().with_remote_span_context(parent)
    });
    if span.set_parent(parent).is_ok() {
        span.record("otel.name", name);
        span.record("otel.kind", kind);
    }
}

/// The context of a span, as it is stored and sent; none without an exporter.
#[must_use]
pub fn traceparent_of(span: &Span) -> Option<String> {
    let context = span.context();
    let span = context.span();
    let context = span.span_context();
    context.is_valid().then(|| {
        format!(
            "00-{}-{}-{:02x}",
            context.trace_id(),
            context.span_id(),
            context.trace_flags().to_u8() & TraceFlags::SAMPLED.to_u8()
        )
    })
}

fn read(text: &str) -> Option<SpanContext> {
    let is_hex = |part: &str, digits| {
        part.len() == digits && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
    };
    let [version, trace, span, flags] = text.split('-').collect::<Vec<_>>().try_into().ok()?;
    let has_form = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(span, 16)
        && is_hex(flags, 2);
    if !has_form {
        return None;
    }
    let flags = TraceFlags::new(u8::from_str_radix(flags, 16).ok()?);
    let context = SpanContext::new(
        TraceId::from_hex(trace).ok()?,
        SpanId::from_hex(span).ok()?,
        flags & TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    context.is_valid().then_some(context)
}

#[cfg(test)]
mod tests {
    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    const GOOD: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn only_a_well_formed_trace_context_is_taken() {
        assert!(is_traceparent(GOOD));
        for bad in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-+bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ] {
            assert!(!is_traceparent(bad), "{bad}");
        }
    }

    #[test]
    fn without_an_exporter_a_span_has_no_context() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let span = tracing::info_span!("plain", otel.name = tracing::field::Empty);
            join_trace(&span, Some(GOOD), "name", "server");
            assert_eq!(traceparent_of(&span), None);
        });
        assert_eq!(traceparent_of(&Span::none()), None);
    }

    #[test]
    fn a_span_goes_on_with_the_trace_it_is_put_under_and_says_whether_it_is_sampled() {
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let layer = tracing_opentelemetry::layer().with_tracer(tracer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let context_under = |parent: Option<&str>| {
                let span = tracing::info_span!("exported");
                join_trace(&span, parent, "name", "server");
                traceparent_of(&span).unwrap()
            };
            let unsampled = GOOD.replace("-01", "-00");
            for parent in [GOOD, unsampled.as_str()] {
                let own = context_under(Some(parent));
                assert!(is_traceparent(&own), "{own}");
                assert_eq!(own[..36], parent[..36]);
                assert_ne!(own[36..52], parent[36..52]);
                assert_eq!(own[52..], parent[52..]);
            }
            for none in [None, Some("00-nonsense-01")] {
                assert_ne!(context_under(none)[..36], GOOD[..36]);
            }
        });
    }
}
