//! What an engine is started with.

use std::path::PathBuf;
use std::time::Duration;

use arc_malachitebft_app::config::{ConsensusConfig, ValueSyncConfig};
use arc_malachitebft_config::{GossipSubConfig, PubSubProtocol, ValuePayload};
use tendermint::chain;

use crate::engine::Error;
use crate::remote::RemoteSigner;

pub use arc_malachitebft_app::net::Multiaddr;

/// What a node needs to take part.
#[derive(Clone, Debug)]
pub struct Config {
    /// The chain; part of everything that is signed and of the protocol names.
    pub chain_id: chain::Id,
    /// A name for logs and metrics.
    pub moniker: String,
    /// Where the engine listens. Port 0 works; the actual one is in [`View::listening`](crate::View::listening).
    pub listen: Multiaddr,
    /// Other nodes, dialled again and again.
    pub persistent_peers: Vec<Multiaddr>,
    /// Directory for the engine's log and the record of what was signed; it is created.
    pub home: PathBuf,
    /// Seed of the ed25519 key that identifies this node to its peers.
    pub network_seed: [u8; 32],
    /// The key to vote with; `None` for a node that only follows.
    pub validator: Option<ValidatorKey>,
    /// How long the steps of a round may take.
    pub timeouts: Timeouts,
    /// How often peers are told how far this node is (default 1 s). Longer makes a node that fell
    /// behind notice later.
    pub status_interval: Duration,
    /// Connections that one IP address may have (default 64): a network on one machine needs one or
    /// two per node.
    pub max_connections_per_ip: usize,
}

/// Where the ed25519 key is that a validator votes with.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "a node has one")]
pub enum ValidatorKey {
    /// In this process: its seed.
    Seed([u8; 32]),
    /// In another.
    Remote(RemoteSigner),
}

impl std::fmt::Debug for ValidatorKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Seed(_) => f.write_str("Seed(..)"),
            Self::Remote(remote) => f.debug_tuple("Remote").field(remote).finish(),
        }
    }
}

impl Config {
    /// A node that follows and knows nobody yet.
    #[must_use]
    pub fn new(chain_id: chain::Id, home: PathBuf, listen: Multiaddr, network_seed: [u8; 32]) -> Self {
        Self {
            chain_id,
            moniker: "weft".into(),
            listen,
            persistent_peers: Vec::new(),
            home,
            network_seed,
            validator: None,
            timeouts: Timeouts::default(),
            status_interval: Duration::from_secs(1),
            max_connections_per_ip: 64,
        }
    }

    pub(crate) fn consensus(&self) -> Result<ConsensusConfig, Error> {
        // The engine panics on an address without a transport that it knows.
        let listen = self.listen.to_string();
        if !listen.contains("/tcp/") && !listen.contains("/quic-v1") {
            return Err(Error::Listen(listen));
        }
        let chain = &self.chain_id;
        let mut config =
            ConsensusConfig { value_payload: ValuePayload::ProposalAndParts, ..Default::default() };
        let p2p = &mut config.p2p;
        p2p.listen_addr = self.listen.clone();
        p2p.persistent_peers = self.persistent_peers.clone();
        p2p.protocol = PubSubProtocol::GossipSub(GossipSubConfig::default());
        p2p.discovery.max_connections_per_ip = self.max_connections_per_ip;
        // A restarted neighbour on the same address is welcome at once; the limit above remains.
        p2p.discovery.ip_throttle_duration = Duration::ZERO;
        let names = &mut p2p.channel_names;
        for name in [&mut names.consensus, &mut names.proposal_parts, &mut names.sync, &mut names.liveness] {
            *name = format!("/weft/{chain}{name}");
        }
        let names = &mut p2p.protocol_names;
        for name in [&mut names.consensus, &mut names.sync, &mut names.validator_proof] {
            *name = format!("/weft/{chain}{name}");
        }
        Ok(config)
    }

    pub(crate) fn value_sync(&self) -> ValueSyncConfig {
        ValueSyncConfig { status_update_interval: self.status_interval, ..Default::default() }
    }
}

/// How long each step of a round may take; what is too short costs rounds, never safety.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the start of a round to a complete and validated proposal of an empty block (default
    /// 2 s). A dead proposer costs this much, and what comes next.
    pub propose: Duration,
    /// What each MiB that the block may hold adds to that (default 200 ms): building, spreading and
    /// validating it. See [`Application::expected_bytes`](crate::Application::expected_bytes).
    pub propose_per_mib: Duration,
    /// From prevotes of two thirds for anything to a prevote quorum (default 700 ms).
    pub prevote: Duration,
    /// From precommits of two thirds for anything to a precommit quorum (default 700 ms).
    pub precommit: Duration,
    /// What each further round adds to each of the above (default 500 ms).
    pub delta: Duration,
    /// How long after a round's start votes are sent again, and again (default 3 s).
    pub rebroadcast: Duration,
    /// How long after a height's start precommits are still collected when it is decided earlier
    /// (default 400 ms). Must be well under the block interval: the next height starts later.
    pub finalize: Duration,
}

impl Timeouts {
    /// How long the proposal of a block of so many bytes may take in the first round.
    pub(crate) fn proposal_of(&self, bytes: u64) -> Duration {
        const MIB: f64 = (1u32 << 20) as f64;
        self.propose + self.propose_per_mib.mul_f64(bytes as f64 / MIB)
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            propose: Duration::from_secs(2),
            propose_per_mib: Duration::from_millis(200),
            prevote: Duration::from_millis(700),
            precommit: Duration::from_millis(700),
            delta: Duration::from_millis(500),
            rebroadcast: Duration::from_secs(3),
            finalize: Duration::from_millis(400),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_larger_block_has_more_time() {
        let timeouts = Timeouts::default();
        assert_eq!(timeouts.proposal_of(0), timeouts.propose);
        assert_eq!(timeouts.proposal_of(8 << 20), timeouts.propose + 8 * timeouts.propose_per_mib);
    }
}
