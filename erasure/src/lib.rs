//! Blobs as two-dimensional Reed-Solomon squares: commitments, proofs and repair, without I/O.
//!
//! ```text
//! blobs ──Index::place──▶ Placement ──OriginalSquare::build──▶ k² shares ──commit──▶ CommittedSquare
//!                                                                                     │ data root
//!        Sample · Line · RangeProof · EntryProof · NamespaceProof · ForeignProof ◀────┘
//!                  │ verify(data root)
//!                  ▼
//!        Verified… ──Repair──▶ RepairedSquare ──commit(index)──▶ CommittedSquare
//! ```
//!
//! Everything is a pure function of its arguments. A `Verified…` value holds the data root it was
//! checked against and comes from a `verify` method only. Every decoder is canonical (one value, one
//! encoding), bounded by the length of its input, and never panics.

mod code;
mod commitment;
mod committer;
mod entry;
pub mod foreign;
mod fraud;
mod geometry;
mod index;
mod keccak_tree;
mod layout;
mod many;
mod namespace;
mod proof;
mod repair;
mod simd;
mod square;
mod tree;
mod wire;

pub use commitment::{DataRootParts, Digest, blob_commitment};
pub use committer::Committer;
pub use entry::{BlobMeta, IndexEntry};
pub use foreign::{
    ForeignCommitment, ForeignError, ForeignKind, anytrust_hash, celestia_commitment, keccak256, sha256,
};
pub use fraud::{
    BadEncoding, BadPadding, FalseForeign, FraudError, FraudKind, FraudProof, FraudRules, KzgOpening,
    MisplacedBlob, SplitCell, VerifiedFraud, WrongIndex,
};
pub use geometry::{Axis, Cell, Coordinates, SHARE_BYTES, Width, WidthError, shares_for};
pub use index::{Index, Placement, VerifiedIndex};
pub use keccak_tree::{KeccakFrontier, KeccakTree, keccak_root_of_range};
pub use layout::{
    LayoutError, MAX_TRANSACTION_BLOB_BYTES, OriginalSquare, transaction_blob, transaction_list,
};
pub use namespace::{Namespace, NamespaceError};
pub use proof::{
    EntryProof, ForeignProof, Line, LineSamples, NamespaceProof, ProofError, RangeProof, Sample,
    VerifiedEntry, VerifiedLine, VerifiedLineSamples, VerifiedNamespace, VerifiedRange, VerifiedSample,
};
pub use repair::{Inconsistency, LineRoot, Repair, RepairError, RepairedSquare, Unlock};
pub use square::CommittedSquare;
pub use wire::DecodeError;
