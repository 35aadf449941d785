//! The flaky service: a shop with desks for stock, charges and shipping, which counts the calls by
//! effect key. The shipping desk answers 503 until it is repaired.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri, header},
    response::IntoResponse,
};
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use super::story::{PARCEL, RESERVATION};

/// How long a desk thinks, so that the times in the table say something.
const THINKING: Duration = Duration::from_millis(30);

/// One call that the service saw.
#[derive(Debug, Clone)]
pub(super) struct Call {
    /// The `Idempotency-Key`; empty when there was none.
    pub(super) key: String,
    /// The status answered.
    pub(super) status: u16,
    /// The body that came.
    pub(super) body: Value,
}

#[derive(Debug, Default)]
struct Book {
    calls: Vec<Call>,
    repaired: bool,
}

/// The running service; it stops when this is dropped.
#[derive(Debug)]
pub(super) struct Shop {
    address: SocketAddr,
    book: Arc<Mutex<Book>>,
    server: JoinHandle<()>,
}

impl Shop {
    /// Opens on a free port of the loopback address, the shipping desk closed.
    pub(super) async fn open() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let book = Arc::<Mutex<Book>>::default();
        let desks = Router::new().fallback(desk).with_state(Arc::clone(&book));
        let server = tokio::spawn(async move {
            // Serving ends only with the task.
            let _ = axum::serve(listener, desks).await;
        });
        Ok(Self {
            address,
            book,
            server,
        })
    }

    /// Where it is.
    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Opens the shipping desk.
    pub(super) fn repair(&self) {
        with(&self.book, |book| book.repaired = true);
    }

    /// Every call so far, in order.
    pub(super) fn calls(&self) -> Vec<Call> {
        with(&self.book, |book| book.calls.clone())
    }
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn with<T>(book: &Mutex<Book>, act: impl FnOnce(&mut Book) -> T) -> T {
    act(&mut book.lock().unwrap_or_else(PoisonError::into_inner))
}

async fn desk(
    State(book): State<Arc<Mutex<Book>>>,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> impl IntoResponse {
    tokio::time::sleep(THINKING).await;
    let key = headers
        .get("idempotency-key")
        .and_then(|key| key.to_str().ok());
    let (status, answer) = with(&book, |book| {
        let (status, answer) = answer(uri.path(), book.repaired);
        book.calls.push(Call {
            key: key.unwrap_or_default().to_owned(),
            status: status.as_u16(),
            body: serde_json::from_slice(&body).unwrap_or_default(),
        });
        (status, answer)
    });
    (
        status,
        [(header::CONTENT_TYPE, "application/json")],
        answer.to_string(),
    )
}

fn answer(desk: &str, repaired: bool) -> (StatusCode, Value) {
    match desk {
        "/stock" => (StatusCode::OK, json!({ "reservation": RESERVATION })),
        "/charges" => (StatusCode::OK, json!({ "charge": "ch-9925" })),
        "/shipping" if repaired => (StatusCode::OK, json!({ "parcel": PARCEL })),
        "/shipping" => (
            StatusCode::SERVICE_UNAVAILABLE,
            json!({ "error": "the shipping desk is closed" }),
        ),
        _ => (StatusCode::NOT_FOUND, json!({ "error": "no such desk" })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_shipping_desk_fails_until_it_is_repaired_and_calls_are_counted_by_key() {
        let shop = Shop::open().await.unwrap();
        let _ = rustls::crypto::ring::default_provider().install_default();
        let http = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .build()
            .unwrap();
        let url = format!("{}/shipping", shop.url());
        for expected in [503, 200] {
            let call = http
                .post(&url)
                .header("Idempotency-Key", "k")
                .body("{\"a\":1}");
            assert_eq!(call.send().await.unwrap().status(), expected);
            shop.repair();
        }
        let calls = shop.calls();
        assert!(
            calls
                .iter()
                .all(|call| call.key == "k" && call.body == json!({ "a": 1 }))
        );
        assert_eq!(calls.len(), 2);
    }
}
