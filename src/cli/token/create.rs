//! `redrive token create`: only the token goes to standard output.

use anyhow::Context;
use clap::Args;

use crate::{
    api::auth::{self, Scopes, UnknownScope},
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
    /// What it may do: read, retry, write, operator; separated by commas
    #[arg(long, default_value = "read,retry,write", value_parser = scopes)]
    scopes: Scopes,
    #[command(flatten)]
    config: ConfigArgs,
}

impl Create {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let store = self.config.open().await?;
        let now = SystemClock.now();
        let minted = auth::mint(&self.org, self.name.as_deref(), &self.scopes, now);
        let (token, text) = minted.context("no token can be made")?;
        store
            .insert_token(&token)
            .await
            .context("the token can't be stored")?;
        eprintln!("token {} of {} may {}", token.id, self.org, self.scopes);
        eprintln!(
            "it is shown only this once; revoke it with: redrive token revoke {}",
            token.id
        );
        output::print(&text)
    }
}

/// At least one scope.
fn scopes(text: &str) -> Result<Scopes, String> {
    let scopes: Scopes = text.parse().map_err(|e: UnknownScope| e.to_string())?;
    if scopes.to_string().is_empty() {
        return Err("a token without a scope may do nothing".to_owned());
    }
    Ok(scopes)
}
