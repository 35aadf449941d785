//! `redrive runs list`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive runs list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only runs with this status
    #[arg(
        long,
        value_parser = ["waiting", "running", "success", "partial", "failure", "cancelled"]
    )]
    status: Option<String>,
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
        let mut query = vec![
            ("limit", self.limit.to_string()),
            ("offset", self.offset.to_string()),
        ];
        query.extend(self.status.map(|status| ("status", status)));
        let data = self.api.client.client()?.get(&["runs"], &query).await?;
        self.api.output.list(&data, view::runs)
    }
}
