//! The swarm's behaviours: one request-response a kind, gossip, ping, identify, limits and bans.

use std::{collections::HashSet, time::Duration};

use libp2p::{
    PeerId, StreamProtocol, Swarm,
    allow_block_list::{self, BlockedPeers},
    connection_limits::{self, ConnectionLimits},
    core::upgrade::Version,
    gossipsub::{self, IdentityTransform, MessageAuthenticity, ValidationMode, WhitelistSubscriptionFilter},
    identify, ping,
    request_response::{self, ProtocolSupport},
    swarm::{self, NetworkBehaviour},
};

use crate::{
    codec::{Codec, Frame},
    config::Config,
    gossip::{MAX_GOSSIP_BYTES, Topic, message_id},
    handle::StartError,
    metrics::Metrics,
    request::Kind,
    transport,
};

/// How often a connection is probed; an answer has to come within the same time.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A connection without any stream is closed after this. Pings find dead ones long before.
const IDLE_TIMEOUT: Duration = Duration::from_secs(24 * 3_600);
/// How often peers introduce themselves again. What they say does not change while they run.
const IDENTIFY_INTERVAL: Duration = Duration::from_secs(3_600);
/// Connections to one peer: both sides may dial at the same moment, and one more says that those are lost.
const CONNECTIONS_PER_PEER: u32 = 3;
/// Connections in their handshake.
const PENDING_CONNECTIONS: u32 = 64;
/// Streams of one kind on a connection, both directions.
const STREAMS_PER_KIND: usize = 256;
/// Inbound streams of a connection that have not named their protocol.
const NEGOTIATING_STREAMS: usize = 64;
/// Peers that notices of fraud proofs go to: all there are. They are rare and short, and minutes count.
const FRAUD_MESH: usize = 512;
/// Gossip messages that wait for a slow peer: 16 MiB at most.
const GOSSIP_SEND_QUEUE: usize = 256;

pub(crate) type Exchange = request_response::Behaviour<Codec>;
pub(crate) type ExchangeEvent = request_response::Event<Frame, Frame>;
type GossipBehaviour = gossipsub::Behaviour<IdentityTransform, WhitelistSubscriptionFilter>;

#[derive(NetworkBehaviour)]
#[behaviour(prelude = "libp2p::swarm::derive_prelude")]
pub(crate) struct Behaviour {
    /// Before all others: they are not told of connections that it refuses.
    limits: connection_limits::Behaviour,
    pub(crate) bans: allow_block_list::Behaviour<BlockedPeers>,
    pub(crate) gossip: GossipBehaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    sample: Exchange,
    line: Exchange,
    range: Exchange,
    index: Exchange,
    header: Exchange,
    certified: Exchange,
    state: Exchange,
    headers: Exchange,
    transaction: Exchange,
    body: Exchange,
    bodies: Exchange,
    fraud: Exchange,
    frauds: Exchange,
    cells: Exchange,
}

impl Behaviour {
    fn new(config: &Config, metrics: &Metrics) -> Result<Self, StartError> {
        let exchange = |kind: Kind| -> Result<Exchange, StartError> {
            let support =
                if config.serves.contains(&kind) { ProtocolSupport::Full } else { ProtocolSupport::Outbound };
            let settings = request_response::Config::default()
                .with_request_timeout(config.limits.deadline(kind))
                .with_max_concurrent_streams(STREAMS_PER_KIND);
            let protocol = StreamProtocol::try_from_owned(kind.protocol_name(&config.chain_id))
                .map_err(StartError::swarm)?;
            let codec = Codec::new(kind, metrics.of(kind));
            Ok(Exchange::with_codec(codec, [(protocol, support)], settings))
        };
        Ok(Self {
            limits: connection_limits::Behaviour::new(
                ConnectionLimits::default()
                    .with_max_pending_incoming(Some(PENDING_CONNECTIONS))
                    .with_max_established_incoming(Some(config.limits.inbound_connections))
                    .with_max_established_per_peer(Some(CONNECTIONS_PER_PEER)),
            ),
            bans: allow_block_list::Behaviour::default(),
            gossip: gossip(config)?,
            identify: identify::Behaviour::new(
                identify::Config::new(chain_protocol(&config.chain_id), config.keypair.public())
                    .with_agent_version(concat!("weft/", env!("CARGO_PKG_VERSION")).to_owned())
                    .with_interval(IDENTIFY_INTERVAL)
                    .with_push_listen_addr_updates(false)
                    .with_cache_size(0)
                    .with_hide_listen_addrs(true),
            ),
            ping: ping::Behaviour::new(
                ping::Config::new().with_interval(PING_INTERVAL).with_timeout(PING_INTERVAL),
            ),
            sample: exchange(Kind::Sample)?,
            line: exchange(Kind::Line)?,
            range: exchange(Kind::Range)?,
            index: exchange(Kind::Index)?,
            header: exchange(Kind::Header)?,
            certified: exchange(Kind::Certified)?,
            state: exchange(Kind::State)?,
            headers: exchange(Kind::Headers)?,
            transaction: exchange(Kind::Transaction)?,
            body: exchange(Kind::Body)?,
            bodies: exchange(Kind::Bodies)?,
            fraud: exchange(Kind::Fraud)?,
            frauds: exchange(Kind::Frauds)?,
            cells: exchange(Kind::Cells)?,
        })
    }

