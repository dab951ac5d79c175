//! The seam between agreement and what is agreed on.
//!
//! Consensus knows a block as a Tendermint header and an opaque body. Everything else, what a valid
//! block is, where blocks are kept, when there is something to propose, is asked of an
//! [`Application`]. Calls run in tasks of their own, never on an engine actor, so a slow answer
//! delays nothing but itself.

use async_trait::async_trait;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use tendermint::account;
use tendermint::block::{Commit, Header, Height};
use tendermint::validator;
use tendermint_proto::Protobuf;
use tendermint_proto::v0_38::types::Header as RawHeader;
use tokio::time::Instant;

use crate::equivocation::Equivocation;
use crate::wire::DecodeError;

/// Largest encoded [`Payload`], in bytes: 4,096 transaction ids of 32 bytes, a header and the
/// commits of a thousand validators fit four times over.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// Largest value that [`Application::decided`] may hand out for sync, in bytes. The engine sends
/// responses of at most 10 MiB and a value that does not fit can never be synced.
pub const MAX_VALUE_BYTES: usize = 8 << 20;

/// What went wrong inside the application.
pub type AppError = Box<dyn std::error::Error + Send + Sync>;

/// What validators agree on: a header, and whatever the application needs beside it to judge it.
///
/// Validators sign the header's hash, and `body` is bound to the block only through the header, so the
/// header must commit to every byte of it: [`Application::check_body`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// The block's Tendermint header.
    pub header: Header,
    /// Bytes that only the application reads (for instance transaction ids and the last commit).
    pub body: Bytes,
}

impl Payload {
    /// `header length: u32 BE ‖ header protobuf ‖ body`.
    #[must_use]
    pub fn encode(&self) -> Bytes {
        let header = Protobuf::<RawHeader>::encode_vec(self.header.clone());
        let mut out = BytesMut::with_capacity(4 + header.len() + self.body.len());
        out.put_u32(header.len() as u32);
        out.put_slice(&header);
        out.put_slice(&self.body);
        out.freeze()
    }

    /// Reads what [`encode`](Self::encode) wrote.
    ///
    /// # Errors
    /// More than [`MAX_PAYLOAD_BYTES`], truncated, or not a valid header.
    pub fn decode(mut bytes: Bytes) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_PAYLOAD_BYTES {
            return Err(DecodeError::TooLong { limit: MAX_PAYLOAD_BYTES, got: bytes.len() });
        }
        if bytes.len() < 4 {
            return Err(DecodeError::Truncated { needed: 4, left: bytes.len() });
        }
        let needed = bytes.get_u32() as usize;
        if bytes.len() < needed {
            return Err(DecodeError::Truncated { needed, left: bytes.len() });
        }
        let header = bytes.split_to(needed);
        let header =
            <Header as Protobuf<RawHeader>>::decode(header).map_err(|_| DecodeError::Invalid("header"))?;
        Ok(Self { header, body: bytes })
    }
}

/// The height to decide next, and who decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextHeight {
    /// One more than the last committed height.
    pub height: Height,
    /// The validators of `height`, ed25519 keys only, not empty.
    pub validators: validator::Set,
}

/// The application's judgement of a proposal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Everything is in hand and every rule is kept.
    Valid,
    /// A rule is broken, for this reason. Every honest node must come to the same judgement.
    Invalid(String),
    /// Something is missing. The node prevotes nil when time is up; call
    /// [`Handle::completed`](crate::Handle::completed) once it has arrived.
    NotYet,
}

/// Why a value received through sync was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SyncFault {
    /// The value cannot be what the certificate is for: the peer lied. It is asked no more.
    #[error("the peer sent a wrong value: {0}")]
    Peer(String),
    /// This node could not process it now: it is requested again.
    #[error("the value could not be processed: {0}")]
    Local(String),
}

/// A decided block, as a node that missed it needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecidedValue {
    /// What [`Application::synced`] of the other node decodes; at most [`MAX_VALUE_BYTES`].
    pub value_bytes: Bytes,
    /// The commit that [`Application::commit`] received (or [`Application::finalized`], if later).
    pub commit: Commit,
}

