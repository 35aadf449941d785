//! The configuration: plain sections, each handed to the room that needs it.
//!
//! Defaults < `redrive.toml` < environment (`REDRIVE_SECTION__KEY`, and `DATABASE_URL`,
//! `AMQP_URL`, `PORT`) < flags. Unknown keys are errors. Secrets are never printed.

use std::{collections::BTreeMap, fmt, net::SocketAddr, time::Duration};

use ipnet::IpNet;
use serde::Deserialize;

mod error;
mod load;
mod otlp;

pub use error::ConfigError;
pub use otlp::OtlpConfig;

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself; take care where it goes.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// The most that `limits.expression_bytes` may be: finding the end of an expression takes a look at
/// so much text behind every mark.
pub const MOST_EXPRESSION_BYTES: usize = 64 * 1024;

/// Everything that can be configured.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The HTTP server.
    pub server: ServerConfig,
    /// The ledger.
    pub database: DatabaseConfig,
    /// The distribution of work.
    pub broker: BrokerConfig,
    /// The workers.
    pub worker: WorkerConfig,
    /// What HTTP nodes may reach.
    pub http: HttpConfig,
    /// The connector gateway: a URL per node type (`slack-post`), per prefix (`slack-*`), and
    /// `default`.
    pub connectors: BTreeMap<String, Secret>,
    /// What an executed attempt costs, by node type; 1 for types that are not named.
    pub cu: BTreeMap<String, f64>,
    /// Limits that protect the process.
    pub limits: LimitsConfig,
    /// Logging.
    pub log: LogConfig,
}

/// `[server]`: the HTTP server.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Where to listen (`REDRIVE_SERVER__LISTEN`; `PORT` replaces the port). Default
    /// `127.0.0.1:8080`.
    pub listen: SocketAddr,
    /// Where a process without the role `api` answers `/livez`, `/readyz` and `/metrics`
    /// (`REDRIVE_SERVER__HEALTH_LISTEN`). Default `127.0.0.1:0`: any free port, named at the start.
    pub health_listen: SocketAddr,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 8080)),
            health_listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        }
    }
}

/// `[database]`: the ledger.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// `sqlite:` and a file, or a `postgres:` URL (`DATABASE_URL` or `REDRIVE_DATABASE__URL`).
    /// Default `sqlite:.redrive/redrive.db`.
    pub url: Secret,
    /// PostgreSQL connections of this process (`REDRIVE_DATABASE__MAX_CONNECTIONS`). Default 10;
    /// two more renew leases.
    pub max_connections: u32,
    /// How long to wait for one of them, in milliseconds
    /// (`REDRIVE_DATABASE__ACQUIRE_TIMEOUT_MS`). Default 3000.
    pub acquire_timeout_ms: u64,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        Self {
            url: Secret::new("sqlite:.redrive/redrive.db"),
            max_connections: 10,
            acquire_timeout_ms: 3_000,
        }
    }
}

/// `[broker]`: the distribution of work.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BrokerConfig {
    /// An `amqp:` URL (`AMQP_URL` or `REDRIVE_BROKER__URL`); none for the queue inside the process.
    pub url: Option<Secret>,
    /// What the names of exchanges and queues begin with (`REDRIVE_BROKER__PREFIX`), so that several
    /// installations can share a virtual host. Default `redrive`; at most 200 bytes.
    pub prefix: String,
    /// Whether retries may be published instead of requested
    /// (`REDRIVE_BROKER__ACCEPT_EXTERNAL_INTENTS`): whoever may write to the exchange may then retry
    /// runs of any organisation. Default false.
    pub accept_external_intents: bool,
}

impl Default for BrokerConfig {
    fn default() -> Self {
        Self {
            url: None,
            prefix: "redrive".to_owned(),
            accept_external_intents: false,
        }
    }
}

