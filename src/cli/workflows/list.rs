//! `redrive workflows list`.

use clap::Args;
use serde_json::Value;

use crate::cli::{CliError, client::ApiArgs, table::table, view::text};

/// Arguments of `redrive workflows list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// At most so many, up to 100
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Leave out so many
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl List {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let query = [
            ("limit", self.limit.to_string()),
            ("offset", self.offset.to_string()),
        ];
        let client = self.api.client.client()?;
        let data = client.get(&["workflows"], &query).await?;
        self.api.output.list(&data, workflows)
    }
}

fn workflows(items: &[Value]) -> String {
    let row = |workflow: &Value| {
        let cell = |name| text(workflow, name).unwrap_or_default();
        [cell("id"), cell("version"), cell("updatedAt"), cell("name")]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(["ID", "VERSION", "UPDATED", "NAME"], &rows)
}
