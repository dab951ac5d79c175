//! Full nodes that serve a [`Chain`], or pretend to, and clients started for a test.

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use chain::{HeaderHint, NetworkConfig};
use erasure::{Axis, CommittedSquare, Coordinates};
use light_client::sampler::{Seed, Timing};
use light_client::{Args, Client, Config, Event};
use network::{Answer, Keypair, Kind, Network, PeerId, Provider, Refusal, Request, Topic};
use prometheus_client::registry::Registry;
use tokio::sync::broadcast;

use crate::chain_of_blocks::{Block, CHAIN, Chain};
use crate::link::Link;

/// How a node answers requests for cells.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Behaviour {
    Honest,
    /// Withholds the (k+1)² far corner of the block at this height.
    Withholds(u64),
    /// Serves the cell's neighbour.
    AnotherCell,
    /// Serves the same cell of the block before.
    AnotherHeight,
    Garbage,
    /// Claims to have no cell of the blocks from this height on.
    NothingFrom(u64),
    /// Serves cells, but the index and the shares of the block before.
    LiesAboutBlobs,
}

#[derive(Clone)]
struct Serves {
    chain: Arc<RwLock<Chain>>,
    behaviour: Arc<Mutex<Behaviour>>,
    asked: Arc<Mutex<Vec<(u64, Coordinates)>>>,
}

impl Serves {
    fn sample(&self, height: u64, at: Coordinates) -> Option<Vec<u8>> {
        self.asked.lock().unwrap().push((height, at));
        let chain = self.chain.read().unwrap();
        let square = &chain.block(height)?.square;
        let encoded = |at| square.sample(at).map(|sample| sample.encode());
        match *self.behaviour.lock().unwrap() {
            Behaviour::Honest | Behaviour::LiesAboutBlobs => encoded(at),
            Behaviour::Withholds(withheld) => {
                let first = (square.width().get() - 1) as u16;
                let hidden = height == withheld && at.row >= first && at.column >= first;
                encoded(at).filter(|_| !hidden)
            }
            Behaviour::AnotherCell => encoded(Coordinates { row: at.row ^ 1, ..at }),
            Behaviour::AnotherHeight => {
                let square = &chain.block(height - 1).or(chain.block(height + 1))?.square;
                square.sample(at).map(|sample| sample.encode())
            }
            Behaviour::Garbage => Some(vec![0x5a; 900]),
            Behaviour::NothingFrom(first) => encoded(at).filter(|_| height < first),
        }
    }
}

impl Serves {
    fn read(&self, height: u64, answer: impl FnOnce(&CommittedSquare) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        let lies = matches!(*self.behaviour.lock().unwrap(), Behaviour::LiesAboutBlobs);
        let chain = self.chain.read().unwrap();
        answer(&chain.block(height - u64::from(lies && height > 1))?.square)
    }
}

#[async_trait]
impl Provider for Serves {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        let found = match request {
            Request::Header { height, known } => {
                let chain = self.chain.read().unwrap();
                chain.block(height).map(|Block { light, .. }| match known {
                    Some(known) => light.encode_for(&known),
                    None => light.encode(),
                })
            }
            Request::Sample { height, row, column, axis } => {
                let axis = if axis == 0 { Axis::Row } else { Axis::Column };
                self.sample(height, Coordinates { row, column, axis })
            }
            Request::Index { height } => self.read(height, |square| Some(square.index().encode())),
            Request::Range { height, start, count } => {
                self.read(height, |square| square.range(start..start + count).map(|range| range.encode()))
            }
            _ => None,
        };
        found.map(Into::into).ok_or(Refusal::NotFound)
    }
}

pub(crate) struct Node {
    pub(crate) network: Network,
    serves: Serves,
}

impl Node {
    pub(crate) async fn start(chain: &Arc<RwLock<Chain>>, behaviour: Behaviour) -> Self {
        Self::start_on("/ip4/127.0.0.1/tcp/0", chain, behaviour).await
    }

    pub(crate) async fn start_on(listen: &str, chain: &Arc<RwLock<Chain>>, behaviour: Behaviour) -> Self {
        let serves = Serves {
            chain: Arc::clone(chain),
            behaviour: Arc::new(Mutex::new(behaviour)),
            asked: Arc::default(),
        };
        let config = network::Config {
            listen: vec![listen.parse().unwrap()],
            serves: vec![Kind::Sample, Kind::Header, Kind::Index, Kind::Range],
            topics: vec![Topic::Headers],
            ..network::Config::new(CHAIN, Keypair::generate_ed25519())
        };
        let provider = Arc::new(serves.clone());
        let (network, _) = Network::start(config, provider, &mut Registry::default()).await.unwrap();
        Self { network, serves }
    }

