//! What rollups touch: the HTTP API over a node, its Rust client, and what the `blob` command is made of.
//!
//! ```text
//!  Client ── HTTP ──▶ serve ──▶ Backend (a node's pool, chain and storage)
//!    │                                 │
//!    └─ verifies headers and proofs ◀──┘ Data, Absent with a proof, or Unreachable
//! ```
//!
//! The server says nothing that the client has to believe: blobs and namespaces come with proofs, and [`Client`]
//! checks them down to a header that it verified from the checkpoint in `network.toml`. Prices and
//! transaction states are the node's word; balances and reservations have proofs of their own ([`Client::proven`]).

mod archive;
mod backend;
mod client;
mod gateway;
mod keys;
mod name;
mod quote;
mod rate;
mod server;
mod submit_error;
mod why;
mod wire;
mod wire_certificate;
mod wire_operator;
mod wire_rules;
mod wire_state;

pub use archive::{Archive, ArchiveError, ArchiveScope, ArchivedHeight};
pub use backend::{
    AccountState, Backend, BlobLocation, CertificateAnswer, FaucetError, Found, Info, MarketBlock,
    NamespaceAnswer, NodeStatus, PriceState, StateAnswer, TransactionBlobs, TxRecord,
};
pub use client::{
    Attempt, Client, ClientError, Exported, Lookup, NewBlob, Prepared, Progress, ProofKind, Receipt,
    RejectedNode, Reserve, SubmitOptions, VerifiedBlob, VerifiedCertificate, VerifiedEntryAt, VerifiedList,
    VerifiedPart, VerifiedState, read_network,
};
pub use gateway::{
    Gateway, GatewayConfig, Spending, SpendingCap, SpendingError, Token, TokenError, serve_door,
};
pub use keys::{KeySource, KeysError, create_keystore, random_key, read_keystore};
pub use name::{BlobName, BlobNameError};
pub use quote::{BlobShape, HORIZON_LIMIT, QuoteError, shares_of};
pub use rate::{Rate, RateError, SHARES_PER_MIB, per_mib};
pub use server::{Config, openapi, router, serve};
pub use submit_error::{SubmitError, check_submission};
pub use wire::{
    AbsenceBody, AccountBody, BlobBody, BlobShapeBody, BlockPriceBody, ConvertedBody, EntryBody, ErrorBody,
    ErrorCode, ErrorDetail, ForeignBody, Hex, NamespaceBody, PriceBody, PriceHistoryBody, ProofBody,
    QuoteBody, QuoteRequest, RangeBody, SharesBody, StatusBody, SubmittedBody, TxBlobsBody, TxBody,
    UploadBody,
};
pub use wire_certificate::{AttesterBody, AttestersBody, CertificateBody, EvmCertificateBody, HistoryBody};
pub use wire_operator::{AlarmBody, OperatorBody, PoolAccountBody, PoolBody};
pub use wire_rules::{RulesBody, UpgradeBody};
pub use wire_state::{ReservationBody, ReservationDetail, StateBody};

/// Media type of a submission.
pub const PROTOBUF: &str = "application/x-protobuf";
