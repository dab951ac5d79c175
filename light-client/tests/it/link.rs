//! Relays between a client and a node, that do to their bytes what bad links do.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;

use crate::node::Node;

/// What a link does at the moment.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    Works,
    /// Nothing arrives, and nobody is told: Wi-Fi out of reach.
    Silent,
    /// One byte a second arrives.
    Trickles,
    /// All connections are closed, new ones too.
    Cut,
}

pub(crate) struct Link {
    /// What to dial instead of the node.
    pub(crate) address: String,
    mode: watch::Sender<Mode>,
}

impl Link {
    /// A TCP link to a node.
    pub(crate) async fn to(node: &Node) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let port = node.port();
        let (mode, current) = watch::channel(Mode::Works);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *current.borrow() == Mode::Cut {
                    continue;
                }
                let Ok(node) = TcpStream::connect(("127.0.0.1", port)).await else { continue };
                let (from_client, to_client) = client.into_split();
                let (from_node, to_node) = node.into_split();
                tokio::spawn(carry(from_client, to_node, current.clone()));
                tokio::spawn(carry(from_node, to_client, current.clone()));
            }
        });
        Self { address, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// A UDP link to a node that loses so many of a hundred datagrams, each way.
    pub(crate) async fn losing(percent: u64, node: &Node) -> Self {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
        let address = format!("/ip4/127.0.0.1/udp/{}/quic-v1", socket.local_addr().unwrap().port());
        let target = SocketAddr::from(([127, 0, 0, 1], node.port()));
        tokio::spawn(async move {
            let mut dice = Dice(u64::from(target.port()));
            let mut clients: HashMap<SocketAddr, Arc<UdpSocket>> = HashMap::new();
            let mut buffer = vec![0; 1 << 16];
            while let Ok((bytes, client)) = socket.recv_from(&mut buffer).await {
                let upstream = match clients.get(&client) {
                    Some(upstream) => Arc::clone(upstream),
                    None => {
                        let upstream = Arc::new(UdpSocket::bind("127.0.0.1:0").await.unwrap());
                        upstream.connect(target).await.unwrap();
                        clients.insert(client, Arc::clone(&upstream));
                        tokio::spawn(answer(Arc::clone(&upstream), Arc::clone(&socket), client, percent));
                        upstream
                    }
                };
                if !dice.lose(percent) {
                    upstream.send(&buffer[..bytes]).await.ok();
                }
            }
        });
        Self { address, mode: watch::channel(Mode::Works).0 }
    }
}

async fn answer(from: Arc<UdpSocket>, to: Arc<UdpSocket>, client: SocketAddr, percent: u64) {
    let mut dice = Dice(u64::from(client.port()));
    let mut buffer = vec![0; 1 << 16];
    while let Ok(bytes) = from.recv(&mut buffer).await {
        if !dice.lose(percent) {
            to.send_to(&buffer[..bytes], client).await.ok();
        }
    }
}

/// A repeatable xorshift.
struct Dice(u64);

impl Dice {
    fn lose(&mut self, percent: u64) -> bool {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % 100 < percent
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut mode: watch::Receiver<Mode>) {
    let mut buffer = vec![0; 1 << 16];
    loop {
        let now = *mode.borrow_and_update();
        match now {
            Mode::Cut => return,
            Mode::Silent if mode.changed().await.is_ok() => continue,
            Mode::Silent => return,
            Mode::Works | Mode::Trickles => {}
        }
        let most = if now == Mode::Trickles { 1 } else { buffer.len() };
        let read = tokio::select! {
            changed = mode.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
            read = from.read(&mut buffer[..most]) => read,
        };
        match read {
            Ok(bytes) if bytes > 0 && to.write_all(&buffer[..bytes]).await.is_ok() => {}
            _ => return,
        }
        if now == Mode::Trickles {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }
}
