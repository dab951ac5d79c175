//! Nodes, providers and waiting without sleeping.

use std::{future::Future, sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use network::{
    Answer, Config, Gossip, Keypair, Kind, Multiaddr, Network, PeerId, PeerInfo, Provider, Request,
    ServesNothing, Topic,
};
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

pub(crate) const CHAIN: &str = "weft-test";
pub(crate) const TCP: &str = "/ip4/127.0.0.1/tcp/0";
pub(crate) const QUIC: &str = "/ip4/127.0.0.1/udp/0/quic-v1";

/// Answers each request with its own text.
pub(crate) struct Echo;

#[async_trait]
impl Provider for Echo {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        Ok(echo(&request))
    }
}

pub(crate) fn echo(request: &Request) -> Bytes {
    format!("{request:?}").into()
}

/// Answers each request with the same.
pub(crate) struct Always(pub(crate) Answer);

#[async_trait]
impl Provider for Always {
    async fn serve(&self, _: PeerId, _: Request) -> Answer {
        self.0.clone()
    }
}

pub(crate) struct Node {
    pub(crate) network: Network,
    pub(crate) gossip: mpsc::Receiver<Gossip>,
}

pub(crate) fn config() -> Config {
    Config::new(CHAIN, Keypair::generate_ed25519())
}

/// A node that listens on TCP and serves every kind.
pub(crate) fn serving() -> Config {
    Config {
        listen: vec![TCP.parse().unwrap()],
        serves: Kind::ALL.to_vec(),
        topics: Topic::ALL.to_vec(),
        ..config()
    }
}

pub(crate) async fn start(config: Config, provider: impl Provider) -> Node {
    let mut registry = Registry::default();
    let started = Network::start(config, Arc::new(provider), &mut registry);
    let (network, gossip) = within(started).await.unwrap();
    Node { network, gossip }
}

pub(crate) async fn client() -> Node {
    start(config(), ServesNothing).await
}

impl Node {
    pub(crate) fn id(&self) -> PeerId {
        self.network.id()
    }

    pub(crate) fn address(&self) -> Multiaddr {
        self.network.listen_addrs().first().unwrap().clone()
    }

    /// Connects to `other` and waits until both know what the other serves.
    pub(crate) async fn connect(&self, other: &Self) {
        within(self.network.dial(other.address())).await.unwrap();
        self.identified(other.id()).await;
        other.identified(self.id()).await;
    }

    pub(crate) async fn identified(&self, peer: PeerId) {
        self.until(|peers| peers.iter().any(|p| p.id == peer && p.identified)).await;
    }

    pub(crate) async fn without(&self, peer: PeerId) {
        self.until(|peers| peers.iter().all(|p| p.id != peer)).await;
    }

    pub(crate) async fn until(&self, done: impl Fn(&[PeerInfo]) -> bool) {
        let mut peers = self.network.watch_peers();
        within(peers.wait_for(|peers| done(peers))).await.unwrap();
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(20), future).await.expect("nothing happened within 20 s")
}

/// One request of each kind.
pub(crate) fn request(kind: Kind) -> Request {
    match kind {
        Kind::Sample => Request::Sample { height: 1, row: 2, column: 255, axis: 1 },
        Kind::Line => Request::Line { height: 1, axis: 0, index: 255 },
        Kind::Range => Request::Range { height: 1, start: 0, count: 2 },
        Kind::Index => Request::Index { height: 1 },
        Kind::Header => Request::Header { height: 0, known: None },
        Kind::Certified => Request::Certified { height: 0, known: None },
        Kind::State => Request::State { height: 7, key: "attesters".into() },
        Kind::Headers => Request::Headers { from: 1, count: 64 },
        Kind::Transaction => Request::Transaction { ids: vec![[1; 32], [2; 32]] },
        Kind::Body => Request::Body { commitment: [3; 32], offset: 1 << 20, len: 1 << 20 },
        Kind::Bodies => Request::Bodies { commitments: vec![[1; 32], [3; 32]] },
        Kind::Fraud => Request::Fraud { proof: [4; 32], offset: 1 << 20, len: 1 << 20 },
        Kind::Frauds => Request::Frauds,
        Kind::Cells => Request::Cells { height: 1 },
    }
}
