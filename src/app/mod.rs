//! The composition root: builds store, broker and roles from a configuration, starts them, drains
//! them, stops them.
//!
//! A platform's own worker binary is this with its own node kinds:
//!
//! ```
//! use redrive::{
//!     app::App,
//!     config::Config,
//!     domain::{NodeError, ErrorClass, SideEffects},
//!     engine::{HandlerFuture, NodeCall, NodeHandler, NodeOutput},
//! };
//! use serde_json::{Value, json};
//!
//! /// `{"type": "greet", "payload": {"name": "{{root.result.name}}"}}`
//! struct Greet;
//!
//! impl NodeHandler for Greet {
//!     // Nothing leaves the process: repeating it needs no care.
//!     fn side_effects(&self, _payload: &Value) -> SideEffects {
//!         SideEffects::None
//!     }
//!
//!     fn run<'a>(&'a self, call: NodeCall<'a>) -> HandlerFuture<'a> {
//!         Box::pin(async move {
//!             let name = call.input["name"].as_str().ok_or_else(|| {
//!                 NodeError::new(ErrorClass::Definition, "no_name", "payload.name is no string")
//!             })?;
//!             Ok(NodeOutput::result(json!({ "greeting": format!("Hello, {name}!") })))
//!         })
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> anyhow::Result<()> {
//! # let folder = tempfile::tempdir()?;
//! let mut config = Config::default();
//! config.server.listen = "127.0.0.1:0".parse()?;
//! # config.database.url =
//! #     redrive::config::Secret::new(format!("sqlite:{}/redrive.db", folder.path().display()));
//! let running = App::new(config).handler("greet", Greet).start().await?;
//! println!("listening on http://{}", running.address());
//! running.stop().await; // or running.run_until(StopSignals::install()?).await?
//! # Ok(())
//! # }
//! ```

mod running;
mod telemetry;

pub use running::{Running, StopSignals};
pub use telemetry::{Telemetry, init_telemetry};

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    api::{Api, Metrics, Readiness, router},
    broker::{Broker, Hints, InProcess},
    config::Config,
    domain::{Clock, SystemClock},
    engine::{Engine, Handlers, NodeHandler, nodes},
    intake::Intake,
    outbox::{Relay, Rescuer},
    store::{ServingLock, Store},
    worker::{Worker, WorkerParts},
};

/// Messages that wait in the process, for each slot.
const WINDOW_PER_SLOT: usize = 4;

/// How often measured times are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Builds an application.
#[derive(Debug)]
pub struct App {
    config: Config,
    handlers: Vec<(String, Own)>,
}

struct Own(Arc<dyn NodeHandler>);

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeHandler")
    }
}

impl App {
    /// An application with this configuration and the built-in node kinds.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            handlers: Vec::new(),
        }
    }

    /// Adds a node kind, or replaces a built-in one.
    #[must_use]
    pub fn handler(mut self, kind: impl Into<String>, handler: impl NodeHandler) -> Self {
        self.handlers.push((kind.into(), Own(Arc::new(handler))));
        self
    }

    /// Connects, brings an embedded or empty database up to date, and starts every role. The HTTP server
    /// listens when this returns.
    ///
    /// # Errors
    /// What is missing or in use, in a sentence.
    pub async fn start(self) -> anyhow::Result<Running> {
        if self.config.broker.url.is_some() {
            bail!("RabbitMQ is not supported by this version: unset AMQP_URL and broker.url");
        }
        let store = Store::connect(&self.config.database)
            .await
            .context("the database can't be reached")?;
        let lock = prepare(&store).await?;
        let listen = self.config.server.listen;
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("{listen} can't be listened on"))?;
        let handlers = self.all_handlers()?;
        let parts = Parts::new(&self.config, store, handlers);
        parts.start(self.config, listener, lock)
    }

    fn all_handlers(&self) -> anyhow::Result<Handlers> {
        let built_in = nodes::built_in(&self.config.http, &self.config.connectors)
            .context("the node kinds can't be set up")?;
        Ok(self
            .handlers
            .iter()
            .fold(built_in, |handlers, (kind, Own(handler))| {
                handlers.with(kind.clone(), Arc::clone(handler))
            }))
    }
}

/// Makes the schema what this version needs, and the file this process's alone.
async fn prepare(store: &Store) -> anyhow::Result<Option<ServingLock>> {
    let Store::Sqlite(file) = store else {
        let missing = store.missing_migrations().await?;
        if missing == Store::migrations() {
            store.migrate().await?;
        } else if missing > 0 {
            bail!("the database lacks {missing} migrations: run `redrive migrate` first");
        }
        return Ok(None);
    };
    let lock = file.lock_for_serving()?;
    store.migrate().await?;
    store.expire_leases().await?;
    Ok(Some(lock))
}

/// What every role is made of.
struct Parts {
    store: Store,
    broker: Broker,
    hints: Hints,
    clock: Arc<dyn Clock>,
    engine: Engine,
}

impl Parts {
    fn new(config: &Config, store: Store, handlers: Handlers) -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let slots = usize::try_from(config.worker.slots).unwrap_or(1).max(1);
        let engine = Engine::new(
            store.clone(),
            handlers,
            Arc::clone(&clock),
            config.limits.clone(),
            config.cu.clone(),
            Duration::from_millis(config.worker.cancel_grace_ms),
        );
        Self {
            broker: Broker::InProcess(InProcess::new(slots * WINDOW_PER_SLOT)),
            hints: Hints::default(),
            store,
            clock,
            engine,
        }
    }

    fn start(
        self,
        config: Config,
        listener: TcpListener,
        lock: Option<ServingLock>,
    ) -> anyhow::Result<Running> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let readiness = Readiness::new();
        let metrics = Metrics::install();
        let intake = Intake::new(
            self.store.clone(),
            Arc::clone(&self.clock),
            config.limits.clone(),
            self.hints.clone(),
        );
        let api = Api {
            store: self.store.clone(),
            intake,
            clock: Arc::clone(&self.clock),
            limits: config.limits.clone(),
            readiness: readiness.clone(),
            metrics: metrics.clone(),
        };
        tasks.spawn(keep_up(metrics, stop.child_token()));
        let relay = Relay::new(self.store.clone(), self.broker.clone(), self.hints.clone());
        tasks.spawn(relay.run(stop.child_token()));
        let rescuer = Rescuer::new(self.store.clone(), self.hints.clone());
        tasks.spawn(rescuer.run(stop.child_token()));
        let drain = Duration::from_millis(config.worker.drain_ms);
        let worker = Worker::new(
            WorkerParts {
                store: self.store.clone(),
                broker: self.broker.clone(),
                hints: self.hints,
                engine: self.engine,
                clock: self.clock,
                config: config.worker,
            },
            &format!("worker_{}", Uuid::new_v4().simple()),
        );
        tasks.spawn(worker.run(stop.child_token()));
        Running::serve(
            listener,
            router(api),
            (self.store, self.broker),
            readiness,
            (stop, tasks, drain),
            lock,
        )
    }
}

/// Folds measured times into their histograms, scraped or not.
async fn keep_up(metrics: Metrics, stop: CancellationToken) {
    while !stop.is_cancelled() {
        metrics.upkeep();
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(UPKEEP) => {}
        }
    }
}
