//! What a node is told before its network starts.

use std::time::Duration;

use libp2p::{Multiaddr, identity::Keypair};
use thiserror::Error;

use crate::{gossip::Topic, request::Kind};

/// Longest chain id, as Tendermint has it.
const MAX_CHAIN_ID_BYTES: usize = 50;

/// A network's configuration. [`Config::new`] is a client that listens nowhere and serves nothing.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names the chain in every protocol: 1 to 50 letters, digits, `-`, `_` and `.`. Peers of
    /// another chain are dropped.
    pub chain_id: String,
    /// The node's identity; its public half is the [`PeerId`](libp2p::PeerId).
    pub keypair: Keypair,
    /// Addresses to listen on, `/ip4/…/tcp/…` and `/ip4/…/udp/…/quic-v1`. With none, the node still
    /// answers over the connections that it opened.
    pub listen: Vec<Multiaddr>,
    /// Peers to stay connected to, with or without `/p2p/<id>`. With none, the node waits to be
    /// dialled.
    pub bootstrap: Vec<Multiaddr>,
    /// Kinds of request that the node's provider answers. Peers learn them when they connect.
    pub serves: Vec<Kind>,
    /// Topics that the node listens to, and helps to spread.
    pub topics: Vec<Topic>,
    /// Deadlines, budgets and capacities.
    pub limits: Limits,
}

/// Deadlines, budgets and capacities.
#[derive(Clone, Debug)]
pub struct Limits {
    /// How long a sample, header or transaction request may take on either side. Default 5 s. Too
    /// low: distant peers look dead, samples are asked for twice.
    pub small_deadline: Duration,
    /// How long any other request may take on either side. Default 30 s. Too low: large answers are
    /// cut off on slow links.
    pub bulk_deadline: Duration,
    /// Most connections that others opened. Default 128. Too low: light clients find no server.
    pub inbound_connections: u32,
    /// Peers' requests served at once. Default 256; each holds its answer, at most 8 MiB. Too low:
    /// peers are told `Busy`.
    pub inbound_requests: usize,
    /// Requests of one peer served at once. Default 64. Below 24 a light client's samples of one
    /// block are told `Busy`.
    pub inbound_requests_per_peer: usize,
    /// This node's requests under way. Default 1,024. Too low: repair of a square gets
    /// [`Overloaded`](crate::RequestError::Overloaded).
    pub outbound_requests: usize,
    /// Bytes a second that a peer is served, and may gossip, in the long run. A request costs 1 KiB
    /// besides its answer. Default 16 MiB/s. Too low: followers of full blocks fall behind.
    pub peer_bytes_per_second: u64,
    /// Bytes that a peer may be ahead of that. Default 64 MiB. Below one answer's size, a peer is
    /// told `Busy` after each.
    pub peer_burst_bytes: u64,
    /// Gossip messages that wait for the node. Default 1,024. Too low: gossip is dropped, and counted.
    pub gossip_queue: usize,
    /// Peers that a topic's messages come from and go to; half of it is the least, twice the most.
    /// Default 4. Below 3 gossip gets lost when peers leave; each one more costs a copy of every
    /// message.
    pub gossip_mesh: usize,
    /// Commands that wait for the worker. Default 256. Too low: callers wait.
    pub command_queue: usize,
    /// How long a peer stays away after an offence. Default 10 min. Too low: it is back at once.
    pub ban: Duration,
    /// First pause before a bootstrap peer is dialled again; doubles up to `redial_max`. Default
    /// 500 ms. Too low: a restarting peer is flooded.
    pub redial_min: Duration,
    /// Longest pause before a bootstrap peer is dialled again. Default 10 s. Too high: a peer that
    /// is back is found late, and where validators cannot fetch from each other the chain waits.
    pub redial_max: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            small_deadline: Duration::from_secs(5),
            bulk_deadline: Duration::from_secs(30),
            inbound_connections: 128,
            inbound_requests: 256,
            inbound_requests_per_peer: 64,
            outbound_requests: 1_024,
            peer_bytes_per_second: 16 << 20,
            peer_burst_bytes: 64 << 20,
            gossip_queue: 1_024,
            gossip_mesh: 4,
            command_queue: 256,
            ban: Duration::from_secs(600),
            redial_min: Duration::from_millis(500),
            redial_max: Duration::from_secs(10),
        }
    }
}

