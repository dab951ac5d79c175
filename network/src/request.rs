//! What peers ask each other, and how an answer that is no answer looks.
//!
//! Bounds of the fields are checked on both sides: before a request is sent, and before it
//! reaches the [`Provider`].

use async_trait::async_trait;
use bytes::Bytes;
use libp2p::PeerId;
use thiserror::Error;

use crate::{cells::CELL_BYTES, fraud::FraudNotice};

/// Most shares that one [`Request::Range`] asks for: 4 MiB, the default limit of a blob.
pub const MAX_RANGE_SHARES: u32 = 8_192;
/// Most headers that one [`Request::Headers`] asks for.
pub const MAX_HEADERS: u32 = 64;
/// Most ids that one [`Request::Transaction`] asks for.
pub const MAX_TRANSACTION_IDS: usize = 256;
/// Most bytes that one [`Request::Body`] asks for.
pub const MAX_BODY_CHUNK_BYTES: u32 = 1 << 20;
/// Most bodies that one [`Request::Bodies`] asks for.
pub const MAX_BODIES: usize = 64;
/// Most bytes of all bodies that one [`Request::Bodies`] asks for.
pub const MAX_BODIES_BYTES: u64 = 1 << 20;
/// Most bytes that one [`Request::Fraud`] asks for.
pub const MAX_FRAUD_CHUNK_BYTES: u32 = 1 << 20;
/// Most announcements that answer [`Request::Frauds`].
pub const MAX_FRAUDS: usize = 16;
/// Most cells that answer [`Request::Cells`]: five times what certainty of 1 − 2⁻⁸⁰ takes.
pub const MAX_CELLS: usize = 1_024;
/// Most bytes of a [`Request::State`]'s key, as text.
pub const MAX_STATE_KEY_BYTES: usize = 128;
/// Last line of the widest extended square (k = 512).
pub(crate) const MAX_LINE: u64 = 1_023;

/// A question to a peer. What an answer's bytes hold is the caller's and the provider's business.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Request {
    /// One cell with its proof.
    Sample {
        /// Block.
        height: u64,
        /// Row in the extended square.
        row: u16,
        /// Column in the extended square.
        column: u16,
        /// Whose tree proves it: 0 the row's, 1 the column's.
        axis: u8,
    },
    /// One whole line of the extended square.
    Line {
        /// Block.
        height: u64,
        /// 0 a row, 1 a column.
        axis: u8,
        /// Which one.
        index: u16,
    },
    /// Shares of the original square, with their proof.
    Range {
        /// Block.
        height: u64,
        /// First share.
        start: u32,
        /// How many, 1 to [`MAX_RANGE_SHARES`].
        count: u32,
    },
    /// The list of a block's blobs.
    Index {
        /// Block.
        height: u64,
    },
    /// One header and what proves it.
    Header {
        /// Block; 0 is the latest.
        height: u64,
        /// Hash of a validator set that the asker has, and that the answer may leave out.
        known: Option<[u8; 32]>,
    },
    /// One header, without its commit, and the attesters' certificate for it.
    Certified {
        /// Block; 0 is the latest with a certificate.
        height: u64,
        /// Hash of a validator set that the asker has, and that the answer may leave out.
        known: Option<[u8; 32]>,
    },
    /// A value of the state that a header commits to, with its proof.
    State {
        /// The header's block: the state is the one before it.
        height: u64,
        /// The value's key, as text; 1 to [`MAX_STATE_KEY_BYTES`] bytes.
        key: String,
    },
    /// Consecutive headers.
    Headers {
        /// First block.
        from: u64,
        /// How many, 1 to [`MAX_HEADERS`]; fewer may be answered.
        count: u32,
    },
    /// Transactions without their bodies.
    Transaction {
        /// Ids, 1 to [`MAX_TRANSACTION_IDS`].
        ids: Vec<[u8; 32]>,
    },
    /// A chunk of a blob's bytes.
    Body {
        /// Blob commitment.
        commitment: [u8; 32],
        /// First byte.
        offset: u64,
        /// How many, 1 to [`MAX_BODY_CHUNK_BYTES`].
        len: u32,
    },
    /// Several small blobs' bytes, one after another: the asker knows their lengths, at most
    /// [`MAX_BODIES_BYTES`] together. Refused if one is missing.
    Bodies {
        /// Blob commitments, 1 to [`MAX_BODIES`].
        commitments: Vec<[u8; 32]>,
    },
    /// A chunk of a fraud proof; see [`FraudNotice`](crate::FraudNotice).
    Fraud {
        /// [`fraud_proof_hash`](crate::fraud_proof_hash).
        proof: [u8; 32],
        /// First byte.
        offset: u32,
        /// How many, 1 to [`MAX_FRAUD_CHUNK_BYTES`].
        len: u32,
    },
    /// The notices of all fraud proofs that the peer holds, latest first.
    Frauds,
    /// Which cells of a block the peer holds; see [`encode_cells`](crate::encode_cells).
    Cells {
        /// Block.
        height: u64,
    },
}

