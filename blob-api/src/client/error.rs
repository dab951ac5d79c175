//! What can go wrong for a client, and who is to blame.

use chain::{TransactionError, TxId, TxStatus, UnknownRules};
use serde::Serialize;

use crate::ErrorDetail;

/// What a node was caught with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ProofKind {
    /// A header that does not follow from the checkpoint.
    Header,
    /// An index entry that is not under the header's data root.
    Entry,
    /// A namespace proof that does not show all entries, or none, of the namespace.
    Namespace,
    /// Bytes that are not those of the commitment.
    Commitment,
    /// A value of the state that is not under the header's `app_hash`.
    State,
    /// A certificate that its attesters did not sign, or of another header.
    Certificate,
    /// Shares that are not those at their place.
    Range,
    /// A block said to hold a transaction that it does not hold.
    Inclusion,
}

impl std::fmt::Display for ProofKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Entry => "index entry",
            Self::Namespace => "namespace completeness",
            Self::Commitment => "blob commitment",
            Self::State => "state",
            Self::Certificate => "certificate",
            Self::Range => "share range",
            Self::Inclusion => "inclusion",
        })
    }
}

/// A node that gave no answer, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Attempt {
    /// The node.
    pub url: String,
    /// What it said, or why it said nothing.
    pub reason: String,
}

/// A node caught with a false proof; the client asks it nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RejectedNode {
    /// The node.
    pub url: String,
    /// What failed.
    pub proof: ProofKind,
    /// How it failed.
    pub reason: String,
}

impl std::fmt::Display for RejectedNode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} served a false {} proof: {}", self.url, self.proof, self.reason)
    }
}

/// Why a client's call failed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// No URL was given.
    #[error("no node to ask: give --node URL, set WEFT_NODE, or name one under `api` in network.toml")]
    NoNode,
    /// A URL that cannot be asked.
    #[error("node URL '{url}': {reason}; write it as http://host:port")]
    Url {
        /// As given.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing to verify against.
    #[error(
        "no network.toml: give --network FILE or set WEFT_NETWORK; without its checkpoint nothing can be verified"
    )]
    NoNetwork,
    /// A network.toml that cannot be used.
    #[error("network file {path}: {reason}")]
    NetworkFile {
        /// The file.
        path: String,
        /// What is wrong.
        reason: String,
    },
    /// The checkpoint is older than the trusting period: whoever signed since may not be bonded any more.
    #[error(
        "the checkpoint of network.toml is too old to start from: {0}; get a recent network.toml from a source you trust"
    )]
    StaleCheckpoint(String),
    /// The chain has moved on to rules that this program does not know.
    #[error(transparent)]
    UnknownRules(UnknownRules),
    /// No node answered. Retry.
    #[error("no node could answer: {}", list(.attempts))]
    Unreachable {
        /// Every node asked.
        attempts: Vec<Attempt>,
    },
    /// A node's proof is false, and no other node answered.
    #[error("{0}; no other node could answer")]
    LyingNode(RejectedNode),
    /// A node refused the request; other nodes would as well.
    #[error("{url}: {}", .detail.message)]
    Refused {
        /// The node.
        url: String,
        /// Its error.
        detail: Box<ErrorDetail>,
    },
    /// A blob cannot be submitted as it is.
    #[error("blobs[{blob}].{field}: {reason}")]
    Blob {
        /// Which blob.
        blob: usize,
        /// Which of its fields.
        field: &'static str,
        /// What is wrong and what is allowed.
        reason: String,
    },
    /// The transaction would be refused by every node.
    #[error(transparent)]
    Transaction(#[from] TransactionError),
    /// A transaction ended outside any block; it cost nothing.
    #[error("transaction {id} {}", ended(.status))]
    NotIncluded {
        /// The transaction.
        id: TxId,
        /// Expired or rejected.
        status: TxStatus,
    },
    /// This machine failed.
    #[error("{0}")]
    Local(String),
}

fn list(attempts: &[Attempt]) -> String {
    attempts.iter().map(|a| format!("{} ({})", a.url, a.reason)).collect::<Vec<_>>().join(", ")
}

fn ended(status: &TxStatus) -> String {
    match status {
        TxStatus::Expired => {
            "expired before any block took it; nothing was charged: submit again, with a higher cap".into()
        }
        TxStatus::Replaced { by } => format!("was replaced by {by}"),
        TxStatus::Rejected { reason } => format!("was rejected, nothing was charged: {reason}"),
        other => format!("is {other:?}"),
    }
}

/// How one node failed at one question.
#[derive(Debug)]
pub(super) enum Fault {
    /// It may work elsewhere, or later.
    Passing(String),
    /// The node answered with an error.
    Answer(Box<ErrorDetail>),
    /// A proof is false.
    Lied(ProofKind, String),
    /// Asking elsewhere does not help.
    Final(ClientError),
}

/// A failed check, as the fault of the node that served it.
pub(super) fn lied<E: ToString>(proof: ProofKind) -> impl FnOnce(E) -> Fault {
    move |error| Fault::Lied(proof, error.to_string())
}
