//! `redrive runs retry`.

use clap::Args;
use serde_json::json;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive runs retry`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Retry {
    /// The failed or cancelled run
    id: String,
    /// Why: recorded with the retry
    #[arg(long)]
    reason: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Retry {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = self
            .reason
            .map(|reason| json!({ "reason": reason }).to_string());
        let data = client.post(&["runs", &self.id, "retry"], body).await?;
        self.api.output.one(&data, view::accepted)
    }
}
