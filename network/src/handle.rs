//! The handle to a running network.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use libp2p::{Multiaddr, PeerId, gossipsub::MessageAcceptance};
use prometheus_client::registry::Registry;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot, watch};

use crate::{
    behaviour,
    codec::FrameError,
    config::{Config, ConfigError, Limits},
    gossip::{Gossip, MAX_GOSSIP_BYTES, PublishError, Topic},
    metrics::{Metrics, Traffic},
    peers::{Offence, PeerInfo},
    request::{Kind, OutOfBounds, Provider, Refusal, Request},
    worker::{self, Worker},
};

/// A handle to a running network. Clones share it; when the last is dropped, it stops.
#[derive(Clone, Debug)]
pub struct Network {
    id: PeerId,
    limits: Arc<Limits>,
    metrics: Metrics,
    commands: mpsc::Sender<Command>,
    peers: watch::Receiver<Arc<[PeerInfo]>>,
    addresses: watch::Receiver<Vec<Multiaddr>>,
    ended: watch::Receiver<bool>,
}

/// Tells when every address is listened on.
type Started = oneshot::Receiver<Result<(), StartError>>;

/// What a handle tells the worker.
#[derive(Debug)]
pub(crate) enum Command {
    Request { peer: PeerId, request: Request, reply: oneshot::Sender<Result<Bytes, RequestError>> },
    Publish { topic: Topic, data: Bytes, reply: oneshot::Sender<Result<(), PublishError>> },
    Judge { gossip: Gossip, verdict: MessageAcceptance },
    Report { peer: PeerId, offence: Offence },
    Dial { address: Multiaddr, reply: oneshot::Sender<Result<PeerId, DialError>> },
    Stop,
}

/// A network that did not start.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StartError {
    /// The configuration cannot work. The operator is at fault.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// An address cannot be listened on: in use, not of this machine, or of an unknown transport.
    #[error("cannot listen on {address}: {reason}")]
    Listen {
        /// The address.
        address: Multiaddr,
        /// What the system says.
        reason: String,
    },
    /// The swarm cannot be built from this identity and these limits.
    #[error("cannot build the swarm: {reason}")]
    Swarm {
        /// What libp2p says.
        reason: String,
    },
    /// The worker ended before it was ready.
    #[error("the network ended before it was ready")]
    Ended,
}

impl StartError {
    #[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
    pub(crate) fn swarm(reason: impl ToString) -> Self {
        Self::Swarm { reason: reason.to_string() }
    }
}

