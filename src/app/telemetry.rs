//! Logs: to stderr, because stdout is data; without colour, because they are mostly read by
//! programs.

use anyhow::Context;
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::{LogConfig, LogFormat};

/// The filter when none is configured: the database's and the HTTP client's own chatter is left
/// out.
const DEFAULT_FILTER: &str = "info,sqlx=warn,hyper=warn,reqwest=warn";

/// Starts logging to stderr.
///
/// # Errors
/// The filter can't be read, or logging has been started before.
pub fn init_logging(config: &LogConfig) -> anyhow::Result<()> {
    let filter = config.filter.as_deref().unwrap_or(DEFAULT_FILTER);
    let filter = EnvFilter::try_new(filter).context("log.filter can't be read")?;
    let lines = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false);
    let started = match config.format {
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
        LogFormat::Text => lines.with_target(false).try_init(),
    };
    started.map_err(|error| anyhow::anyhow!("logging can't be started: {error}"))
}
