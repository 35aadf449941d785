//! `redrive runs resume`.

use clap::Args;
use serde::Serialize;
use serde_json::{Value, value::RawValue};

use crate::cli::{CliError, client::ApiArgs, input, table::record, view::text};

/// Arguments of `redrive runs resume`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Resume {
    /// The run
    run: String,
    /// The node that waits, or its path in an iteration (`loop[3].approve`)
    node: String,
    /// What came for it: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// The request body. What the user wrote goes out as it was written.
#[derive(Serialize)]
struct Body {
    data: Box<RawValue>,
}

impl Resume {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = match self.data.as_deref() {
            None => None,
            Some(data) => {
                let data = input::json_argument(data)?;
                Some(serde_json::to_string(&Body { data }).map_err(anyhow::Error::from)?)
            }
        };
        let path = ["runs", &self.run, "nodes", &self.node, "resume"];
        let data = client.post(&path, body).await?;
        self.api.output.one(&data, outcome)
    }
}

fn outcome(answer: &Value) -> String {
    record(&[
        ("action", text(answer, "action")),
        ("reason", text(answer, "reason")),
    ])
}