/// A chain's rules and storage, as consensus sees them.
#[async_trait]
pub trait Application: Send + Sync + 'static {
    /// The height after the last durably committed one. Called once, at start.
    async fn next_height(&self) -> Result<NextHeight, AppError>;

    /// Resolves when `height` should start: there is work and the block interval has passed, or the
    /// idle limit is reached. It must resolve without being called again and without being polled
    /// in a loop. Dropped unresolved when consensus learns that others have started the height, so
    /// it must be cancel-safe.
    async fn ready_to_start(&self, height: Height);

    /// Bytes that the next block may hold, as far as this node can tell when its height starts: its
    /// proposer is given more time for more. Fast.
    fn expected_bytes(&self) -> u64 {
        0
    }

    /// Builds a block. Called only when this node proposes at (`height`, `round`), and once for it:
    /// the result is stored through [`store_undecided`](Self::store_undecided) before it is
    /// published, and reused after a restart. An answer after `deadline` is useless; an error
    /// forfeits the round. A validator that hurries can make this come before
    /// [`ready_to_start`](Self::ready_to_start) resolves: if the block interval has to hold against
    /// it, wait here for what is left of it.
    async fn propose(&self, height: Height, round: u32, deadline: Instant) -> Result<Payload, AppError>;

    /// The body is the one that the header commits to. Anybody may have sent the two together, so a
    /// payload that fails is forgotten, and says nothing about the block. Fast, and a function of
    /// the payload alone: it runs between the engine's questions.
    fn check_body(&self, payload: &Payload) -> Result<(), AppError>;

    /// Judges a proposal whose parent is the last committed block; may be slow. `proposer` signed
    /// its header and was the proposer of its round; the header is of this chain and `height`, and
    /// the body is its own. `Valid` means
    /// that what [`commit`](Self::commit) needs beside the payload is at hand. A time too far ahead
    /// of this node's clock is [`Verdict::NotYet`]: clocks differ, and what others agree on in a
    /// later round must then be acceptable here.
    async fn assess(&self, height: Height, proposer: account::Id, payload: &Payload) -> Verdict;

    /// Keeps bytes that may become a decided block. They must be on disk on return, because the
    /// engine's log holds only block ids. They may be dropped once `height` is committed.
    async fn store_undecided(&self, height: Height, bytes: Bytes) -> Result<(), AppError>;

    /// Everything stored by [`store_undecided`](Self::store_undecided) for `height`.
    async fn undecided(&self, height: Height) -> Result<Vec<Bytes>, AppError>;

    /// Commits a decided block. On return it is durable and [`decided`](Self::decided) serves it.
    /// Called once per height, in order. An error stops the engine.
    async fn commit(&self, height: Height, payload: &Payload, commit: Commit)
    -> Result<NextHeight, AppError>;

    /// More validators signed after the decision: `commit` replaces the one given to
    /// [`commit`](Self::commit). Ignoring it is correct.
    async fn finalized(&self, _height: Height, _commit: Commit) -> Result<(), AppError> {
        Ok(())
    }

    /// Validators contradicted themselves at a height that is over. Told before the next height starts, and not again:
    /// on return it is durable.
    async fn equivocated(&self, _found: Vec<Equivocation>) -> Result<(), AppError> {
        Ok(())
    }

    /// A committed block for a peer that missed it, or `None` if it is not kept.
    async fn decided(&self, height: Height) -> Result<Option<DecidedValue>, AppError>;

    /// The lowest height that [`decided`](Self::decided) can serve.
    async fn min_height(&self) -> Height;

    /// Decodes and checks another node's [`DecidedValue::value_bytes`]; more than two thirds of the
    /// validators have verifiably committed to the header it must carry. On success what
    /// [`commit`](Self::commit) needs beside the payload is durable. Bodies are not waited for.
    async fn synced(&self, height: Height, value_bytes: Bytes) -> Result<Payload, SyncFault>;
}
