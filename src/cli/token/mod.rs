//! `redrive token`: API tokens, directly in the database, so that the first one needs no token.

mod create;
mod list;
mod revoke;

use clap::Subcommand;

use super::{CliError, Format};

/// The subcommands of `redrive token`.
#[derive(Debug, Subcommand)]
pub(super) enum Token {
    /// Make a token; it is printed once and can't be shown again
    Create(create::Create),
    /// List all tokens, revoked ones too
    List(list::List),
    /// Revoke a token: it is refused from then on
    Revoke(revoke::Revoke),
}

impl Token {
    pub(super) fn format(&self) -> Format {
        match self {
            Self::List(list) => list.output.format(),
            Self::Create(_) | Self::Revoke(_) => Format::Table,
        }
    }

    pub(super) async fn run(self) -> Result<(), CliError> {
        match self {
            Self::Create(create) => create.run().await,
            Self::List(list) => list.run().await,
            Self::Revoke(revoke) => revoke.run().await,
        }
    }
}
