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
        self.api.output.one_of_many(&data, tree, ids)
    }
}

/// The runs of a chain, its root first.
fn ids(chain: &Value) -> Vec<String> {
    let retries = chain["retries"].as_array().into_iter().flatten();
    let runs = retries.filter_map(|retry| text(retry, "runId"));
    text(chain, "rootRunId").into_iter().chain(runs).collect()
}

/// Each run under the one that it retries, or with the name of that one. Only branches are indented,
/// so that a long chain stays readable.
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
    let mut above = id;
    while let Some((retry, depth)) = stack.pop() {
        lines.push(of_retry(retry, depth, &above));
        above = text(retry, "runId").unwrap_or_default();
        stack.extend(of_source(&retries, &above, depth));
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

fn of_retry(retry: &Value, depth: usize, above: &str) -> String {
    let run = text(retry, "runId").unwrap_or_else(|| "(no run)".to_owned());
    let state = text(retry, "state").unwrap_or_default();
    let status = text(retry, "status").unwrap_or_default();
    let what = if state == "created" { status } else { state };
    let source = text(retry, "sourceRunId").filter(|source| source != above);
    let of = source.map(|source| format!("  of {source}"));
    let by = text(retry, "triggeredBy").map(|by| format!("  by {by}"));
    let why = text(retry, "reason").map(|why| format!("  \"{why}\""));
    format!(
        "{}└ {run}  {what}{}{}{}",
        "  ".repeat(depth),
        of.unwrap_or_default(),
        by.unwrap_or_default(),
        why.unwrap_or_default()
    )
}
