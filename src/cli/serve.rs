//! `redrive serve`: the API, the workers, and what is between them, together or apart.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::{CliError, database, database::ConfigArgs, migrate};
use crate::app::{App, Role, Roles, StopSignals, init_telemetry};

/// Arguments of `redrive serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// What this process does; others do the rest, and share PostgreSQL and RabbitMQ with it
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ALL)]
    roles: Vec<RoleName>,
    /// Where to listen [default: `server.listen` of the configuration, 127.0.0.1:8080; without the
    /// role `api` `server.health_listen`, any free port]
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Bring the database up to this version first
    #[arg(long)]
    migrate: bool,
    #[command(flatten)]
    config: ConfigArgs,
}

/// A part of the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RoleName {
    /// Answers HTTP
    Api,
    /// Executes runs
    Worker,
    /// Brings accepted work to the workers
    Relay,
    /// Makes due what waits for a time
    Scheduler,
}

const ALL: [RoleName; 4] = [
    RoleName::Api,
    RoleName::Worker,
    RoleName::Relay,
    RoleName::Scheduler,
];

impl From<RoleName> for Role {
    fn from(name: RoleName) -> Self {
        match name {
            RoleName::Api => Self::Api,
            RoleName::Worker => Self::Worker,
            RoleName::Relay => Self::Relay,
            RoleName::Scheduler => Self::Scheduler,
        }
    }
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        let mut config = self.config.load()?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
            config.server.health_listen = listen;
        }
        let _telemetry = init_telemetry(&config.log)?;
        if self.migrate {
            migrate::migrate(&database::connect(&config).await?).await?;
        }
        let signals = StopSignals::install()?;
        let roles: Vec<Role> = self.roles.into_iter().map(Role::from).collect();
        let running = App::new(config).roles(Roles::of(&roles)).start().await?;
        eprintln!("redrive listens on http://{}", running.address());
        Ok(running.run_until(signals).await?)
    }
}
