//! `redrive runs cancel`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive runs cancel`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Cancel {
    /// The run
    id: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Cancel {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let data = client.post(&["runs", &self.id, "cancel"], None).await?;
        self.api.output.one(&data, view::run)
    }
}
