//! `redrive workflows get`.

use clap::Args;
use serde_json::Value;

use crate::cli::{CliError, client::ApiArgs, table::record, view::text};

/// Arguments of `redrive workflows get`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// The workflow
    id: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Get {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let data = client.get(&["workflows", &self.id], &[]).await?;
        self.api.output.one(&data, workflow)
    }
}

/// One workflow, without its definition.
pub(super) fn workflow(workflow: &Value) -> String {
    let member = |name| text(workflow, name);
    record(&[
        ("id", member("id")),
        ("name", member("name")),
        ("version", member("version")),
        ("created", member("createdAt")),
        ("updated", member("updatedAt")),
    ])
}
