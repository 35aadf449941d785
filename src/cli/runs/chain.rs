//! `redrive runs chain`: a run, its retries, their retries.

use clap::Args;
use serde_json::Value;

use crate::cli::{CliError, client::ApiArgs, table::printable, view::text};

/// Arguments of `redrive runs chain`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Chain {
    /// Any run of the chain
    id: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Chain {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let data = client.get(&["runs", &self.id, "chain"], &[]).await?;
        self.api.output.one(&data, tree)
    }
}

/// Each run under the one that it retries. Only branches are indented, so that a long chain stays
/// readable.
fn tree(chain: &Value) -> String {
    let root = &chain["root"];
    let id = text(chain, "rootRunId").unwrap_or_default();
    let mut lines = vec![format!(
        "{id}  {}",
        text(root, "status").unwrap_or_default()
    )];
    let retries: Vec<&Value> = chain["retries"].as_array().into_iter().flatten().collect();
    // The last one is drawn first: what is pushed last comes next.
    let mut stack = of_source(&retries, &id, 0);
    while let Some((retry, depth)) = stack.pop() {
        lines.push(of_retry(retry, depth));
        if let Some(run) = text(retry, "runId") {
            stack.extend(of_source(&retries, &run, depth));
        }
    }
    let effective = &chain["effective"];
    lines.push(format!(
        "effective: {} ({})",
        text(effective, "status").unwrap_or_default(),
        text(effective, "runId").unwrap_or_default()
    ));
    lines
        .iter()
        .map(|line| printable(line))
        .collect::<Vec<_>>()
        .join("\n")
}

/// The retries of a run, the newest first, and how far they are indented.
fn of_source<'a>(retries: &[&'a Value], source: &str, depth: usize) -> Vec<(&'a Value, usize)> {
    let is_of = |retry: &&&Value| text(retry, "sourceRunId").as_deref() == Some(source);
    let mut found: Vec<_> = retries
        .iter()
        .filter(is_of)
        .map(|retry| (*retry, depth))
        .collect();
    if found.len() > 1 {
        for (_, depth) in &mut found {
            *depth += 1;
        }
    }
    found.reverse();
    found
}

fn of_retry(retry: &Value, depth: usize) -> String {
    let run = text(retry, "runId").unwrap_or_else(|| "(no run)".to_owned());
    let state = text(retry, "state").unwrap_or_default();
    let status = text(retry, "status").unwrap_or_default();
    let what = if state == "created" { status } else { state };
    let by = text(retry, "triggeredBy").map(|by| format!("  by {by}"));
    let why = text(retry, "reason").map(|why| format!("  \"{why}\""));
    format!(
        "{}└ {run}  {what}{}{}",
        "  ".repeat(depth),
        by.unwrap_or_default(),
        why.unwrap_or_default()
    )
}
