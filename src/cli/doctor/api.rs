//! Whether a server answers and lets us in.

use clap::Args;
use serde_json::Value;

use super::check::{Check, PATIENCE, all_skipped};
use crate::cli::client::{Client, DEFAULT_URL};

/// Where the API is and how to be let in.
#[derive(Debug, Args)]
pub(super) struct ApiUnderTest {
    /// Where the API is; without it and without a token the API is left out
    #[arg(long, env = "REDRIVE_URL")]
    url: Option<String>,
    /// The API token
    #[arg(long, env = "REDRIVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
}

const NAMES: &[&str] = &["api", "token"];

impl ApiUnderTest {
    pub(super) async fn checks(&self) -> Vec<Check> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (url, token) = (given(&self.url), given(&self.token));
        if url.is_none() && token.is_none() {
            let why = "neither REDRIVE_URL nor REDRIVE_TOKEN is set";
            return all_skipped(NAMES, why).collect();
        }
        let url = url.as_deref().unwrap_or(DEFAULT_URL);
        // Readiness is asked without a token.
        let anonymous = match Client::new(url, "-", PATIENCE) {
            Ok(client) => client,
            Err(error) => {
                let unknown = Check::skipped("token", "unknown without the API");
                return vec![Check::failed("api", error.to_string()), unknown];
            }
        };
        let api = ready(&anonymous).await;
        let token = match token {
            Some(token) => accepted(url, &token).await,
            None => Check::skipped("token", "REDRIVE_TOKEN is not set"),
        };
        vec![api, token]
    }
}

async fn ready(client: &Client) -> Check {
    match client.ready().await {
        Ok((status, body)) => judge(status, &body),
        Err(error) => Check::failed("api", format!("{error}: is it served there?")),
    }
}

/// What an answer of `/readyz` means.
fn judge(status: u16, body: &str) -> Check {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let named = |member: &str| {
        let names = body.get(member).and_then(Value::as_array);
        let names = names.into_iter().flatten().filter_map(Value::as_str);
        names.collect::<Vec<_>>().join(", ")
    };
    let without = named("degraded");
    match (status, without.as_str()) {
        (200, "") => Check::ok("api", "it is ready"),
        (200, _) => Check::ok("api", format!("it is ready, but without: {without}")),
        (503, _) => {
            let message = format!("it is not ready: {}; /readyz has more", named("missing"));
            Check::failed("api", message)
        }
        _ => {
            let message = format!("/readyz answered HTTP {status}: is this a redrive server?");
            Check::failed("api", message)
        }
    }
}

async fn accepted(url: &str, token: &str) -> Check {
    let asked = async {
        let client = Client::new(url, token, PATIENCE)?;
        client.get(&["runs"], &[("limit", "1".to_owned())]).await
    };
    match asked.await {
        Ok(_) => Check::ok("token", "the API accepts it"),
        Err(error) if error.exit_code() == 5 => {
            let message = format!("{error}: `redrive token create` makes one");
            Check::failed("token", message)
        }
        Err(error) => Check::failed("token", error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Status;

    #[test]
    fn readiness_is_read_from_status_and_body() {
        let ready = judge(200, r#"{"status":"ready"}"#);
        assert_eq!(ready, Check::ok("api", "it is ready"));
        let degraded = judge(200, r#"{"status":"ready","degraded":["broker"]}"#);
        assert_eq!(degraded.status, Status::Ok);
        assert!(degraded.message.contains("without: broker"));
        let down = judge(503, r#"{"missing":["database","migrations"]}"#);
        assert_eq!(down.status, Status::Failed);
        assert!(down.message.contains("database, migrations"));
        assert_eq!(judge(404, "<html>").status, Status::Failed);
    }
}
