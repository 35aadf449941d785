//! Requests as no well-behaved client sends them, and what every answer must be.

use std::{fmt, time::Duration};

use reqwest::header::HeaderMap;
use serde_json::{Value, json};

use super::app::TestApp;

/// No answer may take longer.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request: any method, headers and bytes.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    method: String,
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let body = String::from_utf8_lossy(&self.body);
        write!(f, "{} {} {body}", self.method, self.path)
    }
}

impl Request {
    pub(crate) fn new(method: &str, path: &str) -> Self {
        Self {
            method: method.to_owned(),
            path: path.to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// With a body of the right content type.
    pub(crate) fn json(method: &str, path: &str, body: impl Into<Vec<u8>>) -> Self {
        let mut request = Self::new(method, path).header("content-type", "application/json");
        request.body = body.into();
        request
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", &format!("Bearer {token}"))
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends it with the headers that it has and no others.
    pub(crate) async fn send(self, app: &TestApp) -> Answer {
        let method = self.method.parse().unwrap();
        let mut request = app
            .http()
            .request(method, format!("{}{}", app.base(), self.path));
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let sent = request.body(self.body).timeout(PATIENCE).send().await;
        let response = sent.unwrap_or_else(|e| panic!("{} {}: {e:?}", self.method, self.path));
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Answer {
            status,
            headers,
            body,
        }
    }

    /// Sends it with the token of `org_test`.
    pub(crate) async fn send_authorized(self, app: &TestApp) -> Answer {
        let token = app.token().to_owned();
        self.bearer(&token).send(app).await
    }
}

impl Answer {
    /// The whole envelope of a refusal, and its status and code agree.
    pub(crate) fn assert_refusal(&self, what: &str) {
        let body = &self.body;
        assert!(
            (400..500).contains(&self.status),
            "{what}: {}: {body}",
            self.status
        );
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        let expected = ["code", "message", "details", "requestId", "error"];
        assert_eq!(members, expected, "{what}");
        let code = body["code"].as_u64().unwrap();
        assert_eq!(code / 1_000, u64::from(self.status), "{what}: {body}");
        let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.is_empty());
        assert!(is_text(&body["message"]), "{what}: {body}");
        assert!(is_text(&body["error"]["reason"]), "{what}: {body}");
        assert!(body["details"].is_array(), "{what}: {body}");
        self.assert_headers(what);
    }

    /// The whole envelope of a success.
    pub(crate) fn assert_success(&self, what: &str) {
        let body = &self.body;
        assert_eq!(self.status, 200, "{what}: {body}");
        let members: Vec<_> = body.as_object().unwrap().keys().collect();
        assert_eq!(members, ["code", "data", "message", "requestId"], "{what}");
        assert_eq!(body["code"], 200, "{what}");
        assert_eq!(body["message"], "success", "{what}");
        self.assert_headers(what);
    }

    fn assert_headers(&self, what: &str) {
        let header = |name: &str| {
            let value = self.headers.get(name);
            value.and_then(|value| value.to_str().ok().map(str::to_owned))
        };
        assert_eq!(
            header("content-type").as_deref(),
            Some("application/json"),
            "{what}"
        );
        let id = header("x-request-id").unwrap_or_default();
        assert!(!id.is_empty(), "{what}");
        assert_eq!(self.body["requestId"], id.as_str(), "{what}");
    }

    /// The answer without what differs between any two requests.
    pub(crate) fn without_id(mut self) -> (u16, Value) {
        self.body["requestId"] = json!("-");
        (self.status, self.body)
    }
}
