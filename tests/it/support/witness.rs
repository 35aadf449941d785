//! What the outside world saw: the calls that nodes made, whoever died meanwhile.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, Uri, header},
    response::IntoResponse,
};
use serde_json::Value;

use super::dice::Dice;

/// One call that arrived.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    /// `/<node>/<number of the source>`
    pub(crate) path: String,
    pub(crate) key: String,
    /// The run that sent it.
    pub(crate) run: String,
    pub(crate) body: String,
    pub(crate) arrived: Instant,
    /// When its answer was handed out; none if the caller was gone.
    pub(crate) answered: Option<Instant>,
}

/// The service that nodes call. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Witness(Arc<Shared>);

struct Shared {
    base: String,
    journal: Mutex<Vec<Call>>,
    dice: Mutex<Dice>,
    fastest: Duration,
    /// What chance may add to it.
    more: Duration,
    /// The one node that takes that long; none for all.
    only: Option<&'static str>,
}

impl Witness {
    /// A service that takes up to `slowest` to answer.
    pub(crate) async fn start(dice: Dice, slowest: Duration) -> Self {
        Self::between(Duration::ZERO, slowest, dice, None).await
    }

    /// A service that takes so long to answer one node, and no time for the others.
    pub(crate) async fn slow_at(node: &'static str, delay: Duration) -> Self {
        Self::between(delay, Duration::ZERO, Dice(1), Some(node)).await
    }

    /// A service that always takes so long to answer.
    pub(crate) async fn steady(delay: Duration) -> Self {
        Self::between(delay, Duration::ZERO, Dice(1), None).await
    }

    async fn between(
        fastest: Duration,
        more: Duration,
        dice: Dice,
        only: Option<&'static str>,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let witness = Self(Arc::new(Shared {
            base: format!("http://{}", listener.local_addr().unwrap()),
            journal: Mutex::default(),
            dice: Mutex::new(dice),
            fastest,
            more,
            only,
        }));
        let router = Router::new().fallback(answer).with_state(witness.clone());
        tokio::spawn(async move { axum::serve(listener, router).await });
        witness
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0.base)
    }

    /// All calls so far, in the order of their arrival.
    pub(crate) fn calls(&self) -> Vec<Call> {
        self.0.journal.lock().unwrap().clone()
    }

    /// The calls under each key, in the order of their arrival.
    pub(crate) fn by_key(&self) -> HashMap<String, Vec<Call>> {
        let mut keys = HashMap::<_, Vec<_>>::new();
        for call in self.calls() {
            keys.entry(call.key.clone()).or_default().push(call);
        }
        keys
    }

    /// Waits until a path has been called.
    pub(crate) async fn until_called(&self, path: &str) {
        while !self.calls().iter().any(|call| call.path == path) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn answer(
    State(Witness(shared)): State<Witness>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    let body = String::from_utf8(body.to_vec()).unwrap();
    let sent: Value = serde_json::from_str(&body).unwrap();
    let call = Call {
        path: uri.path().to_owned(),
        key: headers["idempotency-key"].to_str().unwrap().to_owned(),
        run: sent["run"].as_str().unwrap().to_owned(),
        body,
        arrived: Instant::now(),
        answered: None,
    };
    let number = {
        let mut journal = shared.journal.lock().unwrap();
        journal.push(call);
        journal.len() - 1
    };
    let node = uri.path().split('/').nth(1);
    if shared.only.is_none() || shared.only == node {
        let delay = shared.dice.lock().unwrap().up_to(shared.more);
        tokio::time::sleep(shared.fastest + delay).await;
    }
    shared.journal.lock().unwrap()[number].answered = Some(Instant::now());
    let answer = format!(r#"{{"call":{number}}}"#);
    ([(header::CONTENT_TYPE, "application/json")], answer)
}
