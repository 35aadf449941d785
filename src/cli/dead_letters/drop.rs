//! `redrive dead-letters drop`.

use clap::Args;

use crate::cli::{CliError, client::ApiArgs, view};

/// Arguments of `redrive dead-letters drop`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Drop {
    /// The dead letters
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    #[command(flatten)]
    pub(super) api: ApiArgs,
}

impl Drop {
    /// One that is not there does not keep the others; any other refusal ends it. What was dropped
    /// is written in every case: nothing else has it now.
    pub(super) async fn run(self) -> Result<(), CliError> {
        let client = self.api.client.client()?;
        let (mut dropped, mut failure) = (Vec::new(), None);
        for id in &self.ids {
            match client.delete(&["dead-letters", id]).await {
                Ok(data) => dropped.push(data),
                Err(error @ CliError::Api(_)) if error.exit_code() == NOT_FOUND => {
                    failure = Some(CliError::NotFound(format!("there is no dead letter {id}")));
                }
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        if !dropped.is_empty() {
            let data = format!(r#"{{"items":[{}]}}"#, dropped.join(","));
            self.api.output.list(&data, view::dead_letters)?;
        }
        failure.map_or(Ok(()), Err)
    }
}

/// The exit code of a 404.
const NOT_FOUND: u8 = 3;
