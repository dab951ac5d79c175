//! Starting and stopping the engine's actors.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use arc_malachitebft_app::events::TxEvent;
use arc_malachitebft_app::spawn::{
    spawn_consensus_actor, spawn_network_actor, spawn_node_actor, spawn_sync_actor, spawn_wal_actor,
};
use arc_malachitebft_app::types::{Keypair, PeerId};
use arc_malachitebft_codec::Codec as _;
use arc_malachitebft_engine::network::{NetworkIdentity, NetworkMsg};
use arc_malachitebft_engine::util::output_port::{OutputPort, OutputPortSubscriberTrait as _};
use arc_malachitebft_metrics::{Metrics, SharedRegistry};
use ractor::{Actor, ActorCell};
use tendermint::block;
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info};

use crate::actors::{Ear, Host};
use crate::app::{AppError, Application};
use crate::codec::WeftCodec;
use crate::config::Config;
use crate::context::{Address, WeftContext};
use crate::guard::{Guard, GuardError};
use crate::signer::ConsensusSigner;
use crate::signing::{EdVerifier, SignBytes};
use crate::validators::ValidatorSetError;
use crate::worker::{self, Event, Worker};

/// Events that may queue up before the worker takes them. Past that the engine's questions wait in
/// its own queues and the network's hints are dropped.
const EVENT_QUEUE: usize = 1_024;

/// How long each actor may take to stop before it is left behind.
const STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// Why the engine did not start, or why it ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The configured address has no transport; use `/ip4/…/tcp/…` or `/ip4/…/udp/…/quic-v1`.
    #[error("cannot listen on {0}: neither tcp nor quic-v1")]
    Listen(String),
    /// The home directory, the engine's log or its network could not be set up.
    #[error("the engine did not start: {0}")]
    Start(String),
    /// The record of what was signed is unusable.
    #[error(transparent)]
    Guard(Arc<GuardError>),
    /// The application failed; its state on disk decides where a restart begins.
    #[error("{call} failed: {source}")]
    Application {
        /// The method of [`Application`].
        call: &'static str,
        /// What it said.
        source: Arc<AppError>,
    },
    /// The application named validators that cannot run a height.
    #[error(transparent)]
    Validators(#[from] ValidatorSetError),
    /// A block was decided whose payload this node does not hold, though it was stored before.
    #[error("the payload decided at height {height} is missing from the store")]
    MissingPayload {
        /// The height.
        height: u64,
    },
    /// A call into the application panicked.
    #[error("a task failed: {0}")]
    Task(String),
    /// The engine's actors are gone; the log has the reason. After a failure to write its log, or
    /// a log that contradicts what was signed, look before restarting.
    #[error("the engine ended by itself")]
    Ended,
}

impl Error {
    pub(crate) fn application(call: &'static str) -> impl FnOnce(AppError) -> Self {
        move |source| Self::Application { call, source: Arc::new(source) }
    }

    fn start(reason: impl std::fmt::Display) -> Self {
        Self::Start(reason.to_string())
    }
}

/// Where the engine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// The height being decided.
    pub height: u64,
    /// Its round.
    pub round: u32,
    /// The last height committed by the application; one less than `height`, or equal to it while
    /// the next height is waited for.
    pub committed: u64,
    /// The addresses listened on, each without a peer id.
    pub listening: Vec<String>,
}

/// A running engine. Clones are the same engine; dropping them all does not stop it.
#[derive(Clone, Debug)]
pub struct Handle {
    events: mpsc::Sender<Event>,
    view: watch::Receiver<View>,
    outcome: watch::Receiver<Option<Result<(), Error>>>,
    peer_id: String,
}

impl Handle {
    /// Something that a proposal of `height` missed has arrived: those the application answered
    /// with [`Verdict::NotYet`](crate::Verdict::NotYet) are assessed again.
    pub async fn completed(&self, height: block::Height) {
        // An engine that has ended needs no nudge.
        let _ = self.events.send(Event::Completed(height.into())).await;
    }

