//! What the tests of node kinds share: a call without an engine, and a server without manners.

use std::{net::SocketAddr, sync::Arc};

use serde_json::{Map, Value};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::mpsc,
};

use crate::{
    domain::{NodeError, NodeId, NodePath, Simulation, Timestamp},
    engine::{LeaseClock, NodeCall, NodeOutput, RunContext},
};

/// The present of every test.
pub(super) const NOW: &str = "2026-01-02T03:04:05.678Z";

/// [`NOW`] as a time.
pub(super) fn now() -> Timestamp {
    NOW.parse().unwrap()
}

/// Runs a kind without effects once.
pub(super) fn run(
    kind: impl Fn(&NodeCall<'_>) -> Result<NodeOutput, NodeError>,
    name: &str,
    input: &Value,
) -> Result<NodeOutput, NodeError> {
    kind(&Call::new(name, input.clone()).call())
}

/// Everything that a [`NodeCall`] borrows.
pub(super) struct Call {
    run: RunContext,
    node_id: NodeId,
    path: NodePath,
    kind: String,
    input: Value,
    variables: Map<String, Value>,
    due: Option<Timestamp>,
    effect_key: Option<String>,
    connector: Option<Value>,
    lease: LeaseClock,
}

impl Call {
    pub(super) fn new(kind: &str, input: Value) -> Self {
        Self {
            run: RunContext {
                run_id: "run_b".parse().unwrap(),
                root_run_id: "run_a".parse().unwrap(),
                organization_id: "org_1".parse().unwrap(),
                simulation: Simulation::default(),
            },
            node_id: "pay".parse().unwrap(),
            path: "loop[3].pay".parse().unwrap(),
            kind: kind.to_owned(),
            input,
            variables: Map::new(),
            due: None,
            effect_key: Some("run_a/loop[3].pay/1".to_owned()),
            connector: None,
            lease: LeaseClock::default(),
        }
    }

    pub(super) fn with_variables(self, variables: Map<String, Value>) -> Self {
        Self { variables, ..self }
    }

    pub(super) fn with_due(self, due: Timestamp) -> Self {
        Self {
            due: Some(due),
            ..self
        }
    }

    pub(super) fn with_simulation(mut self, simulation: Simulation) -> Self {
        self.run.simulation = simulation;
        self
    }

    pub(super) fn with_connector(self, connector: Value) -> Self {
        Self {
            connector: Some(connector),
            ..self
        }
    }

    pub(super) fn with_key(self, key: &str) -> Self {
        Self {
            effect_key: Some(key.to_owned()),
            ..self
        }
    }

    pub(super) fn without_key(self) -> Self {
        Self {
            effect_key: None,
            ..self
        }
    }

    pub(super) fn call(&self) -> NodeCall<'_> {
        NodeCall {
            run: &self.run,
            node_id: &self.node_id,
            path: &self.path,
            kind: &self.kind,
            input: &self.input,
            connector: self.connector.as_ref(),
            effect_key: self.effect_key.as_deref(),
            attempt: 2,
            due: self.due,
            variables: &self.variables,
            now: now(),
            lease: &self.lease,
        }
    }
}

/// What a [`Server`] does with a connection once it has read a request.
#[derive(Clone)]
pub(super) enum Act {
    /// Sends these bytes and closes.
    Answer(Vec<u8>),
    /// Closes without a word.
    Close,
    /// Resets the connection.
    Reset,
    /// Says nothing and keeps the connection open.
    Hang,
}

impl Act {
    /// An answer with these headers, each line ended by a line break, and this body.
    pub(super) fn answer(status: &str, headers: &str, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {status}\r\nContent-Length: {}\r\n", body.len());
        let headers = headers.replace('\n', "\r\n");
        let head = format!("{head}Connection: close\r\n{headers}\r\n");
        Self::Answer([head.as_bytes(), body].concat())
    }
}

/// A server on loopback that tells every request it gets and acts on it as it is told.
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    requests: mpsc::UnboundedReceiver<String>,
}

impl Server {
    /// Acts by the path of the request, from `acts`; what isn't there is 404.
    pub(super) async fn start(acts: Vec<(&'static str, Act)>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (tell, requests) = mpsc::unbounded_channel();
        let acts = Arc::new(acts);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, acts.clone(), tell.clone()));
            }
        });
        Self { address, requests }
    }

    /// The URL of a path.
    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next request, head and body, as it came.
    pub(super) async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }

    /// Whether no further request came.
    pub(super) fn is_quiet(&mut self) -> bool {
        self.requests.try_recv().is_err()
    }
}

async fn serve(
    mut stream: TcpStream,
    acts: Arc<Vec<(&'static str, Act)>>,
    tell: mpsc::UnboundedSender<String>,
) {
    let Some(request) = read_request(&mut stream).await else {
        return;
    };
    let path = request.split(' ').nth(1).unwrap().to_owned();
    let _ = tell.send(request);
    let act = acts.iter().find(|(known, _)| *known == path);
    match act.map_or(Act::answer("404 Not Found", "", ""), |(_, act)| act.clone()) {
        Act::Answer(bytes) => {
            // The client may close first: that is its right.
            let _ = stream.write_all(&bytes).await;
            let _ = stream.shutdown().await;
        }
        Act::Close => {}
        Act::Reset => stream.set_zero_linger().unwrap(),
        Act::Hang => {
            let _ = stream.read(&mut [0]).await;
        }
    }
}

/// Head and body of one request, with the body's length from `Content-Length`.
async fn read_request(stream: &mut TcpStream) -> Option<String> {
    let (mut bytes, mut buffer) = (Vec::new(), [0; 4096]);
    loop {
        let read = stream.read(&mut buffer).await.ok()?;
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&buffer[..read]);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };
        let head = head.to_ascii_lowercase();
        let length = head
            .lines()
            .find_map(|l| l.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return Some(text);
        }
    }
}
