//! `redrive migrate`: brings the database up to this version.

use anyhow::Context;
use clap::Args;

use super::{CliError, database::ConfigArgs};
use crate::store::Store;

/// Arguments of `redrive migrate`.
#[derive(Debug, Args)]
pub(super) struct Migrate {
    #[command(flatten)]
    config: ConfigArgs,
}

impl Migrate {
    pub(super) async fn run(self) -> Result<(), CliError> {
        migrate(&self.config.connect().await?).await
    }
}

/// Brings the database up to date and says what was done.
pub(super) async fn migrate(store: &Store) -> Result<(), CliError> {
    let missing = store.missing_migrations().await;
    let missing = missing.context("the database's version can't be read")?;
    store
        .migrate()
        .await
        .context("the database can't be brought up to date")?;
    match missing {
        0 => eprintln!("the database is up to date"),
        1 => eprintln!("1 migration applied"),
        n => eprintln!("{n} migrations applied"),
    }
    Ok(())
}
