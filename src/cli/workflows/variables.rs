//! `redrive workflows variables`.

use clap::Args;
use serde_json::Value;

use crate::cli::{
    CliError,
    client::ApiArgs,
    table::{cut, record, table},
    view::text,
};

/// Arguments of `redrive workflows variables`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Variables {
    /// The workflow
    id: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Variables {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let path = ["workflows", self.id.as_str(), "variables"];
        let data = client.get(&path, &[]).await?;
        self.api.output.list(&data, variables)
    }
}

fn variables(items: &[Value]) -> String {
    let row = |variable: &Value| {
        let cell = |name| text(variable, name).unwrap_or_default();
        [
            cell("name"),
            cell("type"),
            cut(&cell("value"), 60),
            cell("updatedAt"),
            cell("updatedByRunId"),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(["NAME", "TYPE", "VALUE", "SET AT", "BY RUN"], &rows)
}

/// One variable.
pub(super) fn variable(variable: &Value) -> String {
    let member = |name| text(variable, name);
    record(&[
        ("name", member("name")),
        ("type", member("type")),
        ("value", member("value")),
        ("default", member("default")),
        ("set at", member("updatedAt")),
        ("by run", member("updatedByRunId")),
    ])
}
