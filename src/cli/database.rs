//! The database for commands that work on it directly.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;

use super::CliError;
use crate::{config::Config, store::Store};

/// Where the configuration is.
#[derive(Debug, Clone, Args)]
pub(super) struct ConfigArgs {
    /// The configuration file [default: redrive.toml, if there is one]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl ConfigArgs {
    /// The configuration: defaults, file, environment.
    pub(super) fn load(&self) -> Result<Config, CliError> {
        load(self.config.as_deref())
    }

    /// Connects to the configured database, without touching its schema.
    pub(super) async fn connect(&self) -> Result<Store, CliError> {
        connect(&self.load()?).await
    }

    /// Connects to the configured database. An embedded one is brought up to date; another one
    /// must be.
    pub(super) async fn open(&self) -> Result<Store, CliError> {
        let store = self.connect().await?;
        match &store {
            Store::Sqlite(_) => store
                .migrate()
                .await
                .context("the database can't be prepared")?,
            Store::Postgres(_) => require_schema(&store).await?,
        }
        Ok(store)
    }
}

/// The configuration: defaults, this file or `redrive.toml`, environment.
pub(super) fn load(file: Option<&Path>) -> Result<Config, CliError> {
    Config::load(file).map_err(|e| CliError::Usage(e.to_string()))
}

/// Connects to the database, without touching its schema.
pub(super) async fn connect(config: &Config) -> Result<Store, CliError> {
    let store = Store::connect(&config.database).await;
    Ok(store.context("the database can't be opened")?)
}

async fn require_schema(store: &Store) -> Result<(), CliError> {
    let missing = store.missing_migrations().await;
    if missing.context("the database's version can't be read")? == 0 {
        return Ok(());
    }
    let message = "the database is older than this program: run `redrive migrate`";
    Err(anyhow::anyhow!(message).into())
}
