//! A wire that can be cut, blocked, slowed down and spoken into: a TCP proxy between a client and its
//! server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpSocket, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::{broadcast, watch},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// What becomes of the bytes of each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    /// All go through.
    Both,
    /// Only what the server says: the client talks to nobody and is not told.
    FromServer,
    /// None, and nobody is told.
    Nothing,
}

/// The proxy. Cheap to clone; all clones are one.
#[derive(Clone)]
pub(crate) struct Proxy(Arc<Shared>);

struct Shared {
    address: SocketAddr,
    /// Bound and never listening: nobody else is given the port while it refuses.
    _reserved: TcpSocket,
    upstream: String,
    listening: Mutex<Option<JoinHandle<()>>>,
    connected: Mutex<CancellationToken>,
    speaking: Mutex<CancellationToken>,
    flow: watch::Sender<Flow>,
    latency: watch::Sender<Duration>,
    half_close: broadcast::Sender<()>,
    said_for_clients: broadcast::Sender<Vec<u8>>,
}

impl Proxy {
    /// A proxy to `host:port` that accepts connections.
    pub(crate) fn to(upstream: &str) -> Self {
        let proxy = Self::refusing(upstream);
        proxy.accept();
        proxy
    }

    /// A proxy that nobody listens behind yet.
    pub(crate) fn refusing(upstream: &str) -> Self {
        let reserved = bound("127.0.0.1:0".parse().unwrap());
        Self(Arc::new(Shared {
            address: reserved.local_addr().unwrap(),
            _reserved: reserved,
            upstream: upstream.to_owned(),
            listening: Mutex::default(),
            connected: Mutex::default(),
            speaking: Mutex::default(),
            flow: watch::Sender::new(Flow::Both),
            latency: watch::Sender::new(Duration::ZERO),
            half_close: broadcast::Sender::new(1),
            said_for_clients: broadcast::Sender::new(16),
        }))
    }

    /// An URL with the proxy in the place of its server.
    pub(crate) fn instead_of_server(&self, url: &str) -> String {
        url.replace(server_of(url), &self.0.address.to_string())
    }

    /// Accepts connections.
    pub(crate) fn accept(&self) {
        let listener = bound(self.0.address).listen(1024).unwrap();
        let shared = Arc::clone(&self.0);
        let listening = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                // Taken here: once nobody listens any more, a cut ends whatever was accepted.
                let ends = [&shared.connected, &shared.speaking]
                    .map(|token| token.lock().unwrap().clone());
                tokio::spawn(async move { connect(client, ends, &shared).await });
            }
        });
        *self.0.listening.lock().unwrap() = Some(listening);
    }

    /// Ends all connections and refuses others.
    pub(crate) async fn refuse(&self) {
        let listening = self.0.listening.lock().unwrap().take();
        if let Some(listening) = listening {
            listening.abort();
            let _ = listening.await;
        }
        self.cut();
    }

    /// Ends all connections.
    pub(crate) fn cut(&self) {
        let mut connected = self.0.connected.lock().unwrap();
        std::mem::take(&mut *connected).cancel();
    }

    /// Carries nothing any more over the connections that there are, and tells nobody.
    pub(crate) fn forget(&self) {
        let mut speaking = self.0.speaking.lock().unwrap();
        std::mem::take(&mut *speaking).cancel();
    }

    /// Tells the clients that nothing more comes, while what they say still goes through.
    pub(crate) fn half_close(&self) {
        let _ = self.0.half_close.send(());
    }

    /// Lets through what `flow` says, from now on.
    pub(crate) fn set(&self, flow: Flow) {
        self.0.flow.send_replace(flow);
    }

    /// What is said takes so long, each way, from now on.
    pub(crate) fn delay(&self, each_way: Duration) {
        self.0.latency.send_replace(each_way);
    }

    /// Says something to the server in the name of every client.
    pub(crate) fn say_to_server(&self, bytes: Vec<u8>) {
        let heard = self.0.said_for_clients.send(bytes);
        assert!(heard.is_ok(), "nobody is connected");
    }
}

/// `basic.ack` of a delivery that never was: the broker closes the channel that says it.
pub(crate) fn impossible_ack(channel: u8) -> Vec<u8> {
    let mut frame = vec![1, 0, channel, 0, 0, 0, 13];
    frame.extend([0, 60, 0, 80]); // class basic, method ack
    frame.extend(u64::MAX.to_be_bytes());
    frame.extend([0, 0xCE]);
    frame
}

/// The `host:port` of a URL.
pub(crate) fn server_of(url: &str) -> &str {
    let (_, rest) = url.split_once("://").unwrap();
    let authority = rest.split(['/', '?']).next().unwrap();
    authority.rsplit('@').next().unwrap()
}

async fn connect(client: TcpStream, [ended, forgotten]: [CancellationToken; 2], shared: &Shared) {
    let Ok(server) = TcpStream::connect(&shared.upstream).await else {
        return;
    };
    client.set_nodelay(true).unwrap();
    server.set_nodelay(true).unwrap();
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    let (said, half_close) = (
        shared.said_for_clients.subscribe(),
        shared.half_close.subscribe(),
    );
    let pumps = async {
        tokio::join!(
            to_the_server((from_client, to_server), shared, said),
            to_the_client((from_server, to_client), shared, half_close),
        )
    };
    let mut pumps = std::pin::pin!(pumps);
    tokio::select! {
        () = ended.cancelled() => {}
        _ = &mut pumps => {}
        // Its sockets stay open.
        () = forgotten.cancelled() => ended.cancelled().await,
    }
}

/// Lets the time go by that what is said takes.
async fn travel(latency: &watch::Receiver<Duration>) {
    let latency = *latency.borrow();
    if !latency.is_zero() {
        tokio::time::sleep(latency).await;
    }
}

async fn to_the_server(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    shared: &Shared,
    mut said: broadcast::Receiver<Vec<u8>>,
) -> io::Result<()> {
    let (mut flow, latency) = (shared.flow.subscribe(), shared.latency.subscribe());
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let _ = flow.wait_for(|flow| *flow == Flow::Both).await;
        let bytes = tokio::select! {
            Ok(bytes) = said.recv() => bytes,
            read = from.read(&mut buffer) => match read? {
                0 => return to.shutdown().await,
                n => buffer[..n].to_vec(),
            },
        };
        travel(&latency).await;
        let _ = flow.wait_for(|flow| *flow == Flow::Both).await;
        to.write_all(&bytes).await?;
    }
}

async fn to_the_client(
    (mut from, mut to): (OwnedReadHalf, OwnedWriteHalf),
    shared: &Shared,
    mut half_close: broadcast::Receiver<()>,
) -> io::Result<()> {
    let (mut flow, latency) = (shared.flow.subscribe(), shared.latency.subscribe());
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let _ = flow.wait_for(|flow| *flow != Flow::Nothing).await;
        let n = tokio::select! {
            Ok(()) = half_close.recv() => 0,
            read = from.read(&mut buffer) => read?,
        };
        travel(&latency).await;
        let _ = flow.wait_for(|flow| *flow != Flow::Nothing).await;
        if n == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..n]).await?;
    }
}

/// A socket at an address that other sockets of ours may be bound to as well.
fn bound(address: SocketAddr) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_reuseaddr(true).unwrap();
    socket.set_reuseport(true).unwrap();
    socket.bind(address).unwrap();
    socket
}
