//! `redrive retries`: what became of accepted retries, over the API.

mod get;
mod list;

use clap::Subcommand;

use super::{CliError, Format};

/// The subcommands of `redrive retries`.
#[derive(Debug, Subcommand)]
pub(super) enum Retries {
    /// List accepted retries, newest first
    List(list::List),
    /// Show one retry: who, when, why, and what became of it
    Get(get::Get),
}

impl Retries {
    pub(super) fn format(&self) -> Format {
        match self {
            Self::List(list) => list.api.output.format(),
            Self::Get(get) => get.api.output.format(),
        }
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Get(get) => get.run().await,
        }
    }
}
