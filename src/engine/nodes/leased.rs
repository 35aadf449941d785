//! A request body that is not sent once the lease of its run is over.
//!
//! Between the engine's look at the lease and the bytes on the wire a connection is made; a process
//! that stood still meanwhile would call for a run that is another's by now. The connection asks
//! for the body when it writes the head, and writes neither if that fails.

use bytes::Bytes;
use futures_util::stream;
use reqwest::Body;

use crate::{
    domain::{ErrorClass, NodeError},
    engine::signals::{LEASE_OVER, LeaseClock},
};

/// Nothing was sent.
#[derive(Debug, thiserror::Error)]
#[error("the lease is over: nothing was sent")]
pub(super) struct LeaseOver;

/// The bytes, as long as the lease is good. Their length is not known to the connection.
pub(super) fn body(bytes: Bytes, lease: LeaseClock) -> Body {
    Body::wrap_stream(stream::once(async move {
        if lease.is_over() {
            Err(LeaseOver)
        } else {
            Ok(bytes)
        }
    }))
}

/// The outcome of a call that was not made.
pub(super) fn not_sent(target: &str) -> NodeError {
    let message = format!("nothing was sent to {target}: the run is another worker's by now");
    NodeError::new(ErrorClass::Internal, LEASE_OVER, message).with_nothing_sent()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::{io::AsyncReadExt, net::TcpListener, time::Instant};

    use super::*;

    async fn sent(lease: LeaseClock) -> (bool, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let sending = tokio::spawn(async move {
            let client = reqwest::Client::builder().no_proxy().build().unwrap();
            let request = client.post(url).header("content-length", 5);
            let request = request.timeout(Duration::from_millis(500));
            request
                .body(body(Bytes::from_static(b"hello"), lease))
                .send()
                .await
        });
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut received = Vec::new();
        stream.read_to_end(&mut received).await.unwrap();
        let error = sending.await.unwrap().unwrap_err();
        let mut causes =
            std::iter::successors(Some(&error as &dyn std::error::Error), |e| e.source());
        (
            causes.any(<dyn std::error::Error + 'static>::is::<LeaseOver>),
            received,
        )
    }

    #[tokio::test]
    async fn promise_4_no_byte_is_sent_once_the_lease_is_over() {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let over = LeaseClock::default();
        over.good_until(Instant::now());
        assert_eq!(sent(over).await, (true, Vec::new()));
        let (refused, received) = sent(LeaseClock::default()).await;
        let received = String::from_utf8(received).unwrap();
        assert!(
            !refused && received.ends_with("\r\n\r\nhello"),
            "{received}"
        );
        assert!(!received.contains("chunked"), "{received}");
    }
}
