//! The service that the effects call: it answers at once and counts.

use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use axum::{
    Router,
    http::{HeaderMap, HeaderValue, header},
    response::IntoResponse,
};
use tokio::{net::TcpListener, task::JoinHandle};

/// What was called.
#[derive(Debug, Default)]
struct Calls {
    all: usize,
    keys: HashSet<String>,
}

/// The service.
#[derive(Debug)]
pub(super) struct Service {
    address: SocketAddr,
    calls: Arc<Mutex<Calls>>,
    serving: JoinHandle<()>,
}

impl Service {
    pub(super) async fn open(listen: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(listen).await?;
        let address = listener.local_addr()?;
        let calls: Arc<Mutex<Calls>> = Arc::default();
        let counted = Arc::clone(&calls);
        let answer = move |headers: HeaderMap| {
            count(&counted, &headers);
            async {
                let json = [(header::CONTENT_TYPE, "application/json")];
                (json, r#"{"result":{"done":true}}"#).into_response()
            }
        };
        let router = Router::new().fallback(answer);
        let serving = tokio::spawn(async move {
            // It ends with its task.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            calls,
            serving,
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// Calls, and among them the different idempotency keys.
    pub(super) fn calls(&self) -> (usize, usize) {
        let calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        (calls.all, calls.keys.len())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn count(calls: &Mutex<Calls>, headers: &HeaderMap) {
    let mut calls = calls.lock().unwrap_or_else(PoisonError::into_inner);
    calls.all += 1;
    let key = headers.get("idempotency-key").map(HeaderValue::as_bytes);
    let key = key.map(|key| String::from_utf8_lossy(key).into_owned());
    calls.keys.extend(key);
}
