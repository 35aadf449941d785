//! The composition root: builds store, broker and roles from a configuration, starts them, drains
//! them, stops them.

use std::net::SocketAddr;

use crate::{config::Config, engine::NodeHandler, store::Store};

/// Builds an application.
#[derive(Debug)]
pub struct App {
    config: Config,
}

impl App {
    /// An application with this configuration and the built-in node kinds.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self { config }
    }

    /// Adds a node kind, or replaces a built-in one.
    #[must_use]
    pub fn handler(self, kind: impl Into<String>, handler: impl NodeHandler) -> Self {
        todo!()
    }

    /// Connects, brings an embedded database up to date, and starts every role. The HTTP server
    /// listens when this returns.
    ///
    /// # Errors
    /// What is missing or in use, in a sentence.
    pub async fn start(self) -> anyhow::Result<Running> {
        todo!()
    }
}

/// An application that runs.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    store: Store,
}

impl Running {
    /// Where the HTTP server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The ledger.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Waits for SIGTERM or SIGINT, then stops as [`stop`](Self::stop) does; a second signal ends
    /// the process at once.
    ///
    /// # Errors
    /// The signal handlers can't be installed, or the server failed.
    pub async fn run_until_signal(self) -> anyhow::Result<()> {
        todo!()
    }

    /// Takes nothing new, finishes or checkpoints what runs within the drain time, gives leases
    /// back.
    pub async fn stop(self) {
        todo!()
    }
}
