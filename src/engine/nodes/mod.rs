//! The built-in node kinds, one file each.
//!
//! To add a kind without effects, write a file with
//! `fn run(&NodeCall) -> Result<NodeOutput, NodeError>` and name it in [`built_in`]; a kind with
//! effects implements [`NodeHandler`]. Payloads are read with `payload::Payload`, so that every
//! refusal reads alike. `for-each`, `wait` and `trigger-workflow` are not here: they are the
//! engine's own, as they change the run.

use std::{collections::BTreeMap, sync::Arc};

use serde_json::Value;

use super::{HandlerFuture, Handlers, NodeCall, NodeHandler, NodeOutput};
use crate::{
    config::{HttpConfig, Secret},
    domain::{NodeError, SideEffects},
};

mod compare;
mod condition;
mod delay;
mod extreme;
mod fields;
mod filter;
mod format;
mod gateway;
mod guard;
mod http_answer;
mod http_client;
mod http_request;
mod if_else;
mod leased;
mod log;
mod payload;
mod pluck;
mod re2;
mod regex;
mod send_webhook;
mod set_variable;
#[cfg(test)]
mod testing;
mod wei;

/// Why the kinds can't be made of a configuration.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A connector's URL is none; it may hold secrets and is not shown.
    #[error("connectors.{0:?} is no http or https URL")]
    ConnectorUrl(String),
    /// The HTTP client can't be made.
    #[error("the HTTP client can't be made")]
    Client(#[from] reqwest::Error),
}

/// All built-in kinds, and the connector gateway for the types that are nobody's.
///
/// HTTP nodes reach global addresses and `http.allow_networks`. A caller's own kinds go in with
/// [`Handlers::with`] and win over both.
///
/// # Errors
/// The configuration names a gateway that is no URL, or there is no TLS.
pub fn built_in(
    http: &HttpConfig,
    connectors: &BTreeMap<String, Secret>,
) -> Result<Handlers, BuildError> {
    let guard = guard::Guard::new(&http.allow_networks);
    let client = http_client::HttpClient::guarded(guard.clone())?;
    let webhook = send_webhook::SendWebhook {
        client: client.clone(),
        guard,
    };
    let mut handlers = Handlers::default()
        .with("convert-from-wei", Arc::new(Pure(wei::from_wei)))
        .with("convert-to-wei", Arc::new(Pure(wei::to_wei)))
        .with("delay", Arc::new(Pure(delay::run)))
        .with("filter", Arc::new(Pure(filter::run)))
        .with("format", Arc::new(Pure(format::run)))
        .with("http-request", Arc::new(http_request::HttpRequest(client)))
        .with("if", Arc::new(Pure(if_else::run)))
        .with("list-max", Arc::new(Pure(extreme::greatest)))
        .with("list-min", Arc::new(Pure(extreme::least)))
        .with("log", Arc::new(Pure(log::run)))
        .with("pluck", Arc::new(Pure(pluck::run)))
        .with("regex", Arc::new(regex::Matcher))
        .with("send-webhook", Arc::new(webhook))
        .with("set-variable", Arc::new(Pure(set_variable::run)));
    for (types, gateway) in gateway::configured(connectors)? {
        handlers = handlers.with_fallback(types, Arc::new(gateway));
    }
    Ok(handlers)
}

/// A kind without effects: a function of its call.
struct Pure(fn(&NodeCall<'_>) -> Result<NodeOutput, NodeError>);

impl NodeHandler for Pure {
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        SideEffects::None
    }

    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move { (self.0)(&call) })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn connectors(names: &[&str]) -> BTreeMap<String, Secret> {
        let url = |name: &&str| ((*name).to_owned(), Secret::new("http://gateway.test/x"));
        names.iter().map(url).collect()
    }

    #[test]
    fn every_kind_says_what_repeating_it_means() {
        let handlers = built_in(&HttpConfig::default(), &connectors(&["default"])).unwrap();
        let effects =
            |kind: &str, payload: Value| handlers.get(kind).unwrap().side_effects(&payload);
        for kind in [
            "convert-from-wei",
            "convert-to-wei",
            "list-max",
            "list-min",
            "delay",
            "filter",
            "format",
            "if",
            "log",
            "pluck",
            "regex",
            "set-variable",
        ] {
            assert_eq!(effects(kind, json!({})), SideEffects::None, "{kind}");
        }
        assert_eq!(effects("slack-post", json!({})), SideEffects::Assumed);
        for (method, expected) in [
            (json!(null), SideEffects::Idempotent),
            (json!("get"), SideEffects::Idempotent),
            (json!("HEAD"), SideEffects::Idempotent),
            (json!("PUT"), SideEffects::Idempotent),
            (json!("DELETE"), SideEffects::Idempotent),
            (json!("POST"), SideEffects::Assumed),
            (json!("PATCH"), SideEffects::Assumed),
            (json!(5), SideEffects::Assumed),
        ] {
            assert_eq!(
                effects("http-request", json!({ "method": method })),
                expected
            );
        }
    }

    #[test]
    fn gateways_are_for_what_is_nobodys() {
        let none = built_in(&HttpConfig::default(), &BTreeMap::new()).unwrap();
        assert!(none.get("if").is_some() && none.get("slack-post").is_none());
        let some = connectors(&["slack-*", "if"]);
        let some = built_in(&HttpConfig::default(), &some).unwrap();
        assert!(some.get("slack-post").is_some() && some.get("mail").is_none());
        assert_eq!(
            some.get("if").unwrap().side_effects(&json!({})),
            SideEffects::None
        );
    }

    #[test]
    fn a_gateway_that_is_no_url_is_refused_without_showing_it() {
        for url in ["", "gateway", "ftp://user:secret@x/", "//secret"] {
            let connectors = BTreeMap::from([("slack-*".to_owned(), Secret::new(url))]);
            let error = built_in(&HttpConfig::default(), &connectors).unwrap_err();
            assert_eq!(
                error.to_string(),
                r#"connectors."slack-*" is no http or https URL"#
            );
        }
    }
}
