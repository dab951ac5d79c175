//! The actor that owns the swarm.
//!
//! It runs until it is told to stop or its last handle is dropped. It never waits for anything but
//! its own loop: providers run on tasks, and a full gossip queue drops.

mod exchange;

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::StreamExt as _;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::{ConnectedPoint, transport::ListenerId},
    gossipsub::{self, MessageAcceptance, TopicHash},
    identify,
    multiaddr::Protocol,
    request_response::{InboundRequestId, OutboundRequestId},
    swarm::{ConnectionId, DialError as SwarmDialError, SwarmEvent, dial_opts::DialOpts},
};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::JoinSet,
    time::MissedTickBehavior,
};

use self::exchange::Served;
use crate::{
    behaviour::{Behaviour, BehaviourEvent, chain_protocol},
    config::Config,
    gossip::{Gossip, MAX_GOSSIP_BYTES, PublishError, Topic},
    handle::{Command, DialError, RequestError, StartError},
    metrics::{Metrics, count},
    peers::{Budget, Offence, Peer, PeerInfo},
    redial::Redial,
    request::{Kind, Provider},
    silence::Connections,
    transport,
};

/// How often bans and pauses are looked at.
const TICK: Duration = Duration::from_millis(100);
/// How long a stopping network waits for its connections to be closed.
const STOP_TIMEOUT: Duration = Duration::from_secs(1);
/// Bans remembered; beyond, the one that ends first is lifted.
const MAX_BANS: usize = 4_096;

/// What a worker is made of.
pub(crate) struct Args {
    pub(crate) config: Config,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) swarm: Swarm<Behaviour>,
    pub(crate) metrics: Metrics,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) gossip: mpsc::Sender<Gossip>,
    pub(crate) peers: watch::Sender<Arc<[PeerInfo]>>,
    pub(crate) addresses: watch::Sender<Vec<Multiaddr>>,
    pub(crate) ended: watch::Sender<bool>,
}

type Reply<T, E> = oneshot::Sender<Result<T, E>>;

pub(crate) struct Worker {
    args: Args,
    protocols: Vec<(Kind, String)>,
    topics: HashMap<TopicHash, Topic>,
    peers: HashMap<PeerId, Peer>,
    connections: Connections,
    bans: HashMap<PeerId, Instant>,
    redial: Redial,
    dials: HashMap<ConnectionId, (Multiaddr, Reply<PeerId, DialError>)>,
    requests: HashMap<(Kind, OutboundRequestId), Reply<Bytes, RequestError>>,
    /// Peers' requests that are being served or answered.
    serving: HashMap<(Kind, InboundRequestId), PeerId>,
    tasks: JoinSet<Served>,
    /// Listeners without an address yet, and who waits for them.
    starting: Option<(HashMap<ListenerId, Multiaddr>, Reply<(), StartError>)>,
}

impl Worker {
    pub(crate) fn new(args: Args) -> Self {
        let Config { chain_id, bootstrap, limits, .. } = &args.config;
        let redial = Redial::new(bootstrap.clone(), limits.redial_min, limits.redial_max, Instant::now());
        let protocols = Kind::ALL.into_iter().map(|kind| (kind, kind.protocol_name(chain_id))).collect();
        let topics = Topic::ALL.into_iter().map(|topic| (topic.on_chain(chain_id).hash(), topic)).collect();
        Self {
            protocols,
            topics,
            redial,
            args,
            peers: HashMap::new(),
            connections: Connections::default(),
            bans: HashMap::new(),
            dials: HashMap::new(),
            requests: HashMap::new(),
            serving: HashMap::new(),
            tasks: JoinSet::new(),
            starting: None,
        }
    }

