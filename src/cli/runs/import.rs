//! `redrive runs import`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, input, view};

/// Arguments of `redrive runs import`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Import {
    /// The run, as `GET /v1/runs/{id}` shows it: a file, or - for standard input
    file: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Import {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let text = input::read(&self.file)?;
        let data = client.post(&["runs", "import"], Some(text)).await?;
        self.api.output.one(&data, view::run)
    }
}
