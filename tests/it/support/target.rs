//! An HTTP service that remembers every call and answers as it is told.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
    response::IntoResponse,
};
use tokio::sync::Notify;

/// One call that arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) key: Option<String>,
    pub(crate) body: String,
}

/// The service. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Target(Arc<Shared>);

struct Shared {
    base: String,
    calls: Mutex<Vec<Call>>,
    answers: Mutex<HashMap<String, VecDeque<u16>>>,
    held: Mutex<HashMap<String, Arc<Notify>>>,
    retry_after: Mutex<HashMap<String, u32>>,
    arrived: Notify,
}

impl Target {
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let target = Self(Arc::new(Shared {
            base: format!("http://{}", listener.local_addr().unwrap()),
            calls: Mutex::default(),
            answers: Mutex::default(),
            held: Mutex::default(),
            retry_after: Mutex::default(),
            arrived: Notify::new(),
        }));
        let router = Router::new().fallback(answer).with_state(target.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        target
    }

    /// The URL of a path on it.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }

    /// What it answers to the next calls of a path; afterwards 200.
    pub(crate) fn answer_with(&self, path: &str, statuses: impl IntoIterator<Item = u16>) {
        let statuses = statuses.into_iter().collect();
        self.0
            .answers
            .lock()
            .unwrap()
            .insert(path.to_owned(), statuses);
    }

    /// With every failure of a path it asks to be left alone for so many seconds.
    pub(crate) fn retry_after(&self, path: &str, seconds: u32) {
        let mut all = self.0.retry_after.lock().unwrap();
        all.insert(path.to_owned(), seconds);
    }

    /// Holds the calls of a path, which are remembered, until what is given back is notified.
    pub(crate) fn hold(&self, path: &str) -> Arc<Notify> {
        let gate = Arc::new(Notify::new());
        self.0
            .held
            .lock()
            .unwrap()
            .insert(path.to_owned(), Arc::clone(&gate));
        gate
    }

    /// The calls so far.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.calls.lock().unwrap().clone()
    }

    /// The calls of one path so far.
    pub(crate) fn calls_of(&self, path: &str) -> Vec<Call> {
        self.calls()
            .into_iter()
            .filter(|call| call.path == path)
            .collect()
    }

    /// Waits until a path has been called so often.
    pub(crate) async fn until_called(&self, path: &str, times: usize) {
        loop {
            let arrived = self.0.arrived.notified();
            if self.calls_of(path).len() >= times {
                return;
            }
            arrived.await;
        }
    }
}

async fn answer(
    State(target): State<Target>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let path = uri.path().to_owned();
    let key = headers
        .get("idempotency-key")
        .map(|key| key.to_str().unwrap().to_owned());
    let body = String::from_utf8(body.to_vec()).unwrap();
    target.0.calls.lock().unwrap().push(Call {
        path: path.clone(),
        key,
        body: body.clone(),
    });
    target.0.arrived.notify_waiters();
    let gate = target.0.held.lock().unwrap().get(&path).cloned();
    if let Some(gate) = gate {
        gate.notified().await;
    }
    let status = target
        .0
        .answers
        .lock()
        .unwrap()
        .get_mut(&path)
        .and_then(VecDeque::pop_front);
    let status = StatusCode::from_u16(status.unwrap_or(200)).unwrap();
    let echo = if body.is_empty() {
        "null".to_owned()
    } else {
        body
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", "application/json".parse().unwrap());
    let seconds = target.0.retry_after.lock().unwrap().get(&path).copied();
    if let (Some(seconds), true) = (seconds, status.as_u16() >= 400) {
        headers.insert("retry-after", seconds.to_string().parse().unwrap());
    }
    // A connector gateway is to say `result`.
    let answer = format!(r#"{{"path":"{path}","got":{echo},"result":true}}"#);
    (status, headers, answer)
}