/// A request without an answer's bytes. Unless a variant says otherwise, ask another peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RequestError {
    /// The request is outside its bounds. The caller is at fault; no retry helps.
    #[error(transparent)]
    Invalid(#[from] OutOfBounds),
    /// The peer answered that it will not answer.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// No answer by the deadline.
    #[error("no answer within {deadline:?}")]
    Timeout {
        /// The deadline.
        deadline: Duration,
    },
    /// The peer is not connected, or was disconnected while the request was under way.
    #[error("the peer is not connected")]
    Disconnected,
    /// The peer does not serve this kind.
    #[error("the peer does not serve {} requests", kind.name())]
    Unsupported {
        /// The kind.
        kind: Kind,
    },
    /// The answer is longer than its protocol allows. The peer is at fault, and was banned.
    #[error("an answer of {got} bytes, allowed are {limit}")]
    Oversize {
        /// Most bytes.
        limit: usize,
        /// Announced bytes.
        got: usize,
    },
    /// The answer is no message of its protocol. The peer is at fault, and was banned.
    #[error("malformed answer: {0}")]
    Malformed(FrameError),
    /// The stream ended within the answer: the peer failed, or dropped the request.
    #[error("the answer ended after {got} of {expected} bytes")]
    Truncated {
        /// Announced bytes, 0 when not even these came.
        expected: usize,
        /// Bytes that came.
        got: usize,
    },
    /// The stream broke.
    #[error("the stream broke: {reason}")]
    Broken {
        /// What the system says.
        reason: String,
    },
    /// This node has too many requests under way. Retry when some have ended.
    #[error("{limit} requests are under way already")]
    Overloaded {
        /// [`Limits::outbound_requests`].
        limit: usize,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// A connection that could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum DialError {
    /// The peer cannot be reached, is someone else, or is banned.
    #[error("cannot connect to {address}: {reason}")]
    Failed {
        /// The address.
        address: Multiaddr,
        /// What libp2p says.
        reason: String,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

/// The worker ended by a panic: the node has to end, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the network's worker ended unexpectedly")]
pub struct Ended;

impl Network {
    /// Starts a network and waits until it listens on every address of `config`.
    ///
    /// Peers' requests of the kinds in `config.serves` go to `provider`. Gossip of
    /// `config.topics` comes out of the returned channel; when that is full, gossip is dropped and
    /// counted. Metrics go to `registry` as `weft_network_*`.
    ///
    /// # Errors
    /// When the configuration is invalid or an address cannot be listened on.
    pub async fn start(
        config: Config,
        provider: Arc<dyn Provider>,
        registry: &mut Registry,
    ) -> Result<(Self, mpsc::Receiver<Gossip>), StartError> {
        let (network, gossip, started) = Self::launch(config, provider, registry)?;
        started.await.map_err(|_| StartError::Ended)??;
        Ok((network, gossip))
    }

    fn launch(
        config: Config,
        provider: Arc<dyn Provider>,
        registry: &mut Registry,
    ) -> Result<(Self, mpsc::Receiver<Gossip>, Started), StartError> {
        config.validate()?;
        let metrics = Metrics::registered(registry);
        let swarm = behaviour::swarm(&config, &metrics)?;
        let id = *swarm.local_peer_id();
        let limits = Arc::new(config.limits.clone());
        let (commands, command_queue) = mpsc::channel(limits.command_queue);
        let (gossip, gossip_queue) = mpsc::channel(limits.gossip_queue);
        let (peers_sender, peers) = watch::channel(Arc::default());
        let (addresses_sender, addresses) = watch::channel(Vec::new());
        let (ended_sender, ended) = watch::channel(false);
        let worker = Worker::new(worker::Args {
            config,
            provider,
            swarm,
            metrics: metrics.clone(),
            commands: command_queue,
            gossip,
            peers: peers_sender,
            addresses: addresses_sender,
            ended: ended_sender,
        });
        let (ready, started) = oneshot::channel();
        tokio::spawn(Box::pin(worker.run(ready)));
        let network = Self { id, limits, metrics, commands, peers, addresses, ended };
        Ok((network, gossip_queue, started))
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// This node's id.
    #[must_use]
    pub const fn id(&self) -> PeerId {
        self.id
    }

    /// Asks a connected peer and waits for its answer, at most until the kind's deadline.
    ///
    /// Cancel safe: when dropped, the answer is dropped once it comes.
    ///
    /// # Errors
    /// Everything but an answer's bytes; each variant says who is at fault.
    pub async fn request(&self, peer: PeerId, request: Request) -> Result<Bytes, RequestError> {
        request.check()?;
        let deadline = self.limits.deadline(request.kind());
        let (reply, answer) = oneshot::channel();
        let exchange = async {
            self.send(Command::Request { peer, request, reply }).await.ok_or(RequestError::Stopped)?;
            answer.await.map_err(|_| RequestError::Stopped)?
        };
        tokio::time::timeout(deadline, exchange).await.map_err(|_| RequestError::Timeout { deadline })?
    }

    /// Gossips `data`, at most [`MAX_GOSSIP_BYTES`]. What was gossiped within the last minute is
    /// not sent again.
    ///
    /// # Errors
    /// When it is too long, or nobody takes it.
    pub async fn publish(&self, topic: Topic, data: Bytes) -> Result<(), PublishError> {
        if data.len() > MAX_GOSSIP_BYTES {
            return Err(PublishError::Oversize { limit: MAX_GOSSIP_BYTES, got: data.len() });
        }
        let (reply, done) = oneshot::channel();
        self.send(Command::Publish { topic, data, reply }).await.ok_or(PublishError::Stopped)?;
        done.await.map_err(|_| PublishError::Stopped)?
    }

    /// The message is good: passes it on.
    pub async fn accept(&self, gossip: Gossip) {
        self.judge(gossip, MessageAcceptance::Accept).await;
    }

    /// The message is bad: it goes no further. [`Self::report`] its source if no honest peer would
    /// have passed it on.
    pub async fn reject(&self, gossip: Gossip) {
        self.judge(gossip, MessageAcceptance::Reject).await;
    }

    /// The message is stale or cannot be judged: it goes no further, and nobody is at fault.
    pub async fn ignore(&self, gossip: Gossip) {
        self.judge(gossip, MessageAcceptance::Ignore).await;
    }

    /// Drops a peer at once and keeps it away for [`Limits::ban`].
    pub async fn report(&self, peer: PeerId, offence: Offence) {
        self.send(Command::Report { peer, offence }).await;
    }

    /// Connects to a peer once; unlike bootstrap addresses it is not dialled again.
    ///
    /// # Errors
    /// When no connection could be opened.
    pub async fn dial(&self, address: Multiaddr) -> Result<PeerId, DialError> {
        let (reply, done) = oneshot::channel();
        self.send(Command::Dial { address, reply }).await.ok_or(DialError::Stopped)?;
        done.await.map_err(|_| DialError::Stopped)?
    }

    /// The connected peers.
    #[must_use]
    pub fn peers(&self) -> Arc<[PeerInfo]> {
        Arc::clone(&self.peers.borrow())
    }

    /// The connected peers, and every change of them.
    #[must_use]
    pub fn watch_peers(&self) -> watch::Receiver<Arc<[PeerInfo]>> {
        self.peers.clone()
    }

    /// The addresses that this node listens on, each with `/p2p/<id>`.
    #[must_use]
    pub fn listen_addrs(&self) -> Vec<Multiaddr> {
        self.addresses.borrow().clone()
    }

    /// Bytes read from and written to the wire since the start.
    ///
    /// TCP is counted at the socket, so handshakes, encryption and multiplexing are in. QUIC's
    /// streams are counted, so its packet headers, acknowledgements and handshakes are not.
    #[must_use]
    pub fn wire_bytes(&self) -> (u64, u64) {
        (self.metrics.wire_read_bytes.get(), self.metrics.wire_written_bytes.get())
    }

    /// Bytes of one kind's messages since the start.
    #[must_use]
    pub fn traffic(&self, kind: Kind) -> Traffic {
        let metrics = self.metrics.of(kind);
        Traffic { read_bytes: metrics.read_bytes.get(), written_bytes: metrics.written_bytes.get() }
    }

    /// The network's metrics.
    #[must_use]
    pub const fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Closes all connections and waits until the worker has ended.
    ///
    /// # Errors
    /// When the worker ended unexpectedly.
    pub async fn stop(&self) -> Result<(), Ended> {
        self.send(Command::Stop).await;
        self.join().await
    }

    /// Waits until the worker has ended.
    ///
    /// # Errors
    /// When the worker ended unexpectedly.
    pub async fn join(&self) -> Result<(), Ended> {
        let mut ended = self.ended.clone();
        match ended.wait_for(|ended| *ended).await {
            Ok(_) => Ok(()),
            Err(_) => Err(Ended),
        }
    }

    async fn judge(&self, gossip: Gossip, verdict: MessageAcceptance) {
        self.send(Command::Judge { gossip, verdict }).await;
    }

    /// `None` when the worker has ended.
    async fn send(&self, command: Command) -> Option<()> {
        self.commands.send(command).await.ok()
    }
}
