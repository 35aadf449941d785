//! `redrive runs`: runs, over the API.

mod cancel;
mod chain;
mod choices;
mod get;
mod import;
mod list;
mod plan;
mod resume;
mod retry;
mod start;
mod writes;

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
    /// Show what a retry of a run would do
    Plan(plan::Plan),
    /// Retry a failed or cancelled run from its failure point
    Retry(retry::Retry),
    /// Show a run's retries and theirs
    Chain(chain::Chain),
    /// Show what a run wrote to variables, in order
    Writes(writes::Writes),
    /// End the wait of a node with what came for it
    Resume(resume::Resume),
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
            Self::Plan(plan) => &plan.api,
            Self::Retry(retry) => &retry.api,
            Self::Chain(chain) => &chain.api,
            Self::Writes(writes) => &writes.api,
            Self::Resume(resume) => &resume.api,
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
            Self::Plan(plan) => plan.run().await,
            Self::Retry(retry) => retry.run().await,
            Self::Chain(chain) => chain.run().await,
            Self::Writes(writes) => writes.run().await,
            Self::Resume(resume) => resume.run().await,
            Self::Cancel(cancel) => cancel.run().await,
        }
    }
}
