//! `redrive runs writes`: what a run wrote to variables.

use clap::Args;
use serde_json::Value;

use crate::cli::{
    CliError,
    client::ApiArgs,
    table::{cut, table},
    view::text,
};

/// Arguments of `redrive runs writes`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Writes {
    /// The run
    id: String,
    /// At most so many, up to 100
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100))]
    limit: u32,
    /// Leave out so many
    #[arg(long, default_value_t = 0)]
    offset: u64,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Writes {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let query = [
            ("limit", self.limit.to_string()),
            ("offset", self.offset.to_string()),
        ];
        let client = self.api.client.client()?;
        let path = ["runs", self.id.as_str(), "variable-writes"];
        let data = client.get(&path, &query).await?;
        self.api.output.list(&data, writes)
    }
}

fn writes(items: &[Value]) -> String {
    let row = |write: &Value| {
        let cell = |name| text(write, name).unwrap_or_default();
        [
            cell("name"),
            cut(&cell("oldValue"), 40),
            cut(&cell("newValue"), 40),
            cell("writtenByNode"),
            cell("writtenAt"),
        ]
    };
    let rows: Vec<_> = items.iter().map(row).collect();
    table(["VARIABLE", "FROM", "TO", "BY NODE", "AT"], &rows)
}