    /// Where the engine is now.
    #[must_use]
    pub fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// Tells whenever [`view`](Self::view) changes.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<View> {
        self.view.clone()
    }

    /// The node's id on the engine's network, as it ends a dialable address (`/p2p/…`).
    #[must_use]
    pub fn peer_id(&self) -> &str {
        &self.peer_id
    }

    /// Stops the engine and waits until its files and its port are free.
    ///
    /// # Errors
    /// As [`join`](Self::join).
    pub async fn stop(&self) -> Result<(), Error> {
        let _ = self.events.send(Event::Stop).await;
        self.join().await
    }

    /// Waits until the engine has ended. Cancel-safe.
    ///
    /// # Errors
    /// Why it ended, unless it was told to.
    pub async fn join(&self) -> Result<(), Error> {
        let mut outcome = self.outcome.clone();
        match outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Err(Error::Ended)),
            Err(_) => Err(Error::Ended),
        }
    }
}

/// The id that a node with this network seed has on the engine's network (`/p2p/…`).
///
/// # Errors
/// Never for 32 bytes; the key library's interface allows it.
pub fn peer_id(network_seed: [u8; 32]) -> Result<String, Error> {
    let keypair = Keypair::ed25519_from_bytes(network_seed).map_err(Error::start)?;
    Ok(keypair.public().to_peer_id().to_string())
}

/// All engines' metrics of this process in Prometheus' text format.
#[must_use]
pub fn metrics() -> String {
    let mut text = String::new();
    arc_malachitebft_metrics::export(&mut text);
    text
}

/// Starts an engine on the current tokio runtime.
///
/// # Errors
/// The configuration is unusable, the home directory or port is taken, or the record of signatures
/// is damaged.
pub async fn start(config: Config, app: Arc<dyn Application>) -> Result<Handle, Error> {
    let (consensus_config, sync_config) = (config.consensus()?, config.value_sync());
    std::fs::create_dir_all(&config.home).map_err(Error::start)?;
    let sign_bytes = SignBytes::new(config.chain_id.clone());
    let registry = SharedRegistry::global().with_moniker(config.moniker.clone());
    let signer = match &config.validator {
        Some(key) => {
            let guard = Guard::open(&config.home.join("signed")).map_err(|e| Error::Guard(Arc::new(e)))?;
            let signer = ConsensusSigner::new(key, sign_bytes.clone(), guard, &registry);
            Some(signer.map_err(Error::start)?)
        }
        None => None,
    };
    let address = signer.as_ref().map_or(Address::NOBODY, ConsensusSigner::address);
    let keypair = Keypair::ed25519_from_bytes(config.network_seed).map_err(Error::start)?;
    let peer_id = keypair.public().to_peer_id();
    let own_id = PeerId::from_bytes(&peer_id.to_bytes()).map_err(Error::start)?;
    let (moniker, name) = (config.moniker.clone(), signer.as_ref().map(|_| address.to_string()));
    let identity = match (signer.as_ref().and_then(|signer| signer.prove_peer(peer_id.to_bytes())), name) {
        (Some(proof), Some(name)) => {
            let proof = WeftCodec.encode(&proof).map_err(Error::start)?;
            NetworkIdentity::new_validator(moniker, keypair, name, proof)
        }
        (_, name) => NetworkIdentity::new(moniker, keypair, name),
    };

    let metrics = Metrics::register(&registry);
    let (events, inbox) = mpsc::channel(EVENT_QUEUE);
    let awaited = Arc::new(AtomicU64::new(0));
    let (node, node_task) = spawn_node_actor(metrics.clone()).await.map_err(Error::start)?;
    let mut actors = Actors { node: node.get_cell(), children: Vec::new(), log: None };
    let started = async {
        let network = spawn_network_actor(&consensus_config, &sync_config, identity, &registry, WeftCodec)
            .await
            .map_err(Error::start)?;
        actors.adopt(network.get_cell());
        let log = config.home.join("consensus.wal");
        let wal = spawn_wal_actor(&WeftContext, WeftCodec, &log, &registry, node.clone())
            .await
            .map_err(Error::start)?;
        actors.adopt(wal.get_cell());
        actors.log = Some(File::open(log).map_err(Error::start)?);
        let (host, _) = Actor::spawn(None, Host(events.clone()), ()).await.map_err(Error::start)?;
        actors.adopt(host.get_cell());
        let ear = Ear { worker: events.clone(), awaited: Arc::clone(&awaited) };
        let (ear, _) = Actor::spawn(None, ear, ()).await.map_err(Error::start)?;
        actors.adopt(ear.get_cell());
        network.cast(NetworkMsg::Subscribe(Box::new(ear))).map_err(Error::start)?;
        let port = Arc::new(OutputPort::with_capacity(128));
        let consensus = spawn_consensus_actor(
            WeftContext,
            address,
            consensus_config,
            Box::new(EdVerifier(sign_bytes.clone())),
            signer.clone().map(|signer| Box::new(signer) as _),
            network.clone(),
            host.clone(),
            wal,
            Arc::clone(&port),
            metrics,
            TxEvent::new(),
            node,
        )
        .await
        .map_err(Error::start)?;
        actors.adopt(consensus.get_cell());
        let sync = spawn_sync_actor(
            WeftContext,
            network.clone(),
            host,
            consensus.clone(),
            WeftCodec,
            &sync_config,
            &registry,
        )
        .await
        .map_err(Error::start)?;
        if let Some(sync) = sync {
            actors.adopt(sync.get_cell());
            sync.subscribe_to_port(&port);
        }
        Ok((consensus, network))
    };
    let (consensus, network) = match started.await {
        Ok(started) => started,
        Err(error) => {
            actors.stop().await;
            return Err(error);
        }
    };

    let (view_sender, view) = watch::channel(View::default());
    let (outcome_sender, outcome) = watch::channel(None);
    let timeouts = config.timeouts;
    let late = signer.clone().map(|signer| tokio::spawn(tell_late(signer, events.clone())));
    let args = worker::Args {
        app,
        consensus,
        network,
        sign_bytes,
        signer,
        peer_id: own_id,
        timeouts,
        awaited,
        view: view_sender,
    };
    let worker = Worker::new(args);
    tokio::spawn(async move {
        let outcome = tokio::select! {
            outcome = worker.run(inbox) => outcome,
            _ = node_task => Err(Error::Ended),
        };
        match &outcome {
            Ok(()) => info!("consensus stops"),
            Err(error) => error!(%error, "consensus stops"),
        }
        if let Some(late) = late {
            late.abort();
        }
        actors.stop().await;
        outcome_sender.send_replace(Some(outcome));
    });
    Ok(Handle { events, view, outcome, peer_id: peer_id.to_string() })
}

