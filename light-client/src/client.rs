//! The handle to a running client.

use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;

use chain::{HeaderError, NetworkConfig, UnknownRules, VerifiedHeader};
use erasure::Namespace;
use network::{Keypair, Multiaddr, Network, Offence, PeerId, Topic};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::{broadcast, mpsc, oneshot, watch};

use crate::alarm;
use crate::config::Config;
use crate::event::Event;
use crate::follow::{Follow, Known};
use crate::headers::{FollowError, Headers};
use crate::metrics::Metrics;
use crate::provider::{Allowance, Kept};
use crate::sampler::{Budget, Confidence};
use crate::status::Status;
use crate::store::{Store, StoreError, chain_name};
use crate::worker::{self, Worker};

/// Commands that wait for the worker; callers wait beyond that.
const COMMAND_QUEUE: usize = 64;

/// What an operator can do about a header that is too old.
const RESUME: &str = "take the height and hash of a recent block from somebody you trust, then: \
     light-client resume --checkpoint HEIGHT:HASH";

/// What a client is started with.
#[derive(Clone, Debug)]
pub struct Args {
    /// `network.toml`: the chain, its checkpoint, addresses to start from.
    pub network: NetworkConfig,
    /// The directory of its state; made if it does not exist. One client a directory.
    pub home: PathBuf,
    /// Its settings.
    pub config: Config,
}

/// What a handle tells the worker.
#[derive(Debug)]
pub(crate) enum Command {
    Status { reply: oneshot::Sender<Status> },
    Block { height: u64, reply: oneshot::Sender<Known> },
    Stop,
}

/// How the worker ended, once it has.
pub(crate) type Outcome = Option<Result<(), Arc<ClientError>>>;

/// A client that did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// A bootstrap address is none.
    #[error("network.toml: bootstrap address '{address}': {reason}")]
    Bootstrap {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The budget never affords a block at the wanted confidence.
    #[error(
        "a budget of {got} bytes a day affords no block at {confidence}: allow {least} or more, or want a lower \
         confidence"
    )]
    Budget {
        /// The confidence.
        confidence: Confidence,
        /// The least budget for it.
        least: u64,
        /// The budget.
        got: NonZeroU64,
    },
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The last header that was verified cannot be started from.
    #[error("cannot go on from height {height}: {error}; {RESUME}")]
    Trusted {
        /// Its height.
        height: u64,
        /// Why not.
        error: HeaderError,
    },
    /// An older program, where a newer one has been before.
    #[error(transparent)]
    UnknownRules(UnknownRules),
    /// The network did not start.
    #[error(transparent)]
    Network(#[from] network::StartError),
}

/// What ended a client other than its being stopped.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// No peer can help: the checkpoint, or the last verified header, is too old.
    #[error("{0}; {RESUME}")]
    Headers(#[from] FollowError),
    /// The network ended.
    #[error("the network has stopped")]
    Network,
    /// The worker ended by a panic.
    #[error("the client's worker ended unexpectedly")]
    Ended,
}

/// A handle to a running light client. Clones share it; when the last is dropped, it stops.
#[derive(Clone)]
pub struct Client {
    network: Network,
    registry: Arc<Registry>,
    metrics: Metrics,
    config: Arc<Config>,
    commands: mpsc::Sender<Command>,
    events: broadcast::Sender<Event>,
    outcome: watch::Receiver<Outcome>,
}

impl Client {
    /// Starts a client: from its state in `home` if there is any, else from the checkpoint.
    ///
    /// Every event from the start comes out of the returned channel. It has a new identity on the network each time, so that peers cannot tell that it is the
    /// same client as before.
    ///
    /// # Errors
    /// When the configuration is invalid, the store is unusable, or an address cannot be
    /// listened on. Peers that cannot be reached are no error: the client is offline then.
    pub async fn start(args: Args) -> Result<(Self, broadcast::Receiver<Event>), StartError> {
        let Args { network: chain, home, config } = args;
        check_budget(&config)?;
        let store = Arc::new(Store::open(&home, &chain_name(&chain), config.seed.as_ref())?);
        let named = store.checkpoint(&chain.checkpoint)?;
        let chain = NetworkConfig { checkpoint: named.unwrap_or(chain.checkpoint), ..chain };
        let mut registry = Registry::default();
        let metrics = Metrics::registered(&mut registry);
        let settings = network::Config {
            listen: config.listen.clone(),
            bootstrap: bootstrap(&chain)?,
            serves: Kept::SERVES.to_vec(),
            topics: vec![Topic::Headers, Topic::Fraud],
            ..network::Config::new(&chain.chain_id, Keypair::generate_ed25519())
        };
        let allowance = Arc::new(Allowance::default());
        let provider = Arc::new(Kept { store: Arc::downgrade(&store), allowance: Arc::clone(&allowance) });
        let (network, gossip) = Network::start(settings, provider, &mut registry).await?;
        let mut headers = Headers::new(network.clone(), &chain, config.clock.clone(), config.newest_rules);
        if config.certificates {
            headers = headers.by_certificate(chain.domain(), metrics.headers_certified.clone());
        }
        let trusted = match restore(&store, &headers, &chain) {
            Ok(trusted) => trusted,
            Err(error) => {
                // Ended or not, it is of no use any more; the error that matters is at hand.
                network.stop().await.ok();
                return Err(error);
            }
        };

        let config = Arc::new(config);
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let (events, heard) = broadcast::channel(config.event_queue.max(1));
        let (ended, outcome) = watch::channel(None);
        let (alarms, alarm_queue) = mpsc::channel(alarm::QUEUE);
        let telling = tokio::spawn(alarm::tell(alarm_queue, config.alarm_hooks.clone(), metrics.clone()));
        let worker = Worker::new(worker::Args {
            chain_id: chain.chain_id,
            config: Arc::clone(&config),
            home,
            store,
            allowance,
            headers,
            trusted,
            alarms,
            telling,
            network: network.clone(),
            gossip,
            commands: command_queue,
            events: events.clone(),
            metrics: metrics.clone(),
        })?;
        tokio::spawn(worker.run(ended));
        let client =
            Self { network, registry: Arc::new(registry), metrics, config, commands, events, outcome };
        Ok((client, heard))
    }

