//! Log lines that name their trace.

use std::fmt;

use opentelemetry::{Context, trace::TraceContextExt};
use tracing::{Event, Subscriber};
use tracing_subscriber::{
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Json, Writer},
    },
    registry::LookupSpan,
};

/// JSON lines that begin with `trace_id` and `span_id` when they belong to a trace that is exported.
#[derive(Debug)]
pub(super) struct WithTrace(pub(super) Format<Json>);

impl<S, N> FormatEvent<S, N> for WithTrace
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let Some(trace) = trace() else {
            return self.0.format_event(ctx, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(ctx, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{{trace},{rest}"),
            None => writer.write_str(&line),
        }
    }
}

/// The members that name the span which this thread is in.
fn trace() -> Option<String> {
    Context::map_current(|context| {
        let span = context.span();
        let context = span.span_context();
        context.is_valid().then(|| {
            let (trace, span) = (context.trace_id(), context.span_id());
            format!(r#""trace_id":"{trace}","span_id":"{span}""#)
        })
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use opentelemetry::trace::TracerProvider as _;
    use opentelemetry_sdk::trace::SdkTracerProvider;
    use tracing_subscriber::{Registry, layer::SubscriberExt as _};

    use super::*;
    use crate::domain::traceparent_of;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_inside_an_exported_span_names_it() {
        let written = Lines::default();
        let out = written.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_writer(move || out.clone())
            .json()
            .flatten_event(true)
            .map_event_format(WithTrace);
        let tracer = SdkTracerProvider::builder().build().tracer("test");
        let spans = tracing_opentelemetry::layer().with_tracer(tracer);
        let subscriber = Registry::default().with(spans).with(lines);
        let traceparent = tracing::subscriber::with_default(subscriber, || {
            tracing::info!("outside");
            let span = tracing::info_span!("work", run_id = "run_1");
            span.in_scope(|| tracing::info!(answer = 42, "inside"));
            traceparent_of(&span).unwrap()
        });
        let bytes = written.0.lock().unwrap().clone();
        let lines: Vec<serde_json::Value> = String::from_utf8(bytes)
            .unwrap()
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        assert_eq!(lines[0]["message"], "outside");
        assert!(lines[0].get("trace_id").is_none());
        let inside = &lines[1];
        assert_eq!(
            (&inside["message"], &inside["answer"]),
            (&"inside".into(), &42.into())
        );
        assert_eq!(inside["span"]["run_id"], "run_1");
        let named = [&inside["trace_id"], &inside["span_id"]].map(|id| id.as_str().unwrap());
        assert_eq!(traceparent[3..52], named.join("-"));
    }
}
