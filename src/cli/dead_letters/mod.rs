//! `redrive dead-letters`: messages that could not be used, over the API.

mod drop;
mod get;
mod list;

use clap::Subcommand;

use super::{CliError, Format};

/// The subcommands of `redrive dead-letters`.
#[derive(Debug, Subcommand)]
pub(super) enum DeadLetters {
    /// List messages that could not be used, newest first
    List(list::List),
    /// Show one: why it could not be used, and what it was
    Get(get::Get),
    /// Drop some: nothing waits on them, and they can't be brought back
    Drop(drop::Drop),
}

impl DeadLetters {
    pub(super) fn format(&self) -> Format {
        match self {
            Self::List(list) => list.api.output.format(),
            Self::Get(get) => get.api.output.format(),
            Self::Drop(drop) => drop.api.output.format(),
        }
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::List(list) => list.run().await,
            Self::Get(get) => get.run().await,
            Self::Drop(drop) => drop.run().await,
        }
    }
}
