//! A whole application in this process, driven over HTTP as a user drives it.

use std::time::{Duration, Instant};

use redrive::{
    api::auth::{Scopes, mint},
    app::{App, Role, Roles, Running},
    config::{Config, Secret},
    domain::{Clock, SystemClock},
};
use serde_json::Value;

use super::ledger::Ledger;

/// How long a run may take to end before a test gives up.
const PATIENCE: Duration = Duration::from_mins(1);

/// An application on a ledger of its own, with a token of `org_test`.
pub(crate) struct TestApp {
    running: Option<Running>,
    http: reqwest::Client,
    base: String,
    token: String,
    pub(crate) ledger: Ledger,
}

impl TestApp {
    pub(crate) async fn start(ledger: Ledger) -> Self {
        Self::start_with(ledger, |_| {}).await
    }

    /// Starts it with a changed configuration. HTTP nodes may reach loopback.
    pub(crate) async fn start_with(ledger: Ledger, change: impl FnOnce(&mut Config)) -> Self {
        Self::start_as(&Role::ALL, ledger, change).await
    }

    /// Starts a process with some of the roles, among them the API.
    pub(crate) async fn start_as(
        roles: &[Role],
        ledger: Ledger,
        change: impl FnOnce(&mut Config),
    ) -> Self {
        Self::start_app(ledger, change, |app| app.roles(Roles::of(roles))).await
    }

    /// Starts an application that is built on.
    pub(crate) async fn start_app(
        ledger: Ledger,
        change: impl FnOnce(&mut Config),
        build: impl FnOnce(App) -> App,
    ) -> Self {
        let app = App::new(configured(&ledger.url, change));
        let running = build(app).start().await.unwrap();
        let base = format!("http://{}", running.address());
        let http = client();
        let mut app = Self {
            running: Some(running),
            http,
            base,
            token: String::new(),
            ledger,
        };
        app.token = app.token_of("org_test", "read retry write").await;
        app
    }

    /// The URL that the application answers on.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// A client without proxy, for requests of a test's own.
    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// The token of `org_test`.
    pub(crate) fn token(&self) -> &str {
        &self.token
    }

    /// A new token of any organisation.
    pub(crate) async fn token_of(&self, organization: &str, scopes: &str) -> String {
        let scopes: Scopes = scopes.parse().unwrap();
        let organization = organization.parse().unwrap();
        let (token, text) =
            mint(&organization, Some("tester"), &scopes, SystemClock.now()).unwrap();
        self.ledger.store.insert_token(&token).await.unwrap();
        text
    }

    /// Any request with the token of `org_test`; a body is sent as JSON.
    pub(crate) async fn call(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        self.call_as(&self.token, method, path, body).await
    }

    /// Any request with any token.
    pub(crate) async fn call_as(
        &self,
        token: &str,
        method: &str,
        path: &str,
        body: Option<&str>,
    ) -> (u16, Value) {
        let method = method.parse().unwrap();
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.base))
            .bearer_auth(token);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let text = response.text().await.unwrap();
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// The `data` of an answer that has to be 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let (status, mut answer) = self.call("GET", path, None).await;
        assert_eq!(status, 200, "GET {path}: {answer}");
        answer["data"].take()
    }

    /// The `data` of an answer that has to be 200.
    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        let (status, mut answer) = self.call("POST", path, Some(&body.to_string())).await;
        assert_eq!(status, 200, "POST {path}: {answer}");
        answer["data"].take()
    }

    /// Starts a run and gives its id.
    pub(crate) async fn start_run(&self, definition: &Value, payload: &Value) -> String {
        let body = serde_json::json!({ "definition": definition, "payload": payload });
        self.post("/v1/runs", &body).await["runId"]
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Retries a run with an empty body and gives the new run's id.
    pub(crate) async fn retry(&self, run: &str) -> String {
        let (status, answer) = self
            .call("POST", &format!("/v1/runs/{run}/retry"), None)
            .await;
        assert_eq!(status, 200, "{answer}");
        answer["data"]["id"].as_str().unwrap().to_owned()
    }

    /// The run once it has ended.
    pub(crate) async fn ended(&self, run: &str) -> Value {
        let ended = |run: &Value| {
            let status = run["status"].as_str().unwrap();
            ["success", "partial", "failure", "cancelled"].contains(&status)
        };
        self.run_when(run, ended).await
    }

    /// The run once it is as wanted.
    pub(crate) async fn run_when(&self, run: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let until = Instant::now() + PATIENCE;
        loop {
            let now = self.get(&format!("/v1/runs/{run}")).await;
            if wanted(&now) {
                return now;
            }
            assert!(Instant::now() < until, "run {run} did not get there: {now}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the application is ready and goes without nothing.
    pub(crate) async fn all_ready(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let asked = self.http.get(format!("{}/readyz", self.base)).send().await;
            let text = asked.unwrap().text().await.unwrap();
            if text == r#"{"status":"ready"}"# {
                return;
            }
            assert!(Instant::now() < until, "{text}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// Stops the application and gives its ledger back.
    pub(crate) async fn stop(mut self) -> Ledger {
        if let Some(running) = self.running.take() {
            running.stop().await;
        }
        self.ledger
    }
}

/// A process with some of the roles on the ledger at `url`.
pub(crate) async fn process(
    roles: &[Role],
    url: &str,
    change: impl FnOnce(&mut Config),
) -> Running {
    let app = App::new(configured(url, change)).roles(Roles::of(roles));
    app.start().await.unwrap()
}

/// The configuration of a process of a test. HTTP nodes may reach loopback.
pub(crate) fn configured(url: &str, change: impl FnOnce(&mut Config)) -> Config {
    let mut config = Config::default();
    config.server.listen = "127.0.0.1:0".parse().unwrap();
    config.database.url = Secret::new(url);
    config.http.allow_networks = vec!["127.0.0.0/8".parse().unwrap()];
    change(&mut config);
    config
}

/// An HTTP client without proxy.
pub(crate) fn client() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}
