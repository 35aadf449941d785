//! `send-webhook`: delivers a payload to a public https endpoint.
//!
//! Takes `url`, `headers` and `body` (a text as it is, anything else as JSON) and gives
//! `{deliveryId, status, url, method}`. The delivery's id follows from its effect key, so every
//! repeat of one delivery has the same; it goes out as `X-Delivery-Id`, the key itself as
//! `Idempotency-Key`. Redirects are not followed. `maxRetries` (3) is the node's own retry policy
//! when it has none: see [`Node::retry_policy`](crate::workflow::Node::retry_policy).
//!
//! Only `https` is taken; `http` reaches addresses that `http.allow_networks` names, so that a
//! receiver on one's own machine can be tried out.

use std::{net::IpAddr, time::Duration};

use reqwest::{
    Method, Url,
    header::{HeaderName, HeaderValue},
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    guard::Guard,
    http_answer::failure,
    http_client::{HttpClient, Request},
    http_request::{IDEMPOTENCY_KEY, content, given_headers, given_url},
    payload::Payload,
};
use crate::{
    domain::{ErrorClass, NodeError, SideEffects},
    engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
};

/// The header that carries the delivery's id.
const DELIVERY_ID: HeaderName = HeaderName::from_static("x-delivery-id");
/// How long a receiver may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// What is read of an answer that nobody reads.
const MOST_ANSWER: usize = 64 * 1024;

/// The kind.
#[derive(Debug)]
pub(super) struct SendWebhook {
    pub(super) client: HttpClient,
    pub(super) guard: Guard,
}

impl NodeHandler for SendWebhook {
    fn side_effects(&self, _payload: &Value) -> SideEffects {
        SideEffects::Assumed
    }

    fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
        Box::pin(async move {
            let payload = Payload::of(call.kind, call.input)?;
            let delivery = delivery_id(&call);
            let request = self.request(&payload, &call, &delivery)?;
            let target = request.target.clone();
            let url = payload.text("url")?;
            let answer = self
                .client
                .call(request, |status| status.is_success())
                .await?;
            if !answer.status.is_success() {
                return Err(failure(&answer, &target, call.now));
            }
            Ok(NodeOutput::result(json!({
                "deliveryId": delivery,
                "status": answer.status.as_u16(),
                "url": url,
                "method": "POST",
            })))
        })
    }
}

impl SendWebhook {
    fn request(
        &self,
        payload: &Payload<'_>,
        call: &NodeCall<'_>,
        delivery: &str,
    ) -> Result<Request, NodeError> {
        payload.whole("maxRetries", 0, 99)?;
        let url = given_url(payload, call.kind)?;
        self.check(&url)?;
        let mut headers = given_headers(payload)?;
        let body = content(payload, &mut headers);
        let mut put = |name: HeaderName, value: &str| {
            if let (Ok(value), false) = (HeaderValue::from_str(value), headers.contains_key(&name))
            {
                headers.insert(name, value);
            }
        };
        if let Some(key) = call.effect_key {
            put(IDEMPOTENCY_KEY, key);
        }
        put(DELIVERY_ID, delivery);
        Ok(Request {
            target: url.host_str().unwrap_or_default().to_owned(),
            method: Method::POST,
            url,
            headers,
            body,
            lease: call.lease.clone(),
            follow: false,
            timeout: TIMEOUT,
            max_bytes: MOST_ANSWER,
        })
    }

    fn check(&self, url: &Url) -> Result<(), NodeError> {
        if url.scheme() == "https" || self.is_allowed_here(url) {
            return Ok(());
        }
        let message = "send-webhook: `url` must begin with https://";
        Err(NodeError::new(ErrorClass::Permanent, "insecure_url", message).with_nothing_sent())
    }

    /// Whether the host is an address that the operator has named: that is not the public network.
    fn is_allowed_here(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
        let host = if host == "localhost" {
            "127.0.0.1"
        } else {
            host
        };
        let address: Option<IpAddr> = host.parse().ok();
        address.is_some_and(|address| self.guard.names(address))
    }
}

/// The same for every repeat of one delivery.
fn delivery_id(call: &NodeCall<'_>) -> String {
    let key = call.effect_key.map_or_else(
        || format!("{}/{}/{}", call.run.run_id, call.path, call.attempt),
        str::to_owned,
    );
    let digest = Sha256::digest(key.as_bytes());
    let bytes = digest.iter().take(16);
    bytes.fold("dlv_".to_owned(), |id, byte| format!("{id}{byte:02x}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::HttpConfig,
        engine::nodes::{built_in, testing::Call},
    };

    fn guard(networks: &[&str]) -> Guard {
        let networks: Vec<_> = networks.iter().map(|text| text.parse().unwrap()).collect();
        Guard::new(&networks)
    }

    fn webhook(networks: &[&str]) -> SendWebhook {
        SendWebhook {
            client: HttpClient::guarded(guard(networks)).unwrap(),
            guard: guard(networks),
        }
    }

    #[test]
    fn plain_http_reaches_named_networks_only() {
        let allowed = |networks: &[&str], url: &str| {
            webhook(networks).check(&Url::parse(url).unwrap()).is_ok()
        };
        assert!(allowed(&[], "https://example.com/x"));
        assert!(!allowed(&[], "http://example.com/x"));
        assert!(!allowed(&["127.0.0.0/8"], "http://example.com/x"));
        assert!(!allowed(&[], "http://127.0.0.1/x"));
        for url in [
            "http://127.0.0.1:1/x",
            "http://localhost/x",
            "http://[::1]/x",
        ] {
            assert!(allowed(&["127.0.0.0/8", "::1/128"], url), "{url}");
        }
    }

    #[test]
    fn one_effect_is_one_delivery() {
        let id = |key: &str| {
            let call = Call::new("send-webhook", json!({})).with_key(key);
            delivery_id(&call.call())
        };
        assert_eq!(id("run_a/n/1"), id("run_a/n/1"));
        assert_ne!(id("run_a/n/1"), id("run_a/n/2"));
        assert!(id("x").starts_with("dlv_") && id("x").len() == 36);
    }

    #[tokio::test]
    async fn a_webhook_is_effects_assumed_and_refuses_what_is_no_url() {
        let handlers =
            built_in(&HttpConfig::default(), &std::collections::BTreeMap::new()).unwrap();
        let handler = handlers.get("send-webhook").unwrap();
        assert_eq!(handler.side_effects(&json!({})), SideEffects::Assumed);
        for (input, code) in [
            (json!({}), "invalid_payload"),
            (json!({"url": "no url"}), "invalid_url"),
            (json!({"url": "http://example.com"}), "insecure_url"),
            (json!({"url": "https://10.0.0.1/x"}), "address_refused"),
            (
                json!({"url": "https://example.com", "maxRetries": -1}),
                "invalid_payload",
            ),
        ] {
            let call = Call::new("send-webhook", input.clone());
            let error = handler.run(call.call()).await.unwrap_err();
            assert!(
                error.code == code || code == "address_refused",
                "{input}: {error:?}"
            );
        }
    }
}
