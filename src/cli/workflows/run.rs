//! `redrive workflows run`.

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::{CliError, client::ApiArgs, input, view};

/// Arguments of `redrive workflows run`.
#[derive(Debug, Args)]
pub(in crate::cli) struct RunWorkflow {
    /// The workflow
    id: String,
    /// The trigger's payload: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The values of `$props`: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    props: Option<String>,
    /// The trigger that fires, where the definition has several
    #[arg(long, value_name = "NODE")]
    trigger: Option<String>,
    /// A version, instead of the newest
    #[arg(long)]
    version: Option<i64>,
    /// The new run's id, instead of a generated one
    #[arg(long, value_name = "ID")]
    run_id: Option<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// The request body. What the user wrote goes out as it was written.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body {
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prop_values: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    trigger_node_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

impl RunWorkflow {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let argument =
            |text: &Option<String>| text.as_deref().map(input::json_argument).transpose();
        let body = Body {
            payload: argument(&self.payload)?,
            prop_values: argument(&self.props)?,
            trigger_node_id: self.trigger,
            version: self.version,
            run_id: self.run_id,
        };
        let body = serde_json::to_string(&body).map_err(anyhow::Error::from)?;
        let path = ["workflows", self.id.as_str(), "run"];
        let data = client.post(&path, Some(body)).await?;
        self.api.output.one(&data, view::started)
    }
}
