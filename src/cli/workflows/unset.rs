//! `redrive workflows unset`.

use clap::Args;

use super::variables::variable;
use crate::cli::{CliError, client::ApiArgs};

/// Arguments of `redrive workflows unset`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Unset {
    /// The workflow
    id: String,
    /// The variable
    name: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Unset {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let path = ["workflows", self.id.as_str(), "variables", &self.name];
        let data = client.delete(&path).await?;
        self.api.output.one(&data, variable)
    }
}