    pub(crate) const fn exchange(&mut self, kind: Kind) -> &mut Exchange {
        match kind {
            Kind::Sample => &mut self.sample,
            Kind::Line => &mut self.line,
            Kind::Range => &mut self.range,
            Kind::Index => &mut self.index,
            Kind::Header => &mut self.header,
            Kind::Certified => &mut self.certified,
            Kind::State => &mut self.state,
            Kind::Headers => &mut self.headers,
            Kind::Transaction => &mut self.transaction,
            Kind::Body => &mut self.body,
            Kind::Bodies => &mut self.bodies,
            Kind::Fraud => &mut self.fraud,
            Kind::Frauds => &mut self.frauds,
            Kind::Cells => &mut self.cells,
        }
    }
}

/// What a node calls its chain when it introduces itself.
pub(crate) fn chain_protocol(chain_id: &str) -> String {
    format!("/weft/{chain_id}/1")
}

/// A swarm of `config` that does not listen yet.
pub(crate) fn swarm(config: &Config, metrics: &Metrics) -> Result<Swarm<Behaviour>, StartError> {
    let transport = transport::build(&config.keypair, metrics).map_err(StartError::swarm)?;
    let behaviour = Behaviour::new(config, metrics)?;
    let settings = swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(IDLE_TIMEOUT)
        .with_max_negotiating_inbound_streams(NEGOTIATING_STREAMS)
        // A request travels together with its protocol's name: a round trip less.
        .with_substream_upgrade_protocol_override(Version::V1Lazy);
    let id = PeerId::from(config.keypair.public());
    Ok(Swarm::new(transport, behaviour, id, settings))
}

fn gossip(config: &Config) -> Result<GossipBehaviour, StartError> {
    let mesh = config.limits.gossip_mesh;
    let protocol = format!("/weft/{}/gossip/1", config.chain_id);
    let fraud = Topic::Fraud.on_chain(&config.chain_id).hash();
    let settings = gossipsub::ConfigBuilder::default()
        .protocol_id(protocol, gossipsub::Version::V1_1)
        .validate_messages()
        .validation_mode(ValidationMode::Anonymous)
        .message_id_fn(message_id)
        .max_transmit_size(MAX_GOSSIP_BYTES)
        .heartbeat_interval(Duration::from_secs(1))
        .heartbeat_initial_delay(Duration::from_secs(1))
        .flood_publish(false)
        .mesh_n(mesh)
        .mesh_n_low(mesh.div_ceil(2))
        .mesh_n_high(mesh * 2)
        .mesh_outbound_min(mesh / 4)
        .gossip_lazy(2)
        .connection_handler_queue_len(GOSSIP_SEND_QUEUE)
        .mesh_n_for_topic(FRAUD_MESH, fraud.clone())
        .mesh_n_low_for_topic(FRAUD_MESH / 2, fraud.clone())
        .mesh_n_high_for_topic(FRAUD_MESH * 2, fraud.clone())
        .mesh_outbound_min_for_topic(0, fraud)
        .build()
        .map_err(StartError::swarm)?;
    let topics = Topic::ALL.map(|topic| topic.on_chain(&config.chain_id).hash());
    let filter = WhitelistSubscriptionFilter(HashSet::from(topics));
    let mut gossip =
        GossipBehaviour::new_with_subscription_filter(MessageAuthenticity::Anonymous, settings, filter)
            .map_err(StartError::swarm)?;
    for topic in &config.topics {
        gossip.subscribe(&topic.on_chain(&config.chain_id)).map_err(StartError::swarm)?;
    }
    Ok(gossip)
}
