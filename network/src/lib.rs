//! The libp2p swarm that spreads transactions, headers and cells between Weft's nodes.
//!
//! ```text
//!  caller ── Network ──commands──▶ Worker ── swarm ── TCP or QUIC ── peers
//!                 ◀──answers, gossip──┘ └──requests──▶ Provider
//! ```
//!
//! [`Network::start`] runs one swarm as an actor. Callers ask peers through [`Network::request`];
//! peers' requests go to the [`Provider`]; gossip arrives on a bounded channel and is forwarded
//! only once it was accepted. Everything that travels is opaque bytes here: what they mean, and
//! whether they are true, is decided by who receives them, and a peer that lied is handed to
//! [`Network::report`].
//!
//! # Format
//! One protocol a kind of request, `/weft/<chain id>/<name>/1`. A request and an answer are each
//! one frame: an unsigned varint length, then a protobuf message. Gossip topics are
//! `/weft/<chain id>/<name>/1` too; a message's id is a hash of its topic and bytes.
//!
//! # Invariants
//! * Every frame has a limit that is checked before anything is allocated for it.
//! * Every request has a deadline, on both sides.
//! * Every peer has a budget; above it, and above what the node can serve at once, it is told
//!   [`Refusal::Busy`].
//! * Nothing that a peer sends panics.

mod behaviour;
mod cells;
mod codec;
mod config;
mod fraud;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod gossip;
mod handle;
mod metrics;
mod peers;
mod redial;
mod request;
mod silence;
mod transport;
mod wire;
mod worker;

pub use cells::{CellsError, HeldCell, decode_cells, encode_cells};
pub use codec::FrameError;
pub use config::{Config, ConfigError, Limits};
pub use fraud::{
    FraudNotice, FraudPull, FraudScreen, NoticeError, PullError, Refused, Standing, fraud_proof_hash,
};
pub use gossip::{Gossip, MAX_GOSSIP_BYTES, PublishError, Topic};
pub use handle::{DialError, Ended, Network, RequestError, StartError};
pub use libp2p::{
    Multiaddr, PeerId,
    identity::{Keypair, PublicKey},
};
pub use metrics::{Metrics, Traffic};
pub use peers::{Offence, PeerInfo};
pub use request::{
    Answer, Kind, MAX_BODIES, MAX_BODIES_BYTES, MAX_BODY_CHUNK_BYTES, MAX_CELLS, MAX_FRAUD_CHUNK_BYTES,
    MAX_FRAUDS, MAX_HEADERS, MAX_RANGE_SHARES, MAX_STATE_KEY_BYTES, MAX_TRANSACTION_IDS, OutOfBounds,
    Provider, Refusal, Request, ServesNothing,
};
pub use wire::WireError;