impl Limits {
    /// How long a request of `kind` may take.
    #[must_use]
    pub const fn deadline(&self, kind: Kind) -> Duration {
        if kind.is_small() { self.small_deadline } else { self.bulk_deadline }
    }
}

/// A configuration that cannot work. The operator is at fault.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The chain id does not fit in a protocol's name.
    #[error("chain id {got:?}: allowed are 1 to {MAX_CHAIN_ID_BYTES} letters, digits, '-', '_' and '.'")]
    ChainId {
        /// The chain id.
        got: String,
    },
    /// A limit that has to be positive is zero.
    #[error("{limit} is 0, which would let nothing through")]
    Zero {
        /// Which one.
        limit: &'static str,
    },
    /// The pauses between attempts to dial are the wrong way round.
    #[error("redial_min {min:?} is longer than redial_max {max:?}")]
    Redial {
        /// First pause.
        min: Duration,
        /// Longest pause.
        max: Duration,
    },
}

impl Config {
    /// A client's configuration: no addresses, no peers, serves nothing, listens to no topic.
    #[must_use]
    pub fn new(chain_id: impl Into<String>, keypair: Keypair) -> Self {
        Self {
            chain_id: chain_id.into(),
            keypair,
            listen: Vec::new(),
            bootstrap: Vec::new(),
            serves: Vec::new(),
            topics: Vec::new(),
            limits: Limits::default(),
        }
    }

    /// Checks what the types do not.
    ///
    /// # Errors
    /// The first setting that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if self.chain_id.is_empty()
            || self.chain_id.len() > MAX_CHAIN_ID_BYTES
            || !self.chain_id.chars().all(allowed)
        {
            return Err(ConfigError::ChainId { got: self.chain_id.clone() });
        }
        let limits = &self.limits;
        for (limit, is_zero) in [
            ("small_deadline", limits.small_deadline.is_zero()),
            ("bulk_deadline", limits.bulk_deadline.is_zero()),
            ("inbound_requests", limits.inbound_requests == 0),
            ("inbound_requests_per_peer", limits.inbound_requests_per_peer == 0),
            ("outbound_requests", limits.outbound_requests == 0),
            ("peer_bytes_per_second", limits.peer_bytes_per_second == 0),
            ("peer_burst_bytes", limits.peer_burst_bytes == 0),
            ("gossip_queue", limits.gossip_queue == 0),
            ("gossip_mesh", limits.gossip_mesh == 0),
            ("command_queue", limits.command_queue == 0),
            ("redial_min", limits.redial_min.is_zero()),
        ] {
            if is_zero {
                return Err(ConfigError::Zero { limit });
            }
        }
        if limits.redial_min > limits.redial_max {
            return Err(ConfigError::Redial { min: limits.redial_min, max: limits.redial_max });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn validate_refuses_chain_ids_that_would_leave_their_protocol_name() {
        let config = |chain_id: &str| Config::new(chain_id, Keypair::generate_ed25519());
        assert_eq!(config("weft-1.test_net").validate(), Ok(()));
        for chain_id in ["", "a/b", "ä", &"x".repeat(51)] {
            assert!(matches!(config(chain_id).validate(), Err(ConfigError::ChainId { .. })));
        }
    }

    #[test]
    fn validate_refuses_limits_that_let_nothing_through() {
        let mut config = Config::new("c", Keypair::generate_ed25519());
        config.limits.gossip_queue = 0;
        assert_eq!(config.validate(), Err(ConfigError::Zero { limit: "gossip_queue" }));
    }
}
