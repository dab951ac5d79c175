//! Honest nodes without consensus, and producers that serve what they signed.

use std::{
    collections::BTreeMap,
    future::Future,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use chain::{Genesis, Height};
use erasure::{Axis, Coordinates};
use network::{
    Answer, Config, Keypair, Kind, Limits, Multiaddr, Network, PeerId, Provider, Refusal, Request, Topic,
};
use prometheus_client::registry::Registry;
use tempfile::TempDir;
use tokio::task::JoinSet;

use super::wrong::Signed;
use crate::{
    fetch::Fetcher,
    fraud::{Watch, queue},
    metrics::Metrics,
    node::Node,
    serve::Serve,
    storage::Store,
};

/// A test that waits this long has failed.
pub(super) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(120), future).await.expect("in time")
}

pub(super) fn listening(chain_id: &str) -> Config {
    Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        ..Config::new(chain_id, Keypair::generate_ed25519())
    }
}

/// A full node but for the engine: its blocks are given to it.
pub(super) struct Honest {
    pub(super) node: Arc<Node>,
    pub(super) network: Network,
    pub(super) fetcher: Arc<Fetcher>,
    tasks: Mutex<JoinSet<()>>,
    folder: TempDir,
}

impl Honest {
    pub(super) async fn start(genesis: &Genesis) -> Self {
        Self::limited(genesis, Limits::default()).await
    }

    pub(super) async fn limited(genesis: &Genesis, limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path(), genesis).unwrap();
        let node =
            Arc::new(Node::open(genesis.clone(), store, Metrics::default(), chain::RULES_VERSION).unwrap());
        let config = Config {
            serves: Kind::ALL.to_vec(),
            topics: vec![Topic::Headers, Topic::Pool, Topic::Fraud],
            limits,
            ..listening(&genesis.chain_id)
        };
        let provider = Arc::new(Serve(node.clone()));
        let (network, gossip) = Network::start(config, provider, &mut Registry::default()).await.unwrap();
        let (notices, noticed) = queue();
        let (attestations, _) = crate::attest::queue();
        let fetcher = Arc::new(Fetcher::new(node.clone(), network.clone(), notices, attestations));
        let mut tasks = JoinSet::new();
        tasks.spawn(fetcher.clone().follow_gossip(gossip));
        tasks.spawn(Watch::new(node.clone(), network.clone()).run(noticed));
        Self { node, network, fetcher, tasks: Mutex::new(tasks), folder }
    }

    pub(super) fn address(&self) -> Multiaddr {
        self.network.listen_addrs()[0].clone()
    }

    /// Commits a block as sync does: without its square.
    pub(super) fn commit(&self, signed: &Signed) {
        self.node.accept_decided(&signed.block).unwrap();
        let header = &signed.block.header;
        let commit = signed.light.signed_header.commit.clone();
        self.node.commit(header.height.value(), header.hash(), commit).unwrap();
    }

    /// Begins to fetch squares.
    pub(super) fn backfill(&self) {
        self.tasks.lock().unwrap().spawn(self.fetcher.clone().backfill());
    }

    /// Waits until no square is missing.
    pub(super) async fn until_whole(&self) {
        within(async {
            while !self.node.store.missing().unwrap().is_empty() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }

    /// Stops it; its folder is kept.
    pub(super) async fn stop(self) -> TempDir {
        let Self { node, network, fetcher, tasks, folder } = self;
        network.stop().await.unwrap();
        tasks.into_inner().unwrap().shutdown().await;
        drop((network, fetcher));
        within(async {
            while Arc::strong_count(&node) > 1 {
                tokio::task::yield_now().await;
            }
        })
        .await;
        folder
    }
}

/// Whoever made the blocks: serves headers, and squares by cell and line.
#[derive(Clone, Default)]
struct Serves(Arc<RwLock<BTreeMap<Height, Signed>>>);

#[async_trait]
impl Provider for Serves {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        let blocks = self.0.read().unwrap();
        let latest = blocks.keys().next_back().copied().unwrap_or_default();
        let block = |height| blocks.get(&if height == 0 { latest } else { height });
        let axis = |axis| if axis == 0 { Axis::Row } else { Axis::Column };
        let found = match request {
            Request::Header { height, .. } => block(height).map(|block| block.light.encode()),
            Request::Sample { height, row, column, axis: by } => {
                let at = Coordinates { row, column, axis: axis(by) };
                block(height).and_then(|block| block.square.sample(at))
            }
            Request::Line { height, axis: along, index } => {
                block(height).and_then(|block| block.square.line(axis(along), index.into()))
            }
            _ => None,
        };
        found.map(Into::into).ok_or(Refusal::NotFound)
    }
}

pub(super) struct Producer {
    pub(super) network: Network,
    serves: Serves,
}

impl Producer {
    pub(super) async fn start(chain_id: &str) -> Self {
        Self::serving(chain_id, vec![Kind::Header, Kind::Sample, Kind::Line]).await
    }

    pub(super) async fn serving(chain_id: &str, kinds: Vec<Kind>) -> Self {
        let serves = Serves::default();
        let config = Config { serves: kinds, ..listening(chain_id) };
        let provider = Arc::new(serves.clone());
        let (network, _) = Network::start(config, provider, &mut Registry::default()).await.unwrap();
        Self { network, serves }
    }

    pub(super) fn address(&self) -> Multiaddr {
        self.network.listen_addrs()[0].clone()
    }

    pub(super) fn publish(&self, signed: Signed) {
        let height = signed.block.header.height.value();
        self.serves.0.write().unwrap().insert(height, signed);
    }
}