    /// Events from now on. A subscriber that falls behind by more than
    /// [`Config::event_queue`] misses some, and learns how many.
    pub fn events(&self) -> broadcast::Receiver<Event> {
        self.events.subscribe()
    }

    /// What the client says about itself. Cancel safe.
    ///
    /// # Errors
    /// When it has ended.
    pub async fn status(&self) -> Result<Status, ClientError> {
        let (reply, status) = oneshot::channel();
        let sent = self.commands.send(Command::Status { reply }).await;
        sent.map_err(|_| ClientError::Ended)?;
        status.await.map_err(|_| ClientError::Ended)
    }

    /// Follows a namespace: every height from `from` on, once and in order, with the namespace's
    /// blobs, as soon as the block is available.
    ///
    /// A height below the checkpoint, or one that this client leaves out, ends in an error: set
    /// [`Config::catch_up`] to the longest absence that is to be made up for.
    pub fn follow(&self, namespace: Namespace, from: u64) -> Follow {
        Follow::new(self.clone(), namespace, from)
    }

    pub(crate) async fn block(&self, height: u64) -> Result<Known, ClientError> {
        let (reply, known) = oneshot::channel();
        let sent = self.commands.send(Command::Block { height, reply }).await;
        sent.map_err(|_| ClientError::Ended)?;
        known.await.map_err(|_| ClientError::Ended)
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// Drops a peer whose answer was wrong.
    pub(crate) async fn accuse(&self, peer: PeerId, reason: String) {
        self.metrics.peers_dropped.inc();
        self.network.report(peer, Offence::WrongProof).await;
        let event = Event::PeerDropped { peer, reason };
        event.log();
        self.events.send(event).ok();
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its id on the network, until it is stopped.
    pub fn peer_id(&self) -> PeerId {
        self.network.id()
    }

    /// The addresses that it listens on, each with `/p2p/<id>`.
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.network.listen_addrs()
    }

    /// All metrics, in Prometheus' text format.
    pub fn metrics_text(&self) -> String {
        let resident = crate::status::resident_bytes();
        let resident = i64::try_from(resident).unwrap_or(i64::MAX);
        self.metrics.resident.set(resident);
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            // Only a formatter fails, and a string's does not.
            Err(_) => String::new(),
        }
    }

    /// Writes what is in memory, closes all connections, and waits until that is done.
    ///
    /// # Errors
    /// What ended the client before.
    pub async fn stop(&self) -> Result<(), Arc<ClientError>> {
        // It has ended already if nobody takes the command: join says how.
        self.commands.send(Command::Stop).await.ok();
        self.join().await
    }

    /// Waits until the client has ended.
    ///
    /// # Errors
    /// What ended it, if it was not stopped.
    pub async fn join(&self) -> Result<(), Arc<ClientError>> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await.as_deref() {
            Ok(Some(outcome)) => outcome.clone(),
            _ => Err(Arc::new(ClientError::Ended)),
        }
    }
}

fn check_budget(config: &Config) -> Result<(), StartError> {
    let confidence = config.confidence;
    let least = Budget::least_for(worker::cost_of_block(confidence));
    match config.budget {
        Some(got) if got.get() < least => Err(StartError::Budget { confidence, least, got }),
        _ => Ok(()),
    }
}

fn bootstrap(chain: &NetworkConfig) -> Result<Vec<Multiaddr>, StartError> {
    let parse = |address: &String| {
        address
            .parse()
            .map_err(|error| StartError::Bootstrap { address: address.clone(), reason: format!("{error}") })
    };
    chain.bootstrap.iter().map(parse).collect()
}

/// The header to go on from; none if there is none yet, or if it is too old and the checkpoint
/// is a later one.
fn restore(
    store: &Store,
    headers: &Headers,
    chain: &NetworkConfig,
) -> Result<Option<VerifiedHeader>, StartError> {
    let Some(kept) = store.trusted()? else {
        return Ok(None);
    };
    match headers.trust(kept.light_block()?, &kept.checkpoint()) {
        Ok(trusted) => Ok(Some(trusted)),
        Err(HeaderError::TooOld { .. }) if chain.checkpoint.height > kept.height => Ok(None),
        Err(HeaderError::UnknownRules(unknown)) => Err(StartError::UnknownRules(unknown)),
        Err(error) => Err(StartError::Trusted { height: kept.height, error }),
    }
}