/// Hands on what is signed late.
async fn tell_late(signer: ConsensusSigner, events: mpsc::Sender<Event>) {
    while events.send(Event::Signed(signer.late().await)).await.is_ok() {}
}

/// The engine's actors, in the order in which they were started.
struct Actors {
    node: ActorCell,
    children: Vec<ActorCell>,
    /// The file that the log's own thread has locked.
    log: Option<File>,
}

impl Actors {
    fn adopt(&mut self, child: ActorCell) {
        child.link(self.node.clone());
        self.children.push(child);
    }

    /// Stops the youngest first, each after the other, so that whoever is asked is still there; the
    /// network frees its port, the log its file.
    async fn stop(self) {
        // A supervisor that sees its first child go would kill the others.
        self.children.iter().for_each(|child| child.unlink(self.node.clone()));
        for child in self.children.iter().rev() {
            if child.stop_and_wait(None, Some(STOP_TIMEOUT)).await.is_err() {
                child.kill();
            }
        }
        if let Some(log) = self.log {
            unlocked(log).await;
        }
        self.node.stop(None);
    }
}

/// Waits for the log's thread, which the log's actor tells to end without waiting for it.
async fn unlocked(log: File) {
    let (sender, unlocked) = oneshot::channel();
    std::thread::spawn(move || {
        let locked = log.lock();
        drop(log);
        let _ = sender.send(locked);
    });
    let _ = tokio::time::timeout(STOP_TIMEOUT, unlocked).await;
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[tokio::test]
    async fn a_log_is_waited_for_until_its_thread_lets_go() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("consensus.wal");
        let thread = File::create(&path).unwrap();
        thread.lock().unwrap();
        let mut stopping = pin!(unlocked(File::open(&path).unwrap()));
        assert_eq!(stopping.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Pending);
        drop(thread);
        stopping.await;
        File::open(&path).unwrap().try_lock().unwrap();
    }
}