    pub(crate) fn address(&self) -> String {
        self.network.listen_addrs()[0].to_string()
    }

    pub(crate) fn behave(&self, behaviour: Behaviour) {
        *self.serves.behaviour.lock().unwrap() = behaviour;
    }

    /// The cells of a block that it was asked for since the last call.
    pub(crate) fn asked(&self, height: u64) -> Vec<Coordinates> {
        let mut asked = self.serves.asked.lock().unwrap();
        let of_height = asked.extract_if(.., |(at, _)| *at == height);
        of_height.map(|(_, at)| at).collect()
    }

    /// The port that it listens on.
    pub(crate) fn port(&self) -> u16 {
        let ports = self.network.listen_addrs()[0].to_string();
        ports.split('/').nth(4).unwrap().parse().unwrap()
    }

    /// Gossips that there is a latest header, as soon as somebody listens.
    pub(crate) async fn gossip_latest(&self) {
        let header = self.serves.chain.read().unwrap().block(0).unwrap().light.signed_header.header.clone();
        let hash = header.hash().as_bytes().try_into().unwrap();
        self.gossip(HeaderHint { height: header.height.value(), hash }.encode()).await;
    }

    pub(crate) async fn gossip(&self, data: Vec<u8>) {
        within(async {
            while self.network.publish(Topic::Headers, data.clone().into()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

pub(crate) fn shared(chain: Chain) -> Arc<RwLock<Chain>> {
    Arc::new(RwLock::new(chain))
}

pub(crate) fn config_for(chain: &Arc<RwLock<Chain>>, checkpoint: u64, nodes: &[&Node]) -> NetworkConfig {
    NetworkConfig {
        bootstrap: nodes.iter().map(|node| node.address()).collect(),
        ..chain.read().unwrap().network_config(checkpoint)
    }
}

pub(crate) fn config_over(chain: &Arc<RwLock<Chain>>, checkpoint: u64, links: &[&Link]) -> NetworkConfig {
    NetworkConfig {
        bootstrap: links.iter().map(|link| link.address.clone()).collect(),
        ..chain.read().unwrap().network_config(checkpoint)
    }
}

/// Settings whose patience suits loopback.
pub(crate) fn impatient() -> Config {
    Config {
        timing: Timing {
            deadline: Duration::from_millis(800),
            hedge_after: Duration::from_millis(400),
            retry_after: Duration::from_millis(50),
            retry_at_most: Duration::from_millis(200),
            spread: Duration::from_millis(20),
        },
        offline_after: Duration::from_millis(300),
        seed: Some(Seed::from_bytes([11; 32])),
        ..Config::default()
    }
}

pub(crate) struct Running {
    pub(crate) client: Client,
    pub(crate) events: broadcast::Receiver<Event>,
}

impl Running {
    pub(crate) async fn start(network: NetworkConfig, home: &Path, config: Config) -> Self {
        let args = Args { network, home: home.to_owned(), config };
        let (client, events) = Client::start(args).await.unwrap();
        Self { client, events }
    }

    /// Waits for the first event that `wanted` picks; panics with all that came if none does.
    pub(crate) async fn until<T>(&mut self, mut wanted: impl FnMut(&Event) -> Option<T>) -> T {
        let mut seen = Vec::new();
        let search = async {
            loop {
                let event = self.events.recv().await.unwrap();
                if let Some(found) = wanted(&event) {
                    return found;
                }
                seen.push(event);
            }
        };
        match tokio::time::timeout(LIMIT, search).await {
            Ok(found) => found,
            Err(_) => panic!("not within {LIMIT:?}; {seen:?}; {:?}", self.client.status().await),
        }
    }

    /// Waits until all these heights are available; panics if one is called unavailable.
    pub(crate) async fn until_available(&mut self, heights: impl IntoIterator<Item = u64>) {
        let mut open: Vec<u64> = heights.into_iter().collect();
        self.until(|event| {
            match event {
                Event::Available { height, .. } => open.retain(|open| open != height),
                Event::Unavailable { height, .. } => panic!("{height} is unavailable"),
                _ => {}
            }
            open.is_empty().then_some(())
        })
        .await;
    }
}

/// A test that waits this long has failed.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Waits, but not for ever.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, future).await.expect("in time")
}
