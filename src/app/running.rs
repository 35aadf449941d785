//! An application that runs, and how it stops.

use std::{net::SocketAddr, time::Duration};

use anyhow::Context;
use axum::{Router, serve::ListenerExt};
use tokio::{
    net::TcpListener,
    signal::unix::{Signal, SignalKind, signal},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::Readiness,
    broker::Broker,
    store::{ServingLock, Store},
};

/// An application that runs. Dropping it does not stop it: call [`stop`](Self::stop).
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    store: Store,
    broker: Broker,
    readiness: Readiness,
    stop: CancellationToken,
    close: CancellationToken,
    tasks: TaskTracker,
    drain: Duration,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    _lock: Option<ServingLock>,
}

impl Running {
    /// Serves `router` beside the roles in `tasks`, which end when `stop` is cancelled.
    pub(super) fn serve(
        listener: TcpListener,
        router: Router,
        (store, broker): (Store, Broker),
        readiness: Readiness,
        (stop, tasks, drain): (CancellationToken, TaskTracker, Duration),
        lock: Option<ServingLock>,
    ) -> anyhow::Result<Self> {
        let address = listener
            .local_addr()
            .context("the listener has no address")?;
        // Closed last: `/readyz` says that the process stops while there is somebody to ask it,
        // and what is accepted meanwhile is durable.
        let close = CancellationToken::new();
        let closed = close.clone().cancelled_owned();
        // Small answers must not wait for the acknowledgement of earlier ones.
        let listener = listener.tap_io(|stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            axum::serve(listener, router)
                .with_graceful_shutdown(closed)
                .await
        });
        Ok(Self {
            address,
            store,
            broker,
            readiness,
            stop,
            close,
            tasks,
            drain,
            server,
            _lock: lock,
        })
    }

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

    /// Waits for a stop signal, then stops as [`stop`](Self::stop) does; a second signal ends the
    /// process at once.
    ///
    /// # Errors
    /// The server failed.
    pub async fn run_until(mut self, mut signals: StopSignals) -> anyhow::Result<()> {
        tokio::select! {
            () = signals.next() => {}
            ended = &mut self.server => {
                ended.context("the HTTP server panicked")?.context("the HTTP server failed")?;
            }
        }
        tracing::info!("stopping: finishing what runs; a second signal ends it at once");
        tokio::select! {
            () = self.stop() => Ok(()),
            () = signals.next() => std::process::exit(130),
        }
    }

    /// Takes nothing new, finishes or checkpoints what runs within the drain time, gives leases
    /// back.
    pub async fn stop(self) {
        self.readiness.set_draining();
        self.stop.cancel();
        self.tasks.close();
        // The worker bounds its own drain; the margin is for giving leases back.
        let most = self.drain + Duration::from_secs(10);
        if timeout(most, self.tasks.wait()).await.is_err() {
            tracing::warn!("some roles did not stop in time");
        }
        self.give_back().await;
        if let Broker::RabbitMq(rabbit) = &self.broker {
            rabbit.close().await;
        }
        self.close.cancel();
        let abort = self.server.abort_handle();
        if timeout(Duration::from_secs(1), self.server).await.is_err() {
            abort.abort();
        }
    }

    /// Makes due what is still in the queue of this process, or another one would take it for sent.
    async fn give_back(&self) {
        for dispatch in self.broker.drain() {
            let given_back = self.store.unmark_sent(&dispatch.run_id);
            if !matches!(
                timeout(Duration::from_secs(1), given_back).await,
                Ok(Ok(()))
            ) {
                // The rescuer of another process sends it again.
                return;
            }
        }
    }
}

/// SIGTERM and SIGINT. Install them before anybody is told that the process runs: until then they
/// end it at once.
#[derive(Debug)]
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Takes both signals over for the whole process.
    ///
    /// # Errors
    /// The system does not let us.
    pub fn install() -> anyhow::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate()).context("SIGTERM can't be handled")?,
            interrupt: signal(SignalKind::interrupt()).context("SIGINT can't be handled")?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
