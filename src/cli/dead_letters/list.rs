//! `redrive dead-letters list`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive dead-letters list`.
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
        let data = client.get(&["dead-letters"], &query).await?;
        self.api.output.list(&data, view::dead_letters)
    }
}
