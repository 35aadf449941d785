//! `redrive workflows set`.

use clap::Args;

use super::variables::variable;
use crate::cli::{CliError, client::ApiArgs, input};

/// Arguments of `redrive workflows set`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Set {
    /// The workflow
    id: String,
    /// The variable
    name: String,
    /// Its value: JSON, or @FILE
    value: String,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Set {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let value = input::json_argument(&self.value)?;
        let path = ["workflows", self.id.as_str(), "variables", &self.name];
        let data = client.put(&path, format!("{{\"value\":{value}}}")).await?;
        self.api.output.one(&data, variable)
    }
}
