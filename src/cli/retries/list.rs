//! `redrive retries list`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive retries list`.
#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    /// Only retries in this state
    #[arg(
        long,
        value_parser = [
            "scheduled", "queued", "claimed", "created", "refused", "superseded", "cancelled",
        ]
    )]
    state: Option<String>,
    /// Only retries of this run
    #[arg(long, value_name = "RUN")]
    source: Option<String>,
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
        query.extend(self.state.map(|state| ("state", state)));
        query.extend(self.source.map(|source| ("sourceRunId", source)));
        let data = self.api.client.client()?.get(&["retries"], &query).await?;
        self.api.output.list(&data, view::retries)
    }
}
