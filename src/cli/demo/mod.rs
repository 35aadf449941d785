//! `redrive demo`: a failed run is retried from its failure point, before your eyes.
//!
//! `story` is what happens, `shop` the flaky service it happens to, `checks` whether it happened,
//! `report` what is printed. The demo uses the API as anybody would, over HTTP, and fails if a
//! single thing that it says is not true.

mod checks;
mod report;
mod seen;
mod shop;
mod story;

use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use clap::Args;
use serde_json::Value;

use self::{checks::Evidence, shop::Shop};
use super::{CliError, client::Client, dev, output::print, view};
use crate::{
    app::{App, Running},
    config::{Config, Secret},
};

/// Arguments of `redrive demo`: none.
#[derive(Debug, Args)]
pub(super) struct Demo {}

impl Demo {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let started = Instant::now();
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let shop = Shop::open()
            .await
            .context("the shop can't listen on 127.0.0.1")?;
        let running = App::new(config(folder.path())?).start().await?;
        let played = play(&running, &shop, started).await;
        running.stop().await;
        played
    }
}

/// A server of its own, whatever is configured on this machine; and no logs.
fn config(folder: &std::path::Path) -> Result<Config, CliError> {
    let mut config = Config::default();
    config.server.listen.set_port(0);
    config.database.url = Secret::new(dev::sqlite_url(&folder.join("demo.db"))?);
    dev::allow_loopback(&mut config)?;
    Ok(config)
}

async fn play(running: &Running, shop: &Shop, started: Instant) -> Result<(), CliError> {
    let url = format!("http://{}", running.address());
    print(&report::opening(&url, &shop.url()))?;
    let client = client(running, &url).await?;

    let body = story::start(&shop.url()).to_string();
    let source = accepted(&client.post(&["runs"], Some(body)).await?)?;
    let source = seen::until_ended(&client, &source).await?;
    print(&report::failed(&source))?;

    shop.repair();
    let id = source.text("id");
    let retry = accepted(&client.post(&["runs", &id, "retry"], None).await?)?;
    let retry = seen::until_ended(&client, &retry).await?;
    print(&report::retried(&source, &retry))?;

    let evidence = Evidence {
        source_after: seen::read(&client, &id).await?,
        calls: shop.calls(),
        source,
        retry,
    };
    print(&report::effects(&evidence))?;
    verdict(&evidence)?;
    print(&report::meaning())?;
    print(&report::closing(&evidence.retry, started.elapsed()))
}

async fn client(running: &Running, url: &str) -> Result<Client, CliError> {
    let token = dev::new_token(running, "org_demo", "demo").await?;
    Client::new(url, &token, Duration::from_secs(10))
}

/// The id of the run that a start or a retry answers with.
fn accepted(data: &str) -> Result<String, CliError> {
    let data: Value = serde_json::from_str(data).context("the answer can't be read")?;
    let id = view::text(&data, "runId").context("the answer names no run")?;
    Ok(id)
}

fn verdict(evidence: &Evidence) -> Result<(), CliError> {
    let problems = checks::problems(evidence);
    if problems.is_empty() {
        return Ok(());
    }
    let list = problems.join("\n  - ");
    Err(anyhow!("the demo did not go as it should:\n  - {list}").into())
}