/// A request's kind: each has its own protocol, limits and deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[expect(missing_docs, reason = "named as the variants of Request")]
pub enum Kind {
    Sample,
    Line,
    Range,
    Index,
    Header,
    Certified,
    State,
    Headers,
    Transaction,
    Body,
    Bodies,
    Fraud,
    Frauds,
    Cells,
}

/// An answer that is no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
pub enum Refusal {
    /// The peer does not have it. Says nothing about whether it exists: ask another.
    #[error("the peer does not have it")]
    NotFound,
    /// The peer had it and no longer keeps it: ask an archive.
    #[error("the peer no longer keeps it")]
    Pruned,
    /// The peer serves too much already, or this node asked too much of it: retry later.
    #[error("the peer is busy")]
    Busy,
    /// The request, or its answer, is outside the protocol's bounds. The requester is at fault.
    #[error("the peer finds the request malformed")]
    Malformed,
}

/// What a [`Provider`] says: bytes, or why there are none.
pub type Answer = Result<Bytes, Refusal>;

/// Answers peers' requests.
///
/// `serve` runs on a task of its own, at most [`Limits::inbound_requests`] at once, and is dropped
/// at the request's deadline: it has to be cancel safe. Its requests have been checked against
/// [`Request::check`].
///
/// [`Limits::inbound_requests`]: crate::Limits::inbound_requests
#[async_trait]
pub trait Provider: Send + Sync + 'static {
    /// Answers `request` of `peer`.
    async fn serve(&self, peer: PeerId, request: Request) -> Answer;
}

/// The provider of a node that serves nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServesNothing;

#[async_trait]
impl Provider for ServesNothing {
    async fn serve(&self, _peer: PeerId, _request: Request) -> Answer {
        Err(Refusal::NotFound)
    }
}

/// A field of a request outside its bounds. The requester is at fault; no retry helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{field} is {got}, allowed is {min} to {max}")]
pub struct OutOfBounds {
    /// Which field.
    pub field: &'static str,
    /// Smallest allowed value.
    pub min: u64,
    /// Greatest allowed value.
    pub max: u64,
    /// The value.
    pub got: u64,
}

impl Request {
    /// The request's kind.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Sample { .. } => Kind::Sample,
            Self::Line { .. } => Kind::Line,
            Self::Range { .. } => Kind::Range,
            Self::Index { .. } => Kind::Index,
            Self::Header { .. } => Kind::Header,
            Self::Certified { .. } => Kind::Certified,
            Self::State { .. } => Kind::State,
            Self::Headers { .. } => Kind::Headers,
            Self::Transaction { .. } => Kind::Transaction,
            Self::Body { .. } => Kind::Body,
            Self::Bodies { .. } => Kind::Bodies,
            Self::Fraud { .. } => Kind::Fraud,
            Self::Frauds => Kind::Frauds,
            Self::Cells { .. } => Kind::Cells,
        }
    }

    /// Checks every field against its bounds.
    ///
    /// # Errors
    /// The first field outside its bounds.
    pub fn check(&self) -> Result<(), OutOfBounds> {
        match self {
            Self::Sample { row, column, axis, .. } => {
                within("row", 0, MAX_LINE, u64::from(*row))?;
                within("column", 0, MAX_LINE, u64::from(*column))?;
                within("axis", 0, 1, u64::from(*axis))
            }
            Self::Line { axis, index, .. } => {
                within("axis", 0, 1, u64::from(*axis))?;
                within("index", 0, MAX_LINE, u64::from(*index))
            }
            Self::Range { count, .. } => within("count", 1, u64::from(MAX_RANGE_SHARES), u64::from(*count)),
            Self::Index { .. }
            | Self::Header { .. }
            | Self::Certified { .. }
            | Self::Frauds
            | Self::Cells { .. } => Ok(()),
            Self::State { key, .. } => within("key", 1, MAX_STATE_KEY_BYTES as u64, key.len() as u64),
            Self::Headers { count, .. } => within("count", 1, u64::from(MAX_HEADERS), u64::from(*count)),
            Self::Transaction { ids } => within("ids", 1, MAX_TRANSACTION_IDS as u64, ids.len() as u64),
            Self::Body { len, .. } => within("len", 1, u64::from(MAX_BODY_CHUNK_BYTES), u64::from(*len)),
            Self::Bodies { commitments } => {
                within("commitments", 1, MAX_BODIES as u64, commitments.len() as u64)
            }
            Self::Fraud { len, .. } => within("len", 1, u64::from(MAX_FRAUD_CHUNK_BYTES), u64::from(*len)),
        }
    }
}

