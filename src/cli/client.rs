//! The HTTP client of the API.

use std::time::Duration;

use anyhow::Context;
use clap::Args;
use reqwest::{Method, Url, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{CliError, output::OutputArgs};

/// Where a server listens that was told nothing else.
pub(super) const DEFAULT_URL: &str = "http://127.0.0.1:8080";

/// What every subcommand that calls the API takes.
#[derive(Debug, Args)]
pub(super) struct ApiArgs {
    #[command(flatten)]
    pub(super) output: OutputArgs,
    #[command(flatten)]
    pub(super) client: ClientArgs,
}

/// Where the API is and how to be let in.
#[derive(Debug, Clone, Args)]
pub(super) struct ClientArgs {
    /// Where the API is
    #[arg(long, env = "REDRIVE_URL", default_value = DEFAULT_URL)]
    url: String,
    /// The API token
    #[arg(long, env = "REDRIVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// How many seconds an answer may take
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
    timeout: u64,
}

impl ClientArgs {
    /// The client for these arguments.
    pub(super) fn client(&self) -> Result<Client, CliError> {
        let token = self.token.as_deref().ok_or_else(|| {
            CliError::Usage("no token: set REDRIVE_TOKEN or give --token".to_owned())
        })?;
        Client::new(&self.url, token, Duration::from_secs(self.timeout))
    }
}

/// An answer that says no.
#[derive(Debug, thiserror::Error)]
#[error("{message} ({reason}HTTP {status})")]
pub struct ApiError {
    status: u16,
    reason: String,
    message: String,
    body: String,
}

impl ApiError {
    /// Reads the error object in `body`, if it is one.
    #[must_use]
    pub(super) fn new(status: u16, body: String) -> Self {
        let error: ErrorBody = serde_json::from_str(&body).unwrap_or_default();
        let reason = error.error.reason.map(|reason| format!("{reason}, "));
        Self {
            status,
            reason: reason.unwrap_or_default(),
            message: error
                .message
                .unwrap_or_else(|| "the server refused".to_owned()),
            body,
        }
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The body as it came.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

#[derive(Deserialize, Default)]
struct ErrorBody {
    message: Option<String>,
    #[serde(default)]
    error: ErrorReason,
}

#[derive(Deserialize, Default)]
struct ErrorReason {
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Envelope {
    data: Box<RawValue>,
}

/// A client of the API.
#[derive(Debug, Clone)]
pub(super) struct Client {
    http: reqwest::Client,
    base: Url,
    token: String,
    timeout: Duration,
}

impl Client {
    /// A client of the API at `url` that presents `token`.
    pub(super) fn new(url: &str, token: &str, timeout: Duration) -> Result<Self, CliError> {
        let wrong = |why: &str| CliError::Usage(format!("{url:?} is no URL of an API: {why}"));
        let base: Url = url.parse().map_err(|_| wrong("it can't be read"))?;
        if !matches!(base.scheme(), "http" | "https") || base.cannot_be_a_base() {
            return Err(wrong("it must begin with http:// or https://"));
        }
        if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(CliError::Usage(
                "the token holds what no token holds".to_owned(),
            ));
        }
        Ok(Self {
            http: transport(base.scheme() == "https")?,
            base,
            token: token.to_owned(),
            timeout,
        })
    }

    /// Reads; gives the text of the answer's `data`.
    pub(super) async fn get(
        &self,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<String, CliError> {
        self.call(Method::GET, path, query, None).await
    }

    /// Sends a JSON text, or nothing; gives the text of the answer's `data`.
    pub(super) async fn post(
        &self,
        path: &[&str],
        body: Option<String>,
    ) -> Result<String, CliError> {
        self.call(Method::POST, path, &[], body).await
    }

    /// Puts a JSON text; gives the text of the answer's `data`.
    pub(super) async fn put(&self, path: &[&str], body: String) -> Result<String, CliError> {
        self.call(Method::PUT, path, &[], Some(body)).await
    }

    /// Deletes; gives the text of the answer's `data`.
    pub(super) async fn delete(&self, path: &[&str]) -> Result<String, CliError> {
        self.call(Method::DELETE, path, &[], None).await
    }

    /// What `/readyz` answers, whatever its status; it needs no token.
    pub(super) async fn ready(&self) -> Result<(u16, String), CliError> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::Usage(format!("{} is no URL of an API", self.base)))?
            .pop_if_empty()
            .push("readyz");
        let asked = self.http.get(url).timeout(self.timeout).send().await;
        let response = asked.map_err(|e| self.unanswered(e))?;
        let status = response.status().as_u16();
        let text = response.text().await.map_err(|e| self.unanswered(e))?;
        Ok((status, text))
    }

    async fn call(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
        body: Option<String>,
    ) -> Result<String, CliError> {
        let url = self.url(path, query)?;
        let mut request = self.http.request(method, url).timeout(self.timeout);
        request = request.bearer_auth(&self.token);
        if let Some(body) = body {
            request = request
                .header(header::CONTENT_TYPE, "application/json")
                .body(body);
        }
        let response = request.send().await.map_err(|e| self.unanswered(e))?;
        let status = response.status();
        let text = response.text().await.map_err(|e| self.unanswered(e))?;
        if !status.is_success() {
            return Err(ApiError::new(status.as_u16(), text).into());
        }
        let envelope: Envelope = serde_json::from_str(&text)
            .with_context(|| format!("{} answered what is no answer of redrive", self.base))?;
        Ok(envelope.data.get().to_owned())
    }

    /// `/v1` and the path, each part of it escaped.
    fn url(&self, path: &[&str], query: &[(&str, String)]) -> Result<Url, CliError> {
        if let Some(part) = path.iter().find(|part| matches!(**part, "" | "." | "..")) {
            return Err(CliError::Usage(format!("{part:?} can't stand in a URL")));
        }
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| CliError::Usage(format!("{} is no URL of an API", self.base)))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        Ok(url)
    }

    fn unanswered(&self, error: reqwest::Error) -> CliError {
        if error.is_timeout() {
            let seconds = self.timeout.as_secs();
            return CliError::TimedOut(format!("no answer from {} in {seconds} s", self.base));
        }
        let error = anyhow::Error::new(error.without_url());
        error
            .context(format!("no answer from {}", self.base))
            .into()
    }
}

/// The connections. Plain HTTP needs no certificates, and so works on machines that have none.
pub(super) fn transport(tls: bool) -> Result<reqwest::Client, CliError> {
    // An error means that a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none());
    if !tls {
        builder = builder.tls_certs_only([]);
    }
    Ok(builder.build().context("the HTTP client can't be built")?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(url: &str) -> Result<Client, CliError> {
        Client::new(url, "t", Duration::from_secs(1))
    }

    #[test]
    fn ids_are_escaped_and_a_prefix_is_kept() {
        let client = client("http://h:1/api/").unwrap();
        let query = [("status", "failure".to_owned())];
        let url = client.url(&["runs", "a/b?c#d%é"], &query).unwrap();
        assert_eq!(
            url.as_str(),
            "http://h:1/api/v1/runs/a%2Fb%3Fc%23d%25%C3%A9?status=failure"
        );
        assert!(client.url(&["runs", ".."], &[]).is_err());
    }

    #[test]
    fn what_is_no_url_or_token_is_a_usage_error() {
        for url in ["localhost:8080", "ftp://h", "nonsense", ""] {
            assert_eq!(client(url).unwrap_err().exit_code(), 2, "{url}");
        }
        let token = Client::new("http://h", "a b\n", Duration::from_secs(1));
        assert_eq!(token.unwrap_err().exit_code(), 2);
    }

    #[test]
    fn answers_that_are_no_error_objects_are_errors_all_the_same() {
        let error = ApiError::new(502, "<html>".to_owned());
        assert_eq!(error.to_string(), "the server refused (HTTP 502)");
    }
}
