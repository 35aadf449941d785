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

mod roles;
mod running;
mod telemetry;

pub use roles::{Role, Roles};
pub use running::{Running, StopSignals};
pub use telemetry::{Telemetry, init_telemetry};

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use uuid::Uuid;

use crate::{
    api::{Api, Links, Metrics, Readiness, health_router, router},
    broker::{Broker, Hints, InProcess, RabbitMq},
    config::Config,
    domain::{Clock, SystemClock},
    engine::{Engine, Handlers, NodeHandler, nodes},
    intake::Intake,
    outbox::{DeadLetterKeeper, Relay, Rescuer, WINDOW_PER_SLOT},
    store::{ServingLock, Store},
    worker::{AcceptsChildren, Worker, WorkerParts},
};

/// How often measured times are folded into their histograms.
const UPKEEP: Duration = Duration::from_secs(5);

/// Builds an application.
#[derive(Debug)]
pub struct App {
    config: Config,
    roles: Roles,
    handlers: Vec<(String, Own)>,
    clock: Arc<dyn Clock>,
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
            roles: Roles::default(),
            handlers: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }

    /// What this process does, instead of everything.
    #[must_use]
    pub fn roles(mut self, roles: Roles) -> Self {
        self.roles = roles;
        self
    }

    /// Adds a node kind, or replaces a built-in one.
    #[must_use]
    pub fn handler(mut self, kind: impl Into<String>, handler: impl NodeHandler) -> Self {
        self.handlers.push((kind.into(), Own(Arc::new(handler))));
        self
    }

    /// Takes the time from this clock instead of the system's. Leases are kept by the database's.
    #[must_use]
    pub fn clock(mut self, clock: impl Clock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Connects to the database, brings an embedded or empty one up to date, and starts the roles.
    /// The HTTP server listens when this returns; without the role `api` it answers health and
    /// metrics only. `RabbitMQ` may come later.
    ///
    /// # Errors
    /// What is missing or in use, in a sentence.
    pub async fn start(self) -> anyhow::Result<Running> {
        self.roles.check(&self.config)?;
        let store = Store::connect(&self.config.database)
            .await
            .context("the database can't be reached")?;
        let lock = prepare(&store).await?;
        let listen = if self.roles.api {
            self.config.server.listen
        } else {
            self.config.server.health_listen
        };
        let listener = TcpListener::bind(listen)
            .await
            .with_context(|| format!("{listen} can't be listened on"))?;
        let handlers = self.all_handlers()?;
        let parts = Parts::new(&self.config, store, handlers, self.clock)?;
        parts.start(self.config, self.roles, listener, lock)
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
    let missing = store.missing_migrations().await?;
    let Store::Sqlite(file) = store else {
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
    intake: Intake,
    engine: Engine,
}

impl Parts {
    fn new(
        config: &Config,
        store: Store,
        handlers: Handlers,
        clock: Arc<dyn Clock>,
    ) -> anyhow::Result<Self> {
        let hints = Hints::default();
        let intake = Intake::new(
            store.clone(),
            Arc::clone(&clock),
            config.limits.clone(),
            hints.clone(),
        );
        let engine = Engine::new(
            store.clone(),
            handlers,
            Arc::clone(&clock),
            config.limits.clone(),
            config.cu.clone(),
            Duration::from_millis(config.worker.cancel_grace_ms),
            Arc::new(AcceptsChildren::new(intake.clone())),
        );
        Ok(Self {
            broker: broker(config)?,
            intake: intake.accepting_intents(config.broker.accept_external_intents),
            hints,
            store,
            clock,
            engine,
        })
    }

    fn start(
        self,
        config: Config,
        roles: Roles,
        listener: TcpListener,
        lock: Option<ServingLock>,
    ) -> anyhow::Result<Running> {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let metrics = Metrics::install();
        let api = Api {
            store: self.store.clone(),
            intake: self.intake.clone(),
            clock: Arc::clone(&self.clock),
            limits: config.limits.clone(),
            hints: self.hints.clone(),
            readiness: Readiness::new(),
            links: Links {
                broker: self.broker.clone(),
                publishes: roles.relay,
                consumes: roles.worker,
                serves_api: roles.api,
            },
            metrics: metrics.clone(),
        };
        tasks.spawn(keep_up(metrics, stop.child_token()));
        if roles.relay {
            self.start_relay(&tasks, &stop);
        }
        if roles.relay || roles.scheduler {
            let rescuer = Rescuer::new(self.store.clone(), self.hints.clone());
            tasks.spawn(rescuer.run(stop.child_token()));
        }
        if let Broker::RabbitMq(rabbit) = self.broker.clone() {
            let (hints, stop) = (self.hints.clone(), stop.child_token());
            tasks.spawn(async move { rabbit.pass_hints(&hints, stop).await });
        }
        let readiness = api.readiness.clone();
        let drain = Duration::from_millis(config.worker.drain_ms);
        let router = if roles.api {
            router(api)
        } else {
            health_router(api)
        };
        let (store, broker) = (self.store.clone(), self.broker.clone());
        if roles.worker {
            tasks.spawn(self.worker(config).run(stop.child_token()));
        }
        Running::serve(
            listener,
            router,
            (store, broker),
            readiness,
            (stop, tasks, drain),
            lock,
        )
    }

    fn start_relay(&self, tasks: &TaskTracker, stop: &CancellationToken) {
        let relay = Relay::new(self.store.clone(), self.broker.clone(), self.hints.clone());
        tasks.spawn(relay.run(stop.child_token()));
        let Broker::RabbitMq(rabbit) = self.broker.clone() else {
            return;
        };
        let keeper = DeadLetterKeeper::new(
            self.store.clone(),
            self.intake.clone(),
            Arc::clone(&self.clock),
        );
        let stop = stop.child_token();
        tasks.spawn(async move { rabbit.drain_dead_letters(&keeper, stop).await });
    }

    fn worker(self, config: Config) -> Worker {
        let parts = WorkerParts {
            store: self.store,
            broker: self.broker,
            hints: self.hints,
            intake: self.intake,
            engine: self.engine,
            clock: self.clock,
            config: config.worker,
        };
        Worker::new(parts, &format!("worker_{}", Uuid::new_v4().simple()))
    }
}

/// `RabbitMQ` where it is configured, else a queue of this process's own.
fn broker(config: &Config) -> anyhow::Result<Broker> {
    if config.broker.url.is_some() {
        return Ok(Broker::RabbitMq(RabbitMq::new(&config.broker)?));
    }
    let capacity = config.worker.slots.saturating_mul(WINDOW_PER_SLOT);
    let capacity = usize::try_from(capacity).unwrap_or(usize::MAX);
    Ok(Broker::InProcess(InProcess::new(capacity)))
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
