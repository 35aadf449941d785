//! `redrive runs retry`.

use clap::Args;

use super::choices::Choices;
use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive runs retry`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Retry {
    /// The failed or cancelled run
    id: String,
    #[command(flatten)]
    choices: Box<Choices>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Retry {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = self.choices.body()?;
        let data = client.post(&["runs", &self.id, "retry"], body).await?;
        self.api.output.one(&data, view::accepted)
    }
}
