//! The three answers that a reader can get (design §10), and the states of a transaction.

use serde::{Deserialize, Serialize};

use crate::{Height, TxId};

/// What a read ends in: the data, a proof that there is none, or neither for now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<D, P> {
    /// The data.
    Data(D),
    /// Proven absent; this never changes.
    Absent(P),
    /// Not to be had here now; ask again or elsewhere.
    Unreachable(Reason),
}

/// Why a node has neither the data nor a proof that there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "reason", rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The chain, as far as this node knows, is not there yet.
    #[error("height {height} is beyond this node's latest block {tip}; retry when it is decided")]
    Behind {
        /// What was asked for.
        height: Height,
        /// What the node has.
        tip: Height,
    },
    /// Dropped after the retention window.
    #[error("height {height} is older than this node keeps; ask an archive")]
    Pruned {
        /// What was asked for.
        height: Height,
    },
    /// Decided, but the bytes have not arrived.
    #[error("the blob bytes of height {height} are still being fetched; retry")]
    Fetching {
        /// What was asked for.
        height: Height,
    },
    /// No certificate, or none yet; a later one of the same epoch covers the height as well.
    #[error(
        "no certificate of height {height} is here; the latest is of {latest}: retry, or ask for a later height of its \
         epoch with ?range={height}-{height}"
    )]
    Uncertified {
        /// What was asked for.
        height: Height,
        /// The latest height with a certificate here, 0 for none.
        latest: Height,
    },
    /// A commitment or transaction that this node knows nothing of, which proves nothing.
    #[error("no block up to height {tip} holds it as far as this node knows, which proves nothing")]
    Unknown {
        /// What the node has.
        tip: Height,
    },
    /// The node could not read its own storage.
    #[error("the node could not read its storage: {message}")]
    Storage {
        /// What failed.
        message: String,
    },
}

/// Where a transaction stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum TxStatus {
    /// Admitted, waiting for a block.
    Pooled,
    /// In a block that is being agreed on.
    Included {
        /// The block's height.
        height: Height,
    },
    /// In a decided block, for good.
    Final {
        /// The block's height.
        height: Height,
    },
    /// Its last height passed; nothing was charged.
    Expired,
    /// Left for another one with the same sender, salt and last height that offers more. At most one of the two is
    /// ever included, be it this one by a node that has not heard of the other.
    Replaced {
        /// The other one.
        by: TxId,
    },
    /// Left for want of room; another node may still include it. Nothing was charged so far.
    Evicted {
        /// Why.
        reason: String,
    },
    /// Dropped from the pool; nothing was charged.
    Rejected {
        /// Why.
        reason: String,
    },
}

impl TxStatus {
    /// Whether the status will not change any more.
    pub fn is_settled(&self) -> bool {
        matches!(self, Self::Final { .. } | Self::Expired | Self::Rejected { .. })
    }
}
