//! `redrive token revoke`.

use anyhow::Context;
use clap::Args;

use crate::{
    cli::{CliError, database::ConfigArgs},
    domain::{Clock, SystemClock, TokenId},
};

/// Arguments of `redrive token revoke`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Revoke {
    /// The token's id, as `redrive token list` shows it
    id: TokenId,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Revoke {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let store = self.config.open().await?;
        let revoked = store.revoke_token(&self.id, SystemClock.now()).await;
        if !revoked.context("the token can't be revoked")? {
            let message = format!("no token {} that is not revoked", self.id);
            return Err(CliError::NotFound(message));
        }
        eprintln!("token {} is revoked", self.id);
        Ok(())
    }
}
