//! `redrive runs plan`: what a retry would do, drawn before it is done.

use clap::Args;
use serde_json::Value;

use super::choices::Choices;
use crate::cli::{
    CliError, Format,
    client::ApiArgs,
    output::{parse, print},
    plan_view,
    view::text,
};

/// Arguments of `redrive runs plan`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Plan {
    /// The failed or cancelled run
    id: String,
    #[command(flatten)]
    choices: Box<Choices>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

/// The paths of the nodes that run.
fn ids(answer: &Value) -> Vec<String> {
    let lines = answer["plan"]["nodes"].as_array().into_iter().flatten();
    let running =
        lines.filter(|line| line["verdict"] == "execute" || line["verdict"] == "in_doubt");
    running.filter_map(|line| text(line, "path")).collect()
}

impl Plan {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = self.choices.body()?;
        let data = client.post(&["runs", &self.id, "retry-plan"], body).await?;
        if self.api.output.format() != Format::Table {
            return self.api.output.one_of_many(&data, |_| String::new(), ids);
        }
        let run: Value = parse(&client.get(&["runs", &self.id], &[]).await?)?;
        print(&plan_view::plan(&parse(&data)?, &run["workflowDefinition"]))
    }
}
