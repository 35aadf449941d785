//! `redrive runs start`.

use clap::Args;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::cli::{CliError, client::ApiArgs, input, view};

/// Arguments of `redrive runs start`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Start {
    /// The definition: a file, or - for standard input
    #[arg(long, value_name = "FILE", default_value = "-")]
    definition: String,
    /// The trigger's payload: JSON, or @FILE
    #[arg(long, value_name = "JSON")]
    payload: Option<String>,
    /// The values of `$props`: a JSON object, or @FILE
    #[arg(long, value_name = "JSON")]
    props: Option<String>,
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
    definition: Box<RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prop_values: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run_id: Option<String>,
}

impl Start {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let body = self.body()?;
        let data = client.post(&["runs"], Some(body)).await?;
        self.api.output.one(&data, view::started)
    }

    fn body(&self) -> Result<String, CliError> {
        let argument =
            |text: &Option<String>| text.as_deref().map(input::json_argument).transpose();
        let body = Body {
            definition: input::json(&input::read(&self.definition)?, "the definition")?,
            payload: argument(&self.payload)?,
            prop_values: argument(&self.props)?,
            run_id: self.run_id.clone(),
        };
        Ok(serde_json::to_string(&body).map_err(anyhow::Error::from)?)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        start: Start,
    }

    #[test]
    fn the_body_holds_what_was_given_as_it_was_given() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"nodes\": {}}\n").unwrap();
        let path = file.path().to_str().unwrap();
        let start = |more: &[&str]| {
            let line = ["start", "--definition", path];
            Line::parse_from(line.iter().chain(more))
                .start
                .body()
                .unwrap()
        };
        assert_eq!(start(&[]), "{\"definition\":{\"nodes\": {}}}");
        assert_eq!(
            start(&["--payload", "1E400", "--props", "{}", "--run-id", "run_1"]),
            "{\"definition\":{\"nodes\": {}},\"payload\":1E400,\"propValues\":{},\
             \"runId\":\"run_1\"}"
        );
    }
}
