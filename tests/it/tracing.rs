//! One trace from the request over the message to the last node, exported by the real binary.

use std::{
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::{any, post},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    common::v1::{AnyValue, KeyValue, any_value},
    trace::v1::{Span, span::SpanKind, status::StatusCode as SpanStatus},
};
use prost::Message;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
    net::TcpListener,
    process::{Child, ChildStderr, Command},
    time::timeout,
};

use crate::support::app::client;

const PATIENCE: Duration = Duration::from_mins(1);
const TOKEN: &str = "a-token-of-the-test";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// What a node's own headers say.
const OWN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

/// A collector, and the target of HTTP nodes beside it.
#[derive(Clone, Default)]
struct Outside {
    url: String,
    exports: Arc<Mutex<Vec<ExportTraceServiceRequest>>>,
    /// The `traceparent` of each call.
    calls: Arc<Mutex<Vec<Option<String>>>>,
}

impl Outside {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let outside = Self {
            url: format!("http://{}", listener.local_addr().unwrap()),
            ..Self::default()
        };
        let router = Router::new()
            .route("/v1/traces", post(collect))
            .route("/target", any(answer))
            .with_state(outside.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        outside
    }

    fn spans(&self) -> Vec<Span> {
        let exports = self.exports.lock().unwrap();
        let resources = exports.iter().flat_map(|export| &export.resource_spans);
        let scopes = resources.flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    /// The span of a node, which has the name of its kind.
    fn node(&self, name: &str, id: &str) -> Span {
        self.one(name, |span| {
            span.name == name && text(&span.attributes, "node_id") == id
        })
    }

    fn span(&self, name: &str) -> Span {
        self.one(name, |span| span.name == name)
    }

    /// The one span of the caller's trace that is looked for.
    fn one(&self, name: &str, is_it: impl Fn(&Span) -> bool) -> Span {
        let is_it = |span: &Span| hex(&span.trace_id) == TRACE && is_it(span);
        let found: Vec<_> = self.spans().into_iter().filter(is_it).collect();
        assert_eq!(found.len(), 1, "{name}: {:#?}", self.spans());
        found[0].clone()
    }

    fn service_name(&self) -> String {
        let exports = self.exports.lock().unwrap();
        let resource = exports[0].resource_spans[0].resource.clone().unwrap();
        text(&resource.attributes, "service.name")
    }

    fn calls(&self) -> Vec<Option<String>> {
        self.calls.lock().unwrap().clone()
    }
}

async fn collect(State(outside): State<Outside>, headers: HeaderMap, body: Bytes) -> StatusCode {
    assert_eq!(headers["content-type"], "application/x-protobuf");
    let export = ExportTraceServiceRequest::decode(body).unwrap();
    outside.exports.lock().unwrap().push(export);
    StatusCode::OK
}

async fn answer(State(outside): State<Outside>, headers: HeaderMap) -> StatusCode {
    let traceparent = headers.get("traceparent");
    let traceparent = traceparent.map(|value| value.to_str().unwrap().to_owned());
    outside.calls.lock().unwrap().push(traceparent);
    StatusCode::OK
}

fn hex(bytes: &[u8]) -> String {
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// An attribute, as text.
fn text(attributes: &[KeyValue], key: &str) -> String {
    let found = attributes.iter().find(|attribute| attribute.key == key);
    let value = found.and_then(|attribute| attribute.value.clone());
    match value {
        Some(AnyValue {
            value: Some(any_value::Value::StringValue(text)),
        }) => text,
        Some(AnyValue {
            value: Some(any_value::Value::IntValue(number)),
        }) => number.to_string(),
        other => panic!("{key} is {other:?} in {attributes:#?}"),
    }
}

/// A development server that keeps nothing.
struct Server {
    child: Child,
    stderr: ChildStderr,
    url: String,
    http: reqwest::Client,
}

impl Server {
    async fn start(folder: &Path, variables: &[(&str, &str)]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redrive"));
        command
            .args(["dev", "--ephemeral", "--port", "0", "--token", TOKEN])
            .current_dir(folder)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(variables.iter().copied())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = timeout(PATIENCE, lines.next_line()).await.unwrap().unwrap();
        let first = first.expect("the server ended");
        let url = first
            .split_whitespace()
            .find(|word| word.starts_with("http"));
        Self {
            stderr: child.stderr.take().unwrap(),
            url: url.unwrap().to_owned(),
            http: client(),
            child,
        }
    }

    /// A request that has to be answered 200; gives the `data`.
    async fn call(&self, request: reqwest::RequestBuilder) -> Value {
        let response = request.bearer_auth(TOKEN).send().await.unwrap();
        let status = response.status();
        let mut body: Value = response.json().await.unwrap();
        assert_eq!(status, 200, "{body}");
        body["data"].take()
    }

    /// Imports a failed run and retries it under the trace of the caller; gives the new run once it
    /// has ended.
    async fn retry(&self, target: &str) -> Value {
        let import = self.http.post(format!("{}/v1/runs/import", self.url));
        self.call(import.json(&failed_run(target))).await;
        let retry = self
            .http
            .post(format!("{}/v1/runs/run_failed/retry", self.url));
        let traceparent = format!("00-{TRACE}-{CALLER}-01");
        let accepted = self.call(retry.header("traceparent", traceparent)).await;
        let run = accepted["id"].as_str().unwrap();
        let until = Instant::now() + PATIENCE;
        loop {
            let get = self.http.get(format!("{}/v1/runs/{run}", self.url));
            let run = self.call(get).await;
            if run["finishedAt"].is_string() {
                return run;
            }
            assert!(Instant::now() < until, "{run}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// SIGTERM; gives what the server logged, and how long its stop took.
    async fn stop(mut self) -> (String, Duration) {
        let id = self.child.id().unwrap().to_string();
        let asked = Instant::now();
        let sent = Command::new("kill").arg(id).status().await.unwrap();
        assert!(sent.success());
        let mut log = String::new();
        let reading = self.stderr.read_to_string(&mut log);
        timeout(PATIENCE, reading).await.unwrap().unwrap();
        let ended = timeout(PATIENCE, self.child.wait()).await.unwrap().unwrap();
        assert!(ended.success(), "{log}");
        (log, asked.elapsed())
    }
}

/// Its call failed; what comes after it can't be executed here, because there is no gateway.
fn failed_run(target: &str) -> Value {
    json!({
        "id": "run_failed", "status": "failure", "triggerNodeId": "root",
        "workflowDefinition": {"nodes": {
            "root": {"type": "manual", "payload": {}, "children": ["call"]},
            "call": {"type": "http-request", "payload": {"url": target}, "children": ["own"]},
            "own": {"type": "http-request", "children": ["post"],
                    "payload": {"url": target, "headers": {"Traceparent": OWN}}},
            "post": {"type": "slack-post", "payload": {}},
        }},
        "executionState": {
            "root": {"type": "manual", "status": "success", "result": {}},
            "call": {"type": "http-request", "status": "failure", "error": "away"},
        },
    })
}

#[tokio::test]
async fn one_trace_goes_from_the_request_to_the_last_node() {
    let folder = tempfile::tempdir().unwrap();
    let outside = Outside::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", outside.url.as_str()),
        // Nothing goes out before the stop.
        ("OTEL_BSP_SCHEDULE_DELAY", "600000"),
        ("REDRIVE_LOG__FORMAT", "json"),
    ];
    let server = Server::start(folder.path(), &variables).await;
    let run = server.retry(&format!("{}/target", outside.url)).await;
    assert_eq!(run["status"], "failure", "{run}");
    assert!(outside.spans().is_empty());
    let (log, _) = server.stop().await;

    assert_eq!(outside.service_name(), "redrive");
    let request = outside.span("POST /v1/runs/{id}/retry");
    assert_eq!(request.kind(), SpanKind::Server);
    assert_eq!(hex(&request.parent_span_id), CALLER);
    assert_eq!(text(&request.attributes, "run_id"), "run_failed");
    assert_eq!(
        text(&request.attributes, "http.response.status_code"),
        "200"
    );

    let process = outside.span("process redrive");
    assert_eq!(process.kind(), SpanKind::Consumer);
    assert_eq!(process.parent_span_id, request.span_id);
    assert_eq!(text(&process.attributes, "run_id"), run["id"]);
    assert_eq!(text(&process.attributes, "source_run_id"), "run_failed");
    assert_eq!(text(&process.attributes, "organization_id"), "org_dev");

    let call = outside.node("http-request", "call");
    assert_eq!(call.parent_span_id, process.span_id);
    assert_eq!(text(&call.attributes, "node_id"), "call");
    assert_eq!(text(&call.attributes, "attempt"), "1");
    let sent = format!("00-{TRACE}-{}-01", hex(&call.span_id));
    // What a node's own headers say goes out as it is.
    assert_eq!(outside.calls(), [Some(sent), Some(OWN.to_owned())]);

    // A user's word names no span.
    let post = outside.node("connector", "post");
    assert_eq!(post.parent_span_id, process.span_id);
    assert_eq!(text(&post.attributes, "node_type"), "slack-post");
    assert_eq!(text(&post.attributes, "error.type"), "definition");
    assert_eq!(post.status.unwrap().code(), SpanStatus::Error);

    let lines = log
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok());
    let lines: Vec<Value> = lines.collect();
    let line = lines
        .iter()
        .find(|line| line["message"] == "let go of a run");
    let line = line.unwrap_or_else(|| panic!("{log}"));
    assert_eq!(line["trace_id"], TRACE);
    assert_eq!(line["span_id"], hex(&process.span_id));
    assert_eq!(line["span"]["source_run_id"], "run_failed");
}

#[tokio::test]
async fn probes_and_scrapes_make_no_spans() {
    let folder = tempfile::tempdir().unwrap();
    let outside = Outside::start().await;
    let variables = [("OTEL_EXPORTER_OTLP_ENDPOINT", outside.url.as_str())];
    let server = Server::start(folder.path(), &variables).await;
    for path in ["livez", "healthz", "readyz", "metrics", "v1/nowhere"] {
        let answer = server.http.get(format!("{}/{path}", server.url)).send();
        answer.await.unwrap();
    }
    server.stop().await;
    // The server looks once whether its token is good.
    let names: Vec<_> = outside.spans().into_iter().map(|span| span.name).collect();
    assert_eq!(names, ["GET /v1/runs", "GET"]);
}

#[tokio::test]
async fn without_an_exporter_nothing_is_sent_along() {
    let folder = tempfile::tempdir().unwrap();
    let outside = Outside::start().await;
    let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", outside.url.as_str());
    for variables in [vec![], vec![endpoint, ("OTEL_SDK_DISABLED", "true")]] {
        let server = Server::start(folder.path(), &variables).await;
        server.retry(&format!("{}/target", outside.url)).await;
        let (log, _) = server.stop().await;
        assert!(!log.contains("WARN") && !log.contains("otel"), "{log}");
    }
    let own = || Some(OWN.to_owned());
    assert_eq!(outside.calls(), [None, own(), None, own()]);
    assert!(outside.spans().is_empty());
}

/// Runs a server whose collector is no use; gives its log and how long its stop took.
async fn with_collector(url: &str) -> (String, Duration) {
    let folder = tempfile::tempdir().unwrap();
    let outside = Outside::start().await;
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", url),
        ("OTEL_BSP_SCHEDULE_DELAY", "1"),
    ];
    let server = Server::start(folder.path(), &variables).await;
    let run = server.retry(&format!("{}/target", outside.url)).await;
    assert_eq!(run["executionState"]["call"]["status"], "success", "{run}");
    server.stop().await
}

#[tokio::test]
async fn an_unreachable_collector_changes_nothing() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let (log, took) = with_collector(&url).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert_eq!(
        log.matches("the collector does not take spans").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("ERROR"), "{log}");
}

#[tokio::test]
async fn a_collector_that_never_answers_holds_up_no_stop() {
    // Connections are taken by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let (log, took) = with_collector(&url).await;
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(!log.contains("ERROR"), "{log}");
}
