//! `redrive workflows put`.

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use super::get::workflow;
use crate::cli::{CliError, client::ApiArgs, input};

/// Arguments of `redrive workflows put`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Put {
    /// The workflow
    id: String,
    /// The definition: a file, or - for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    definition: String,
    /// What people call it
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// The request body. What the user wrote goes out as it was written.
#[derive(Serialize)]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    definition: Box<RawValue>,
}

impl Put {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = Body {
            name: self.name,
            definition: input::json(&input::read(&self.definition)?, "the definition")?,
        };
        let body = serde_json::to_string(&body).map_err(anyhow::Error::from)?;
        let data = client.put(&["workflows", &self.id], body).await?;
        self.api.output.one(&data, workflow)
    }
}
