//! Weft's headers, transactions, ledger, fees and block validity, as pure functions.
//!
//! ```text
//!  Submission ─ verify ─▶ VerifiedTransaction ┐
//!             ─ check  ─▶ CheckedBlob ────────┤
//!                                             ├─ propose ─▶ Candidate ─ validate ─▶ ValidBlock
//!  Ledger over a TreeReader ──────────────────┘                                     │
//!                                                      CommittedSquare, StateUpdate ┘
//!  LightBlock ─ VerifiedHeader::advance ─▶ VerifiedHeader
//!  FraudProof ─ ProvenFraud::verify ──────▶ ProvenFraud
//!  Attestation ─ verify, Tally ─▶ Certificate ─ verify ─▶ Certified
//! ```
//!
//! No clock, randomness or I/O: `now` is an argument, the state is read through [`jmt::storage::TreeReader`],
//! effects are returned as values. Nothing that comes from a peer, the disk or a user panics here.

mod accusation;
mod address;
mod attesters;
mod block;
mod bls;
mod body;
mod certificate;
mod codec;
mod eip712;
mod evidence;
pub mod fees;
mod fraud;
mod genesis;
mod header;
mod hex_text;
mod ledger;
mod light_block_json;
mod outcome;
mod proposal;
mod reservation;
mod select;
mod snapshot;
mod square_builder;
mod staking;
mod state;
mod state_key;
mod state_proof;
mod succession;
mod transaction;
mod tree_reader;
mod upgrade;

pub use accusation::Accusation;
pub use address::{Address, KeyError, SecretKey};
pub use attesters::{Attester, Attesters, Epoch};
pub use block::{
    Block, BlockError, Candidate, Draft, ValidBlock, draft, place, propose, validate, validate_decided,
};
pub use bls::{
    AttestationKey, AttestationSecret, AttestationSignature, BlsError, EVM_G1_BYTES, EVM_G2_BYTES,
};
pub use body::{BodyError, CheckedBlob};
pub use certificate::{
    Attestation, AttestationData, Certificate, CertificateError, Certified, HistoryProof, Tally,
    VerifiedAttestation, VerifiedHistory,
};
pub use codec::DecodeError;
pub use eip712::Domain;
pub use evidence::{Culprit, DoubleAttestation, Equivocation, Evidence, EvidenceError, SignedStep, Step};
pub use fraud::{ProvenFraud, ProvenFraudError};
pub use genesis::{
    Checkpoint, Genesis, GenesisAccount, GenesisError, GenesisValidator, NetworkConfig, Parameters,
};
pub use header::{CertifiedBlock, HeaderError, HeaderHint, LightBlock, TrustOptions, VerifiedHeader};
pub use hex_text::HexError;
pub use ledger::{Ledger, LedgerError, Receipt};
pub use outcome::{Outcome, Reason, TxStatus};
pub use proposal::Proposal;
pub use reservation::{
    BURST_BLOCKS, RESERVED_BLOCKS_LIMIT, Reservation, ReservationError, ReservationId, SIGNERS_LIMIT,
};
pub use select::{Selected, precedence, select};
pub use snapshot::{
    SNAPSHOT_MAGIC, SNAPSHOT_PART_BYTES, SnapshotError, SnapshotHead, StateChunk, StateChunks, StateRestore,
    VerifiedSnapshot,
};
pub use square_builder::SquareBuilder;
pub use staking::{
    KeysError, Member, Roster, StakingError, UNBONDINGS_LIMIT, Unbonding, Validator, ValidatorKeys,
};
pub use state::{MemoryState, State, StateError, StateStore, StateUpdate};
pub use state_key::{StateKey, StateKeyError};
pub use state_proof::{ProvenValue, StateProof, StateProofError, UnprovenValue};
pub use succession::{Parent, is_early, verify_last_commit};
pub use transaction::{
    Action, BlobHeader, KzgOpening, OTHER_HORIZON, Payload, SUBMIT_HORIZON, Submission, Transaction,
    TransactionError, TxId, VerifiedTransaction,
};
pub use upgrade::{
    RULES_VERSION, Signals, UPGRADE_HORIZON, UPGRADE_NOTICE_MIN, UnknownRules, Upgrade, UpgradeError,
};

/// A sum of money in nano: 10^9 nano are one WEFT. Sums are checked; nothing wraps.
pub type Amount = u64;

/// A block's height; the first block has height 1, genesis 0.
pub type Height = u64;

/// One WEFT in nano.
pub const NANO_PER_WEFT: Amount = 1_000_000_000;
