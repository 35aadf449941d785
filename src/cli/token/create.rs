//! `redrive token create`: only the token goes to standard output.

use anyhow::Context;
use clap::Args;

use crate::{
    api::auth::{self, Scopes},
    cli::{CliError, database::ConfigArgs, output},
    domain::{Clock, OrganizationId, SystemClock},
};

/// Arguments of `redrive token create`.
#[derive(Debug, Args)]
pub(in crate::cli) struct Create {
    /// The organization it speaks for
    #[arg(long, value_name = "ORG")]
    org: OrganizationId,
    /// A name for people: recorded as `triggeredBy`
    #[arg(long)]
    name: Option<String>,
    /// What it may do
    #[arg(
        long,
        value_delimiter = ',',
        default_values = ["read", "retry", "write"],
        value_parser = ["read", "retry", "write", "operator"]
    )]
    scopes: Vec<String>,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let store = self.config.open().await?;
        let scopes: Scopes = self.scopes.join(" ").parse().context("the scopes")?;
        let now = SystemClock.now();
        let (token, text) = auth::mint(&self.org, self.name.as_deref(), &scopes, now)
            .context("the system has no random numbers")?;
        store
            .insert_token(&token)
            .await
            .context("the token can't be stored")?;
        eprintln!("token {} of {} may {}", token.id, self.org, scopes);
        eprintln!(
            "it is shown only this once; revoke it with: redrive token revoke {}",
            token.id
        );
        output::print(&text)
    }
}
