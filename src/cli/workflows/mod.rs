//! `redrive workflows`: registered workflows and the variables that live on them, over the API.

mod get;
mod list;
mod put;
mod run;
mod set;
mod unset;
mod variables;

use clap::Subcommand;

use super::{CliError, Format};

/// The subcommands of `redrive workflows`.
#[derive(Debug, Subcommand)]
pub(super) enum Workflows {
    /// List registered workflows
    List(list::List),
    /// Show a workflow; -o json has its definition
    Get(get::Get),
    /// Register a workflow or update it: another definition is another version
    Put(put::Put),
    /// Start a run of a workflow
    Run(run::RunWorkflow),
    /// List the variables that live on a workflow, and their values
    Variables(variables::Variables),
    /// Set a variable that lives on a workflow
    Set(set::Set),
    /// Give a variable that lives on a workflow its default again
    Unset(unset::Unset),
}

impl Workflows {
    pub(super) fn format(&self) -> Format {
        let api = match self {
            Self::List(list) => &list.api,
            Self::Get(get) => &get.api,
            Self::Put(put) => &put.api,
            Self::Run(run) => &run.api,
            Self::Variables(variables) => &variables.api,
            Self::Set(set) => &set.api,
            Self::Unset(unset) => &unset.api,
        };
        api.output.format()
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Get(get) => get.run().await,
            Self::Put(put) => put.run().await,
            Self::Run(run) => run.run().await,
            Self::Variables(variables) => variables.run().await,
            Self::Set(set) => set.run().await,
            Self::Unset(unset) => unset.run().await,
        }
    }
}