/// `[worker]`: the workers.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorkerConfig {
    /// Runs that this process executes at once (`REDRIVE_WORKER__SLOTS`). Default 32.
    pub slots: u32,
    /// How long a lease lasts, in milliseconds (`REDRIVE_WORKER__LEASE_MS`). Default 60000. It is
    /// renewed at a third of it; a worker that could not renew for two thirds stops the run.
    pub lease_ms: u64,
    /// How long a call in flight may go on once its run is cancelled, in milliseconds
    /// (`REDRIVE_WORKER__CANCEL_GRACE_MS`). Default 10000.
    pub cancel_grace_ms: u64,
    /// How long a stop may take, in milliseconds (`REDRIVE_WORKER__DRAIN_MS`). Default 25000.
    pub drain_ms: u64,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        Self {
            slots: 32,
            lease_ms: 60_000,
            cancel_grace_ms: 10_000,
            drain_ms: 25_000,
        }
    }
}

impl WorkerConfig {
    /// How long a lease lasts.
    #[must_use]
    pub const fn lease(&self) -> Duration {
        Duration::from_millis(self.lease_ms)
    }
}

/// `[http]`: what HTTP nodes may reach.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// Networks that are not global and yet allowed
    /// (`REDRIVE_HTTP__ALLOW_NETWORKS='["127.0.0.0/8"]'`). Default none.
    pub allow_networks: Vec<IpNet>,
}

/// `[limits]`: limits that protect the process.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LimitsConfig {
    /// Bytes of a request body. Default 1 MiB.
    pub body_bytes: usize,
    /// Bytes of a request body that carries a run or a definition. Default 16 MiB.
    pub import_bytes: usize,
    /// Nodes of a definition. Default 10000.
    pub nodes: usize,
    /// Loops inside each other in a definition, at most 100. Default 10.
    pub loop_depth: usize,
    /// Iterations of a loop. Default 100.
    pub loop_iterations: usize,
    /// Bytes of a node's resolved payload. Default 1 MiB.
    pub payload_bytes: usize,
    /// Bytes between the marks of an expression. Default 4096, at most
    /// [`MOST_EXPRESSION_BYTES`].
    pub expression_bytes: usize,
    /// Expressions in one text of a payload. Default 64.
    pub expressions_per_string: usize,
    /// Bytes of one text or key of a payload once it is resolved. Default 1 MiB.
    pub field_bytes: usize,
    /// Bytes of all texts and keys of a node's payload once they are resolved. Default 4 MiB.
    pub node_bytes: usize,
    /// Bytes of a node's result. Default 10 MiB.
    pub result_bytes: usize,
    /// Bytes of all results and inputs of a run. Default 64 MiB.
    pub state_bytes: usize,
    /// Runs of a chain. Default 100.
    pub chain_length: u32,
    /// Runs that start each other. Default 10.
    pub child_depth: u32,
    /// Runs of an organisation that may be under way; further starts and retries over HTTP are
    /// refused (429). Runs that nodes start and retries that are published count, and are not
    /// refused. Default 0: any number.
    pub live_runs: u32,
}

impl LimitsConfig {
    /// How many runs of an organisation may be under way, if that is limited.
    #[must_use]
    pub fn live_limit(&self) -> Option<u32> {
        (self.live_runs > 0).then_some(self.live_runs)
    }
}

impl Default for LimitsConfig {
    fn default() -> Self {
        const MIB: usize = 1024 * 1024;
        Self {
            body_bytes: MIB,
            import_bytes: 16 * MIB,
            nodes: 10_000,
            loop_depth: 10,
            loop_iterations: 100,
            payload_bytes: MIB,
            expression_bytes: 4 * 1024,
            expressions_per_string: 64,
            field_bytes: MIB,
            node_bytes: 4 * MIB,
            result_bytes: 10 * MIB,
            state_bytes: 64 * MIB,
            chain_length: 100,
            child_depth: 10,
            live_runs: 0,
        }
    }
}

/// `[log]`: logging.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// What to log, as a `tracing` filter (`REDRIVE_LOG__FILTER`). Default `info`.
    pub filter: Option<String>,
    /// `json`, or `text` for people (`REDRIVE_LOG__FORMAT`). Default `text`.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: one object a line.
    Json,
}
