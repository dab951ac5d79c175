//! What is gossiped: topics, messages and their ids.
//!
//! Messages carry no author and no signature of this layer: their bytes prove themselves, or are
//! rejected. A message's id is a hash of its topic and bytes, so the same bytes spread once.

use bytes::Bytes;
use libp2p::{
    PeerId,
    gossipsub::{IdentTopic, Message, MessageId},
};
use thiserror::Error;

/// Most bytes of a gossiped message. Bodies never travel here.
pub const MAX_GOSSIP_BYTES: usize = 64 << 10;
/// Bytes of a message's id: enough that collisions are infeasible to make for two chosen messages
/// within the minute in which ids are remembered, and short in `IHAVE` lists.
const MESSAGE_ID_BYTES: usize = 20;

/// A subject of gossip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Topic {
    /// New headers.
    Headers,
    /// Pool announcements.
    Pool,
    /// Validators' attestations.
    Attestations,
    /// Notices of fraud proofs.
    Fraud,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 4] = [Self::Headers, Self::Pool, Self::Attestations, Self::Fraud];

    /// The name in the topic's name on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Headers => "headers",
            Self::Pool => "pool",
            Self::Attestations => "attestations",
            Self::Fraud => "fraud",
        }
    }

    pub(crate) fn on_chain(self, chain_id: &str) -> IdentTopic {
        IdentTopic::new(format!("/weft/{chain_id}/{}/1", self.name()))
    }
}

/// A message that a peer passed on. It goes no further until [`Network::accept`] is called.
///
/// [`Network::accept`]: crate::Network::accept
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Gossip {
    /// The subject.
    pub topic: Topic,
    /// The peer that passed it on, which need not be who made it.
    pub source: PeerId,
    /// The bytes, at most [`MAX_GOSSIP_BYTES`].
    pub data: Bytes,
    pub(crate) id: MessageId,
}

/// A message that was not published.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError {
    /// Too long. The caller is at fault.
    #[error("a message of {got} bytes, allowed are {limit}")]
    Oversize {
        /// Most bytes.
        limit: usize,
        /// The message's bytes.
        got: usize,
    },
    /// No connected peer listens to the topic yet. Retry when one does.
    #[error("no connected peer listens to {}", topic.name())]
    NoPeers {
        /// The topic.
        topic: Topic,
    },
    /// Every peer's queue is full. Retry later.
    #[error("the queues of all {peers} peers are full")]
    Busy {
        /// Peers tried.
        peers: usize,
    },
    /// The network has stopped.
    #[error("the network has stopped")]
    Stopped,
}

pub(crate) fn message_id(message: &Message) -> MessageId {
    let topic = message.topic.as_str();
    let mut hasher = blake3::Hasher::new();
    hasher.update(b"weft/gossip/1");
    hasher.update(&(topic.len() as u64).to_be_bytes());
    hasher.update(topic.as_bytes());
    hasher.update(&message.data);
    let mut id = [0; MESSAGE_ID_BYTES];
    hasher.finalize_xof().fill(&mut id);
    MessageId::from(&id[..])
}
