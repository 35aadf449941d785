//! `redrive bench`: how many retries a second, how fast, and at what cost.
//!
//! It imports failed runs, retries each and waits for its end (a closed loop: no submitter posts
//! before its last retry has ended), and holds every new run to what it should have done; a single
//! one that did not fails the bench. `workload` is what is retried, `load` the submitters, `service`
//! what effects call, `processes` what it costs, `report` the figures.

mod load;
mod processes;
mod report;
mod service;
mod workload;

use std::net::SocketAddr;

use anyhow::{Context, anyhow};
use clap::Args;

use self::{
    load::Load,
    processes::{Named, Watch},
    report::Report,
    service::Service,
    workload::Workload,
};
use super::{CliError, Format, client::transport, database, dev, output};
use crate::{
    app::{App, Running},
    config::{Config, Secret},
};

/// Arguments of `redrive bench`.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// What is retried
    #[arg(long, value_enum, ignore_case = true, default_value = "w1")]
    workload: Workload,
    /// How many retries are measured
    #[arg(long, default_value_t = 2_000, value_parser = clap::value_parser!(u32).range(1..))]
    retries: u32,
    /// How many submitters there are
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..))]
    submitters: u32,
    /// How many retries are measured one at a time before
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..))]
    alone: u32,
    /// How many retries are queued in the lane bulk meanwhile [default: 0, in W4 100,000]
    #[arg(long)]
    backlog: Option<u32>,
    /// The API of a running installation; without it one is started in this process, with SQLite in
    /// a temporary folder or on the database and broker of --config
    #[arg(long, requires = "token", conflicts_with = "config")]
    url: Option<String>,
    /// The API token of a running installation, with the scopes retry and write
    #[arg(long, env = "REDRIVE_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Where the service of the workloads with effects listens: `connectors.default` of a running
    /// installation has to name it, and `http.allow_networks` to allow it
    #[arg(long, default_value = "127.0.0.1:0")]
    service: SocketAddr,
    /// A process of this machine to measure with all its children, as NAME=PID; may be repeated
    #[arg(long = "process", value_name = "NAME=PID")]
    processes: Vec<Named>,
    /// A configuration file for the instance in this process
    #[arg(long, value_name = "FILE")]
    config: Option<std::path::PathBuf>,
    #[command(flatten)]
    pub(super) output: output::OutputArgs,
}

/// Where the load goes, and what has to stay as long as it does.
struct Place {
    url: String,
    token: String,
    own: Option<(Running, tempfile::TempDir)>,
}

impl Bench {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let service = Service::open(self.service).await;
        let service = service.with_context(|| format!("nothing can listen on {}", self.service))?;
        let place = self.place(&service).await?;
        let done = self.measure(&place, &service).await;
        if let Some((running, _folder)) = place.own {
            running.stop().await;
        }
        let report = done?;
        match self.output.format() {
            Format::Table | Format::Id => output::print(&report.text())?,
            Format::Json | Format::Jsonl => output::print(&report.json().to_string())?,
        }
        Ok(())
    }

    async fn place(&self, service: &Service) -> Result<Place, CliError> {
        if let Some(url) = &self.url {
            let token = self.token.clone().unwrap_or_default();
            return Ok(Place {
                url: url.clone(),
                token,
                own: None,
            });
        }
        let folder = tempfile::tempdir().context("no temporary folder can be made")?;
        let config = self.own_config(folder.path(), service)?;
        let running = App::new(config).start().await?;
        Ok(Place {
            url: format!("http://{}", running.address()),
            token: dev::new_token(&running, "org_bench", "bench").await?,
            own: Some((running, folder)),
        })
    }

    /// A server of its own, whatever else runs on this machine; and no logs.
    fn own_config(&self, folder: &std::path::Path, service: &Service) -> Result<Config, CliError> {
        let mut config = match &self.config {
            Some(file) => database::load(Some(file))?,
            None => Config {
                database: crate::config::DatabaseConfig {
                    url: Secret::new(dev::sqlite_url(&folder.join("bench.db"))?),
                    ..Config::default().database
                },
                ..Config::default()
            },
        };
        config.server.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        let gateway = Secret::new(service.url());
        config.connectors.insert("default".to_owned(), gateway);
        dev::allow_loopback(&mut config)?;
        Ok(config)
    }

    async fn measure(&self, place: &Place, service: &Service) -> Result<Report, CliError> {
        let size = |count: u32| usize::try_from(count).unwrap_or(usize::MAX);
        let (alone, retries) = (size(self.alone), size(self.retries));
        let backlog = self.backlog.map_or(self.workload.backlog(), size);
        let load = Load::new(
            transport(place.url.starts_with("https:"))?,
            &place.url,
            &place.token,
            self.workload,
        );
        eprintln!("importing {} failed runs", alone + retries + backlog);
        load.seed(0, alone + retries + backlog, &service.url())
            .await?;
        if backlog > 0 {
            eprintln!("queueing {backlog} retries in the lane bulk");
            load.backlog(alone + retries, backlog).await?;
        }
        let before = service.calls();
        eprintln!("retrying {alone} runs one at a time");
        let one = load.measure(0, alone, 1).await?;
        let processes = self.watched();
        eprintln!("retrying {retries} runs, {} at a time", self.submitters);
        let watch = Watch::start(&processes);
        let together = load.measure(alone, retries, size(self.submitters)).await?;
        let usage = watch.stop();
        let calls = self.calls(before, service, (alone + retries, backlog))?;
        Ok(Report {
            workload: self.workload,
            submitters: size(self.submitters),
            backlog,
            alone: one,
            together,
            usage,
            calls,
        })
    }

    /// This process, if the instance is in it, and those that are named.
    fn watched(&self) -> Vec<Named> {
        let own = self.url.is_none().then(|| Named {
            name: "this one, with its submitters".to_owned(),
            pid: std::process::id(),
        });
        own.into_iter().chain(self.processes.clone()).collect()
    }

    /// The calls of effects since `before`: with nothing killed, each is made once. Those of the
    /// backlog may be made before, meanwhile or after.
    fn calls(
        &self,
        before: (usize, usize),
        service: &Service,
        (retries, backlog): (usize, usize),
    ) -> Result<Option<(usize, usize)>, CliError> {
        let (least, more) = (
            self.workload.calls() * retries,
            self.workload.calls() * backlog,
        );
        if least == 0 {
            return Ok(None);
        }
        let (all, keys) = service.calls();
        let (all, keys) = (all - before.0, keys - before.1);
        if all < least || all > least + more {
            let message = format!("the service was called {all} times for {least} effects");
            return Err(anyhow!(message).into());
        }
        Ok(Some((all, keys)))
    }
}
