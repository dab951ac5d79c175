//! Counters of the network, registered as `weft_network_*`.

use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

use crate::{gossip::Topic, request::Kind};

/// What the network counts. Cheap to clone; clones share their counters.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Metrics {
    /// Connected peers.
    pub peers: Gauge,
    /// Bytes read from the wire: see [`Network::wire_bytes`](crate::Network::wire_bytes).
    pub wire_read_bytes: Counter,
    /// Bytes written to the wire.
    pub wire_written_bytes: Counter,
    /// Bytes of messages read, by kind.
    pub message_read_bytes: Family<KindLabel, Counter>,
    /// Bytes of messages written, by kind.
    pub message_written_bytes: Family<KindLabel, Counter>,
    /// Requests sent to peers.
    pub requests_sent: Family<KindLabel, Counter>,
    /// Requests that peers answered with bytes.
    pub requests_answered: Family<KindLabel, Counter>,
    /// Requests that peers refused.
    pub requests_refused: Family<KindLabel, Counter>,
    /// Requests that got no answer at all.
    pub requests_failed: Family<KindLabel, Counter>,
    /// Peers' requests that came in.
    pub serves_started: Family<KindLabel, Counter>,
    /// Peers' requests that were answered with bytes.
    pub serves_answered: Family<KindLabel, Counter>,
    /// Peers' requests that were refused for any reason but load.
    pub serves_refused: Family<KindLabel, Counter>,
    /// Peers' requests that were refused because of load.
    pub serves_busy: Family<KindLabel, Counter>,
    /// Peers' requests that ended without an answer: deadline, broken stream, malformed.
    pub serves_failed: Family<KindLabel, Counter>,
    /// Gossip that came in.
    pub gossip_received: Family<TopicLabel, Counter>,
    /// Gossip that came in and was dropped, because its queue was full or its peer over budget.
    pub gossip_dropped: Family<TopicLabel, Counter>,
    /// Gossip published by this node.
    pub gossip_published: Family<TopicLabel, Counter>,
    /// Peers dropped and banned for an offence.
    pub peers_banned: Counter,
    /// Failed attempts to dial.
    pub dials_failed: Counter,
}

/// Bytes of one kind's messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Read, requests and answers together.
    pub read_bytes: u64,
    /// Written.
    pub written_bytes: u64,
}

/// A request's kind as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct KindLabel {
    kind: &'static str,
}

/// A gossip topic as a label.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct TopicLabel {
    topic: &'static str,
}

impl From<Kind> for KindLabel {
    fn from(kind: Kind) -> Self {
        Self { kind: kind.name() }
    }
}

impl From<Topic> for TopicLabel {
    fn from(topic: Topic) -> Self {
        Self { topic: topic.name() }
    }
}

/// The counters that a codec counts in.
#[derive(Clone, Debug)]
pub(crate) struct KindMetrics {
    pub(crate) read_bytes: Counter,
    pub(crate) written_bytes: Counter,
}

impl Metrics {
    /// Registers all counters under `weft_network`.
    pub(crate) fn registered(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        let registry = registry.sub_registry_with_prefix("weft_network");
        registry.register("peers", "Connected peers", metrics.peers.clone());
        for (name, help, counter) in [
            ("wire_read_bytes", "Bytes read from the wire", &metrics.wire_read_bytes),
            ("wire_written_bytes", "Bytes written to the wire", &metrics.wire_written_bytes),
            ("peers_banned", "Peers dropped and banned for an offence", &metrics.peers_banned),
            ("dials_failed", "Failed attempts to dial", &metrics.dials_failed),
        ] {
            registry.register(name, help, counter.clone());
        }
        for (name, help, family) in [
            ("message_read_bytes", "Bytes of messages read", &metrics.message_read_bytes),
            ("message_written_bytes", "Bytes of messages written", &metrics.message_written_bytes),
            ("requests_sent", "Requests sent to peers", &metrics.requests_sent),
            ("requests_answered", "Requests that peers answered", &metrics.requests_answered),
            ("requests_refused", "Requests that peers refused", &metrics.requests_refused),
            ("requests_failed", "Requests that got no answer", &metrics.requests_failed),
            ("serves_started", "Requests of peers", &metrics.serves_started),
            ("serves_answered", "Requests of peers answered", &metrics.serves_answered),
            ("serves_refused", "Requests of peers refused", &metrics.serves_refused),
            ("serves_busy", "Requests of peers refused because of load", &metrics.serves_busy),
            ("serves_failed", "Requests of peers that got no answer", &metrics.serves_failed),
        ] {
            registry.register(name, help, family.clone());
        }
        for (name, help, family) in [
            ("gossip_received", "Gossip that came in", &metrics.gossip_received),
            ("gossip_dropped", "Gossip that came in and was dropped", &metrics.gossip_dropped),
            ("gossip_published", "Gossip published by this node", &metrics.gossip_published),
        ] {
            registry.register(name, help, family.clone());
        }
        metrics
    }

    pub(crate) fn of(&self, kind: Kind) -> KindMetrics {
        KindMetrics {
            read_bytes: self.message_read_bytes.get_or_create(&kind.into()).clone(),
            written_bytes: self.message_written_bytes.get_or_create(&kind.into()).clone(),
        }
    }
}

/// Adds one to the counter of a label.
pub(crate) fn count<L>(family: &Family<L, Counter>, label: impl Into<L>)
where
    L: Clone + std::hash::Hash + Eq,
{
    family.get_or_create(&label.into()).inc();
}
