//! `redrive dead-letters get`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive dead-letters get`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Get {
    /// The dead letter
    id: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Get {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let data = client.get(&["dead-letters", &self.id], &[]).await?;
        self.api.output.one(&data, view::dead_letter)
    }
}
