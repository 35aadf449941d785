//! `redrive runs get`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive runs get`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// The run
    id: String,
    /// Leave out the nodes and the definition
    #[arg(long)]
    summary: bool,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Get {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let summary = self.summary.then(|| ("summary", "true".to_owned()));
        let query: Vec<_> = summary.into_iter().collect();
        let client = self.api.client.client()?;
        let data = client.get(&["runs", &self.id], &query).await?;
        self.api.output.one(&data, view::run)
    }
}
