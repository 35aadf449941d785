//! The connector gateway: executes the types that are nobody's, at a URL from the configuration.
//!
//! `POST {type, payload, connector, nodeId, nodePath, runId, rootRunId, organizationId, effectKey,
//! attempt, simulation}` with the effect key as `Idempotency-Key`, and with the node's `traceparent`
//! where traces are exported. An answer of 2xx with `result` is a success. Everything else fails by
//! its status, as in `http-request`, and `{"error": {class?, code?, message?, retryAfterMs?,
//! effect?}}` says it better: `class` is one of `transient`, `permanent`, `timeout`, `in_doubt` and
//! `rate_limited`, `effect: "none"` that nothing happened. The gateway is trusted, so its address is not guarded.

use std::{collections::BTreeMap, time::Duration};

use reqwest::{
    Method, Url,
    header::{CONTENT_TYPE, HeaderMap, HeaderValue},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    BuildError,
    http_answer::{MAX_RETRY_AFTER_MS, failure, read_json},
    http_client::{Answer, HttpClient, Request, check_url},
    http_request::IDEMPOTENCY_KEY,
};
use crate::{
    config::Secret,
    domain::{ErrorClass, JsonText, MAX_NESTING, NodeError, whole_number},
    engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
};

/// Who is asked, for messages: URLs of gateways are secret.
const TARGET: &str = "the connector gateway";
/// How long a call may take.
const TIMEOUT: Duration = Duration::from_mins(1);
/// Bytes of an answer: a result of 10 MiB and what is around it.
const MAX_BYTES: usize = 10 * 1024 * 1024 + 64 * 1024;

/// The kind of all types that go to one URL.
#[derive(Debug, Clone)]
pub(super) struct Gateway {
    client: HttpClient,
    url: Url,
    timeout: Duration,
}

/// The gateways of a configuration, each with the types it is for: a name, `prefix*`, or `*`.
pub(super) fn configured(
    connectors: &BTreeMap<String, Secret>,
) -> Result<Vec<(String, Gateway)>, BuildError> {
    let client = HttpClient::trusted()?;
    let gateway = |(name, url): (&String, &Secret)| {
        let url = Url::parse(url.expose().trim()).ok();
        let url = url.filter(|url| check_url(url).is_ok());
        let url = url.ok_or_else(|| BuildError::ConnectorUrl(name.clone()))?;
        let types = if name == "default" { "*" } else { name };
        let gateway = Gateway {
            client: client.clone(),
            url,
            timeout: TIMEOUT,
        };
        Ok((types.to_owned(), gateway))
    };
    connectors.iter().map(gateway).collect()
}

impl NodeHandler for Gateway {
    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let request = self.request(&call)?;
            let answer = self
                .client
                .call(request, |status| status.is_success())
                .await?;
            read(&answer, &call)
        })
    }
}

impl Gateway {
    fn request(&self, call: &NodeCall<'_>) -> Result<Request, NodeError> {
        let body = serde_json::to_vec(&Body::of(call)).map_err(|error| {
            let why = error.to_string();
            NodeError::new(ErrorClass::Internal, "unreadable_call", why).with_nothing_sent()
        })?;
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let key = call
            .effect_key
            .and_then(|key| HeaderValue::from_str(key).ok());
        if let Some(key) = key {
            headers.insert(IDEMPOTENCY_KEY, key);
        }
        Ok(Request {
            target: TARGET.to_owned(),
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: body.into(),
            lease: call.lease.clone(),
            follow: false,
            timeout: self.timeout,
            max_bytes: MAX_BYTES,
        })
    }
}

/// What the gateway gets.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    payload: &'a Value,
    connector: Option<&'a Value>,
    node_id: &'a str,
    node_path: String,
    run_id: &'a str,
    root_run_id: &'a str,
    organization_id: &'a str,
    effect_key: Option<&'a str>,
    attempt: u32,
    simulation: SimulationBody<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SimulationBody<'a> {
    forks: Option<&'a JsonText>,
    mode: Option<&'a str>,
    is_simulation: bool,
    is_dust_test: bool,
}

impl<'a> Body<'a> {
    fn of(call: &'a NodeCall<'a>) -> Self {
        let simulation = &call.run.simulation;
        Self {
            kind: call.kind,
            payload: call.input,
            connector: call.connector,
            node_id: call.node_id.as_str(),
            node_path: call.path.to_string(),
            run_id: call.run.run_id.as_str(),
            root_run_id: call.run.root_run_id.as_str(),
            organization_id: call.run.organization_id.as_str(),
            effect_key: call.effect_key,
            attempt: call.attempt,
            simulation: SimulationBody {
                forks: simulation.forks.as_ref(),
                mode: simulation.mode.as_deref(),
                is_simulation: simulation.is_simulation,
                is_dust_test: simulation.is_dust_test,
            },
        }
    }
}

fn read(answer: &Answer, call: &NodeCall<'_>) -> Result<NodeOutput, NodeError> {
    // The envelope is one level around the result.
    let body = read_json(&answer.body, MAX_NESTING + 1);
    if answer.status.is_success() {
        let mut body = body.map_err(|error| bad_answer(&error))?;
        let result = body
            .as_object_mut()
            .and_then(|body| body.shift_remove("result"));
        return match result {
            Some(result) => Ok(NodeOutput::result(result)),
            None => Err(refine(bad_answer("it holds no `result`"), &body)),
        };
    }
    let error = failure(answer, TARGET, call.now);
    Err(match body {
        Ok(body) => refine(error, &body),
        Err(_) => error,
    })
}

/// A success that can't be read: the effect has happened, so it is no rejection.
fn bad_answer(why: &str) -> NodeError {
    let message = format!("{TARGET} answered a success that can't be used: {why}");
    NodeError::new(ErrorClass::Permanent, "bad_gateway_answer", message)
}

/// What the gateway says about a failure. A member that can't be used is as good as none.
fn refine(mut error: NodeError, body: &Value) -> NodeError {
    let Some(said) = body.get("error").and_then(Value::as_object) else {
        return error;
    };
    let text = |name: &str| {
        said.get(name)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
    };
    let class = said.get("class").and_then(class_of);
    error.class = class.unwrap_or(error.class);
    if let Some(code) = text("code") {
        error.code = code.chars().take(100).collect();
    }
    if let Some(message) = text("message") {
        error.message = message.chars().take(2_000).collect();
    }
    let wait = said.get("retryAfterMs").and_then(Value::as_number);
    if let Some(wait) = wait.and_then(whole_number) {
        error.retry_after_ms = Some(wait.min(MAX_RETRY_AFTER_MS));
    }
    match text("effect") {
        Some("none") => {
            error.rejected = true;
            if error.class == ErrorClass::InDoubt {
                error.class = ErrorClass::Transient;
            }
        }
        Some(_) => error.rejected = false,
        None => {
            error.rejected &= error.class != ErrorClass::InDoubt;
            error.unsent = error.class == ErrorClass::Timeout;
        }
    }
    error
}

/// The class, if it is one that a gateway can know.
fn class_of(value: &Value) -> Option<ErrorClass> {
    let class = ErrorClass::deserialize(value).ok()?;
    match class {
        ErrorClass::Transient
        | ErrorClass::Permanent
        | ErrorClass::Timeout
        | ErrorClass::InDoubt
        | ErrorClass::RateLimited => Some(class),
        ErrorClass::Expression
        | ErrorClass::Definition
        | ErrorClass::Cancelled
        | ErrorClass::Internal => None,
    }
}

#[cfg(test)]
mod tests;