    /// Runs until stopped; `ready` is told once every address is listened on.
    pub(crate) async fn run(mut self, ready: Reply<(), StartError>) {
        self.listen(ready);
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = self.args.swarm.select_next_some() => self.on_event(event),
                Some(served) = self.tasks.join_next() => self.on_served(served),
                command = self.args.commands.recv() => match command {
                    None | Some(Command::Stop) => break,
                    Some(command) => self.on_command(command),
                },
                _ = tick.tick() => self.on_tick(),
            }
        }
        self.close().await;
        self.args.ended.send_replace(true);
    }

    fn listen(&mut self, ready: Reply<(), StartError>) {
        let mut listeners = HashMap::new();
        for address in self.args.config.listen.clone() {
            let listener =
                transport::check_free(&address).map_err(|error| error.to_string()).and_then(|()| {
                    let listener = self.args.swarm.listen_on(address.clone());
                    listener.map_err(|error| error.to_string())
                });
            match listener {
                Ok(listener) => {
                    listeners.insert(listener, address);
                }
                Err(reason) => {
                    let _ = ready.send(Err(StartError::Listen { address, reason }));
                    return;
                }
            }
        }
        self.starting = Some((listeners, ready));
        self.tell_if_started();
    }

    fn tell_if_started(&mut self) {
        if let Some((_, ready)) = self.starting.take_if(|(listeners, _)| listeners.is_empty()) {
            let _ = ready.send(Ok(()));
        }
    }

    /// Closes every connection, so that peers learn of it at once.
    async fn close(&mut self) {
        self.tasks.abort_all();
        for peer in self.peers.keys() {
            let _ = self.args.swarm.disconnect_peer_id(*peer);
        }
        let swarm = &mut self.args.swarm;
        let closed = async {
            while swarm.network_info().connection_counters().num_established() > 0 {
                swarm.select_next_some().await;
            }
        };
        let _ = tokio::time::timeout(STOP_TIMEOUT, closed).await;
    }

    fn on_tick(&mut self) {
        let now = Instant::now();
        let over: Vec<PeerId> =
            self.bans.iter().filter(|(_, until)| **until <= now).map(|(peer, _)| *peer).collect();
        for peer in over {
            self.lift_ban(peer);
        }
        while let Some((at, address)) = self.redial.due(now) {
            let dial = DialOpts::unknown_peer_id().address(address).build();
            self.redial.dialing(at, dial.connection_id());
            if let Err(error) = self.args.swarm.dial(dial) {
                tracing::debug!(%error, "bootstrap peer cannot be dialled");
                self.redial.failed_at_once(at, now);
            }
        }
    }

    fn on_command(&mut self, command: Command) {
        match command {
            Command::Request { peer, request, reply } => self.send_request(peer, &request, reply),
            Command::Publish { topic, data, reply } => {
                let _ = reply.send(self.publish(topic, data));
            }
            Command::Judge { gossip, verdict } => self.judge(&gossip, verdict),
            Command::Report { peer, offence } => self.punish(peer, offence),
            Command::Dial { address, reply } => self.dial(address, reply),
            Command::Stop => {}
        }
    }

    fn dial(&mut self, address: Multiaddr, reply: Reply<PeerId, DialError>) {
        let dial = DialOpts::unknown_peer_id().address(address.clone()).build();
        let connection = dial.connection_id();
        match self.args.swarm.dial(dial) {
            Ok(()) => {
                self.dials.insert(connection, (address, reply));
            }
            Err(error) => {
                let reason = error.to_string();
                let _ = reply.send(Err(DialError::Failed { address, reason }));
            }
        }
    }

    fn publish(&mut self, topic: Topic, data: Bytes) -> Result<(), PublishError> {
        let hash = topic.on_chain(&self.args.config.chain_id).hash();
        let got = data.len();
        match self.args.swarm.behaviour_mut().gossip.publish(hash, data) {
            Ok(_) => {
                count(&self.args.metrics.gossip_published, topic);
                Ok(())
            }
            Err(gossipsub::PublishError::Duplicate) => Ok(()),
            Err(gossipsub::PublishError::AllQueuesFull(peers)) => Err(PublishError::Busy { peers }),
            Err(gossipsub::PublishError::MessageTooLarge) => {
                Err(PublishError::Oversize { limit: MAX_GOSSIP_BYTES, got })
            }
            Err(_) => Err(PublishError::NoPeers { topic }),
        }
    }

    fn judge(&mut self, gossip: &Gossip, verdict: MessageAcceptance) {
        let behaviour = &mut self.args.swarm.behaviour_mut().gossip;
        behaviour.report_message_validation_result(&gossip.id, &gossip.source, verdict);
    }

    /// Drops a peer and keeps it away for a while.
    fn punish(&mut self, peer: PeerId, offence: Offence) {
        tracing::info!(%peer, ?offence, "peer banned");
        self.args.metrics.peers_banned.inc();
        if self.bans.len() >= MAX_BANS {
            let first = self.bans.iter().min_by_key(|(_, until)| **until);
            if let Some(first) = first.map(|(peer, _)| *peer) {
                self.lift_ban(first);
            }
        }
        let until = Instant::now() + self.args.config.limits.ban;
        self.bans.insert(peer, until);
        self.args.swarm.behaviour_mut().bans.block_peer(peer);
        // Gone at once, though its connections take a moment to close: what it still sends is not looked at.
        if self.peers.remove(&peer).is_some() {
            self.tell_peers();
        }
    }

    fn lift_ban(&mut self, peer: PeerId) {
        self.bans.remove(&peer);
        self.args.swarm.behaviour_mut().bans.unblock_peer(peer);
    }

    fn on_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::Behaviour(event) => self.on_behaviour(event),
            SwarmEvent::ConnectionEstablished { peer_id, connection_id, endpoint, .. } => {
                self.on_connected(peer_id, connection_id, &endpoint);
            }
            SwarmEvent::ConnectionClosed { peer_id, connection_id, num_established, .. } => {
                self.connections.closed(connection_id);
                self.on_disconnected(peer_id, num_established);
            }
            SwarmEvent::OutgoingConnectionError { connection_id, error, .. } => {
                self.on_dial_failed(connection_id, &error);
            }
            SwarmEvent::NewListenAddr { listener_id, .. } => {
                if let Some((listeners, _)) = &mut self.starting {
                    listeners.remove(&listener_id);
                }
                self.tell_addresses();
                self.tell_if_started();
            }
            SwarmEvent::ExpiredListenAddr { .. } => self.tell_addresses(),
            SwarmEvent::ListenerClosed { listener_id, reason, .. } => {
                self.on_listener_closed(listener_id, reason);
            }
            _ => {}
        }
    }

    fn on_listener_closed(&mut self, listener: ListenerId, reason: std::io::Result<()>) {
        self.tell_addresses();
        let reason = reason.map_or_else(|error| error.to_string(), |()| "closed".to_owned());
        tracing::warn!(%reason, "listener closed");
        if let Some((listeners, _)) = &self.starting
            && let Some(address) = listeners.get(&listener).cloned()
            && let Some((_, ready)) = self.starting.take()
        {
            let _ = ready.send(Err(StartError::Listen { address, reason }));
        }
    }

    fn tell_addresses(&mut self) {
        let id = *self.args.swarm.local_peer_id();
        let addresses =
            self.args.swarm.listeners().map(|address| address.clone().with(Protocol::P2p(id))).collect();
        self.args.addresses.send_replace(addresses);
    }

    fn on_connected(&mut self, id: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let now = Instant::now();
        let limits = &self.args.config.limits;
        self.peers.entry(id).or_insert_with(|| Peer {
            info: PeerInfo {
                id,
                address: endpoint.get_remote_address().clone(),
                serves: Vec::new(),
                identified: false,
                connected_since: now,
                outbound: endpoint.is_dialer(),
            },
            serving: 0,
            budget: Budget::new(limits, now),
        });
        if self.connections.established(connection, id, now) {
            tracing::debug!(peer = %id, "the peer lost a connection that is open here: starting afresh");
            // An error says that none is open.
            let _ = self.args.swarm.disconnect_peer_id(id);
        }
        self.redial.established(id, connection, now);
        if let Some((_, reply)) = self.dials.remove(&connection) {
            let _ = reply.send(Ok(id));
        }
        self.tell_peers();
    }

    fn on_disconnected(&mut self, id: PeerId, num_established: u32) {
        if num_established == 0 {
            self.peers.remove(&id);
            self.redial.disconnected(id, Instant::now());
            self.tell_peers();
        }
    }

    fn on_dial_failed(&mut self, connection: ConnectionId, error: &SwarmDialError) {
        tracing::debug!(%error, "dial failed");
        self.args.metrics.dials_failed.inc();
        if matches!(error, SwarmDialError::LocalPeerId { .. }) {
            self.redial.forget(connection);
        }
        self.redial.failed(connection, Instant::now());
        if let Some((address, reply)) = self.dials.remove(&connection) {
            let reason = error.to_string();
            let _ = reply.send(Err(DialError::Failed { address, reason }));
        }
    }

    fn tell_peers(&self) {
        let peers: Arc<[PeerInfo]> = self.peers.values().map(|peer| peer.info.clone()).collect();
        self.args.metrics.peers.set(peers.len() as i64);
        self.args.peers.send_replace(peers);
    }

    fn on_behaviour(&mut self, event: BehaviourEvent) {
        match event {
            BehaviourEvent::Gossip(gossipsub::Event::Message { propagation_source, message_id, message }) => {
                self.on_gossip(propagation_source, message_id, message);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, connection_id, info }) => {
                self.connections.heard(connection_id, Instant::now());
                self.on_identified(peer_id, &info);
            }
            BehaviourEvent::Ping(ping) => match ping.result {
                Ok(_) => self.connections.heard(ping.connection, Instant::now()),
                Err(error) => {
                    tracing::debug!(peer = %ping.peer, %error, "ping failed");
                    self.args.swarm.close_connection(ping.connection);
                }
            },
            BehaviourEvent::Sample(event) => self.on_exchange(Kind::Sample, event),
            BehaviourEvent::Line(event) => self.on_exchange(Kind::Line, event),
            BehaviourEvent::Range(event) => self.on_exchange(Kind::Range, event),
            BehaviourEvent::Index(event) => self.on_exchange(Kind::Index, event),
            BehaviourEvent::Header(event) => self.on_exchange(Kind::Header, event),
            BehaviourEvent::Certified(event) => self.on_exchange(Kind::Certified, event),
            BehaviourEvent::State(event) => self.on_exchange(Kind::State, event),
            BehaviourEvent::Headers(event) => self.on_exchange(Kind::Headers, event),
            BehaviourEvent::Transaction(event) => self.on_exchange(Kind::Transaction, event),
            BehaviourEvent::Body(event) => self.on_exchange(Kind::Body, event),
            BehaviourEvent::Bodies(event) => self.on_exchange(Kind::Bodies, event),
            BehaviourEvent::Fraud(event) => self.on_exchange(Kind::Fraud, event),
            BehaviourEvent::Frauds(event) => self.on_exchange(Kind::Frauds, event),
            BehaviourEvent::Cells(event) => self.on_exchange(Kind::Cells, event),
            BehaviourEvent::Gossip(_) | BehaviourEvent::Identify(_) => {}
        }
    }

    fn on_identified(&mut self, id: PeerId, info: &identify::Info) {
        if info.protocol_version != chain_protocol(&self.args.config.chain_id) {
            return self.punish(id, Offence::WrongChain);
        }
        let Some(peer) = self.peers.get_mut(&id) else {
            return;
        };
        let protocols: HashSet<&str> = info.protocols.iter().map(AsRef::as_ref).collect();
        peer.info.identified = true;
        peer.info.serves = self
            .protocols
            .iter()
            .filter(|(_, protocol)| protocols.contains(protocol.as_str()))
            .map(|(kind, _)| *kind)
            .collect();
        self.tell_peers();
    }

    fn on_gossip(&mut self, source: PeerId, id: gossipsub::MessageId, message: gossipsub::Message) {
        let Some(topic) = self.topics.get(&message.topic).copied() else {
            return;
        };
        count(&self.args.metrics.gossip_received, topic);
        let gossip = Gossip { topic, source, data: message.data.into(), id };
        let cost = gossip.data.len() as u64;
        let within_budget =
            self.peers.get_mut(&source).is_some_and(|peer| peer.budget.spend(Instant::now(), cost));
        if !within_budget || self.args.gossip.try_send(gossip.clone()).is_err() {
            count(&self.args.metrics.gossip_dropped, topic);
            self.judge(&gossip, MessageAcceptance::Ignore);
        }
    }
}
