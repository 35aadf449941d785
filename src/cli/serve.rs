//! `redrive serve`: the API and the workers.

use std::net::SocketAddr;

use clap::{Args, ValueEnum};

use super::{CliError, database, database::ConfigArgs, migrate};
use crate::{
    app::{App, StopSignals, init_telemetry},
    config::Config,
};

/// Arguments of `redrive serve`.
#[derive(Debug, Args)]
pub(super) struct Serve {
    /// What this process does; this version does all of it in one process
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ALL)]
    roles: Vec<Role>,
    /// Where to listen [default: `server.listen` of the configuration, 127.0.0.1:8080]
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
enum Role {
    /// Answers HTTP
    Api,
    /// Executes runs
    Worker,
    /// Brings accepted work to the workers
    Relay,
    /// Makes due what waits for a time
    Scheduler,
}

const ALL: [Role; 4] = [Role::Api, Role::Worker, Role::Relay, Role::Scheduler];

impl Serve {
    pub(super) async fn run(self) -> Result<(), CliError> {
        require_all_roles(&self.roles)?;
        let mut config = self.config.load()?;
        require_no_broker(&config)?;
        if let Some(listen) = self.listen {
            config.server.listen = listen;
        }
        let _telemetry = init_telemetry(&config.log)?;
        if self.migrate {
            migrate::migrate(&database::connect(&config).await?).await?;
        }
        let signals = StopSignals::install()?;
        let running = App::new(config).start().await?;
        eprintln!("redrive listens on http://{}", running.address());
        Ok(running.run_until(signals).await?)
    }
}

fn require_all_roles(roles: &[Role]) -> Result<(), CliError> {
    if ALL.iter().all(|role| roles.contains(role)) {
        return Ok(());
    }
    Err(CliError::Usage(
        "a process with some of the roles needs PostgreSQL and RabbitMQ, and RabbitMQ is not \
         supported by this version: leave --roles out"
            .to_owned(),
    ))
}

fn require_no_broker(config: &Config) -> Result<(), CliError> {
    match config.broker.url {
        None => Ok(()),
        Some(_) => Err(CliError::Usage(
            "RabbitMQ is not supported by this version: unset AMQP_URL and broker.url".to_owned(),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn a_subset_of_the_roles_is_refused() {
        assert!(require_all_roles(&ALL).is_ok());
        let error = require_all_roles(&[Role::Api, Role::Relay]).unwrap_err();
        assert_eq!(error.exit_code(), 2);
    }

    #[test]
    fn a_broker_is_refused() {
        let mut config = Config::default();
        assert!(require_no_broker(&config).is_ok());
        config.broker.url = Some(Secret::new("amqp://localhost"));
        let error = require_no_broker(&config).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("RabbitMQ is not supported by this version")
        );
    }
}
