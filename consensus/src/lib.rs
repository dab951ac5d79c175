//! Malachite BFT consensus over Weft's blocks, leaving Tendermint commits behind.
//!
//! ```text
//!                     Host, Ear                     Application
//!   Malachite's  ──── questions, hints ──▶ Worker ── propose, assess, commit … ──▶  chain's rules
//!   actors       ◀─── values, starts ─────        ◀── payloads, verdicts ─────────  and storage
//!     │ votes, proposals, parts, sync
//!     ▼
//!   gossip and request-response over libp2p
//! ```
//!
//! [`start`] runs an engine over an [`Application`], which knows the rules and keeps the blocks. The
//! engine agrees on a [`BlockRef`]; the [`Payload`] it stands for is small (a header, transaction
//! ids, the last commit) and travels in one message. Formats: votes and proposals sign
//! Tendermint's canonical bytes for the block id made of the header hash and a part set that follows
//! from it, with the header's time as timestamp, so that each commit, together with its header, is a
//! `SignedHeader` that a stock light client verifies.
//!
//! What holds:
//! * Nothing is voted for that the application has not judged valid, or that is not on disk.
//! * No two different votes or proposals of one height, round and kind are ever signed, even when
//!   the engine's log is lost: the record of signatures outlives it.
//! * `commit` is called once per height, in order; a peer hears of a height only after its commit.
//! * Bytes of peers are decoded within limits and without a panic; a proposal is looked at only if
//!   its round's proposer signed its header, and its body is the one that the header commits to.
//! * The validator's key may be in another process ([`RemoteSigner`]): it signs votes and proposals
//!   and nothing else.
//!
//! An [`Error`] of the application or of the disk ends the engine; peers and signers cannot.

mod actors;
mod app;
mod block_ref;
mod codec;
mod commit;
mod config;
mod context;
mod engine;
mod equivocation;
#[cfg(any(test, fuzzing))]
#[doc(hidden)]
pub mod fuzz;
mod guard;
mod pool;
mod remote;
mod signer;
mod signing;
#[cfg(any(test, fuzzing))]
mod test_blocks;
mod validators;
mod wire;
mod worker;

pub use app::{
    AppError, Application, DecidedValue, MAX_PAYLOAD_BYTES, MAX_VALUE_BYTES, NextHeight, Payload, SyncFault,
    Verdict,
};
pub use block_ref::BlockRef;
pub use config::{Config, Multiaddr, Timeouts, ValidatorKey};
pub use engine::{Error, Handle, View, metrics, peer_id, start};
pub use equivocation::{Equivocation, Signed, SignedMessage};
pub use guard::{Guard, GuardError, Step};
pub use remote::{AddressError, RemoteSigner, SignerAddress, SignerConfig, SignerError};
pub use validators::ValidatorSetError;
pub use wire::DecodeError;
