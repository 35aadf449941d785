//! Runs as the API shows them, and waiting for their end.

use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::Value;

use crate::cli::{CliError, client::Client, view};

/// How long a run of the demo may take.
const PATIENCE: Duration = Duration::from_secs(20);
const INTERVAL: Duration = Duration::from_millis(20);

/// A run, as `GET /v1/runs/{id}` shows it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Seen(Value);

impl Seen {
    /// A run from the `data` of an answer.
    pub(super) fn new(data: Value) -> Self {
        Self(data)
    }

    /// Everything that was answered.
    #[cfg(test)]
    pub(super) fn data(&self) -> &Value {
        &self.0
    }

    /// A member as text; empty when it is missing.
    pub(super) fn text(&self, member: &str) -> String {
        view::text(&self.0, member).unwrap_or_default()
    }

    /// A node's record; null when it has none.
    pub(super) fn node(&self, id: &str) -> &Value {
        &self.0["executionState"][id]
    }

    /// The status of a node; a node without a record is pending.
    pub(super) fn status(&self, id: &str) -> String {
        view::text(self.node(id), "status").unwrap_or_else(|| "pending".to_owned())
    }

    /// How long a node took.
    pub(super) fn millis(&self, id: &str) -> Option<i64> {
        view::millis(self.node(id))
    }

    /// The run that executed a node, if it was another one.
    pub(super) fn origin(&self, id: &str) -> Option<String> {
        view::text(self.node(id), "originRunId")
    }

    /// Nodes that have a record.
    pub(super) fn ids(&self) -> Vec<&str> {
        let state = self.0["executionState"].as_object();
        state
            .into_iter()
            .flat_map(|state| state.keys())
            .map(String::as_str)
            .collect()
    }

    fn has_ended(&self) -> bool {
        !matches!(self.text("status").as_str(), "waiting" | "running" | "")
    }
}

/// Reads a run.
pub(super) async fn read(client: &Client, id: &str) -> Result<Seen, CliError> {
    let data = client.get(&["runs", id], &[]).await?;
    Ok(Seen::new(
        serde_json::from_str(&data).context("the run can't be read")?,
    ))
}

/// Reads a run again and again until it has ended.
pub(super) async fn until_ended(client: &Client, id: &str) -> Result<Seen, CliError> {
    let started = Instant::now();
    loop {
        let run = read(client, id).await?;
        if run.has_ended() {
            return Ok(run);
        }
        if started.elapsed() > PATIENCE {
            let seconds = PATIENCE.as_secs();
            let status = run.text("status");
            let message = format!("run {id} is {status} after {seconds} s");
            return Err(CliError::TimedOut(message));
        }
        tokio::time::sleep(INTERVAL).await;
    }
}