fn within(field: &'static str, min: u64, max: u64, got: u64) -> Result<(), OutOfBounds> {
    if (min..=max).contains(&got) { Ok(()) } else { Err(OutOfBounds { field, min, max, got }) }
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 14] = [
        Self::Sample,
        Self::Line,
        Self::Range,
        Self::Index,
        Self::Header,
        Self::Certified,
        Self::State,
        Self::Headers,
        Self::Transaction,
        Self::Body,
        Self::Bodies,
        Self::Fraud,
        Self::Frauds,
        Self::Cells,
    ];

    /// The name in the protocol's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sample => "sample",
            Self::Line => "line",
            Self::Range => "range",
            Self::Index => "index",
            Self::Header => "header",
            Self::Certified => "certified",
            Self::State => "state",
            Self::Headers => "headers",
            Self::Transaction => "transaction",
            Self::Body => "body",
            Self::Bodies => "bodies",
            Self::Fraud => "fraud",
            Self::Frauds => "frauds",
            Self::Cells => "cells",
        }
    }

    /// Most bytes of a request's frame, without its length.
    #[must_use]
    pub const fn max_request_bytes(self) -> usize {
        match self {
            Self::Transaction => MAX_TRANSACTION_IDS * 32 + 8,
            Self::Bodies => MAX_BODIES * 32 + 8,
            Self::State => MAX_STATE_KEY_BYTES + 16,
            _ => 64,
        }
    }

    /// Most bytes of an answer.
    ///
    /// A sample at k = 512 is 1.2 KiB, a line's cells are 512 KiB there, a range's proof grows
    /// with its rows, an index entry is about 100 bytes, a header comes with up to a few hundred
    /// validators' signatures, and a state's largest value that peers ask for are a thousand attesters.
    #[must_use]
    pub const fn max_answer_bytes(self) -> usize {
        match self {
            Self::Sample => 4 << 10,
            Self::Line => 1 << 20,
            Self::Range => (MAX_RANGE_SHARES as usize * 512) + (1 << 20),
            Self::Index => 8 << 20,
            Self::Header | Self::Certified => 256 << 10,
            Self::State => 1 << 20,
            Self::Headers => 4 << 20,
            Self::Transaction => 2 << 20,
            Self::Body => MAX_BODY_CHUNK_BYTES as usize + 64,
            Self::Bodies => MAX_BODIES_BYTES as usize + 64,
            Self::Fraud => MAX_FRAUD_CHUNK_BYTES as usize + 64,
            Self::Frauds => MAX_FRAUDS * FraudNotice::BYTES,
            Self::Cells => MAX_CELLS * CELL_BYTES,
        }
    }

    /// Whether answers are small enough for the short deadline.
    pub(crate) const fn is_small(self) -> bool {
        matches!(
            self,
            Self::Sample
                | Self::Header
                | Self::Certified
                | Self::State
                | Self::Transaction
                | Self::Frauds
                | Self::Cells
        )
    }

    /// The name of the kind's protocol on a chain.
    pub(crate) fn protocol_name(self, chain_id: &str) -> String {
        format!("/weft/{chain_id}/{}/1", self.name())
    }
}
