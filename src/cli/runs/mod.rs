//! `redrive runs`: runs, over the API.

mod cancel;
mod get;
mod import;
mod list;
mod retry;
mod start;

use clap::Subcommand;

use super::{CliError, Format};

/// The subcommands of `redrive runs`.
#[derive(Debug, Subcommand)]
pub(super) enum Runs {
    /// List runs, newest first
    List(list::List),
    /// Show a run and its nodes
    Get(get::Get),
    /// Start a run
    Start(start::Start),
    /// Import an ended run as another platform shows it
    Import(import::Import),
    /// Retry a failed or cancelled run from its failure point
    Retry(retry::Retry),
    /// Cancel a run
    Cancel(cancel::Cancel),
}

impl Runs {
    pub(super) fn format(&self) -> Format {
        let api = match self {
            Self::List(list) => &list.api,
            Self::Get(get) => &get.api,
            Self::Start(start) => &start.api,
            Self::Import(import) => &import.api,
            Self::Retry(retry) => &retry.api,
            Self::Cancel(cancel) => &cancel.api,
        };
        api.output.format()
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Get(get) => get.run().await,
            Self::Start(start) => start.run().await,
            Self::Import(import) => import.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Cancel(cancel) => cancel.run().await,
        }
    }
}
