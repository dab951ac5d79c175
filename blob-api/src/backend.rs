//! What a node offers to the API.

use std::{convert::Infallible, ops::Range, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use chain::{
    Address, Amount, Attesters, BlobHeader, Certificate, Height, LightBlock, Outcome, Parameters, StateKey,
    StateProof, Submission, Transaction, TxId, TxStatus, Upgrade,
};
use erasure::{EntryProof, IndexEntry, Namespace, NamespaceProof, RangeProof};
use tendermint::Time;
use tokio::sync::watch;

use crate::{BlobName, OperatorBody, SubmitError};

/// An outcome that is never Absent, because nothing could prove it: a commitment alone names no height, and a
/// header that is not there yet may come.
pub type Found<D> = Outcome<D, Infallible>;

/// What never changes while a node runs.
#[derive(Clone, Debug)]
pub struct Info {
    /// The chain's name.
    pub chain_id: String,
    /// Hash of its genesis.
    pub genesis_hash: [u8; 32],
    /// Its limits.
    pub parameters: Parameters,
}

/// Where a node stands.
#[derive(Clone, Debug)]
pub struct NodeStatus {
    /// The latest decided height, 0 before the first.
    pub height: Height,
    /// That block's time.
    pub block_time: Option<Time>,
    /// Whether peers are known to be ahead.
    pub syncing: bool,
    /// Peers connected.
    pub peers: usize,
    /// The last upgrade of the rules that was agreed on.
    pub upgrade: Upgrade,
    /// The newest version of the rules that the node knows.
    pub newest_rules: u64,
}

/// The fee market after the latest block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PriceState {
    /// The latest decided height.
    pub height: Height,
    /// The excess that prices the next block.
    pub excess: u64,
    /// The last few blocks, oldest first.
    pub recent: Vec<MarketBlock>,
}

impl PriceState {
    /// Shares that the last few blocks counted on average, rounded up.
    pub fn mean_used(&self) -> u64 {
        let used: u64 = self.recent.iter().map(|block| block.used).sum();
        used.div_ceil((self.recent.len() as u64).max(1))
    }
}

/// What a block charged, and what it held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarketBlock {
    /// The block.
    pub height: Height,
    /// Its time.
    pub time: Time,
    /// The excess before it: its base fee follows from that.
    pub excess: u64,
    /// Shares counted.
    pub used: u64,
    /// Transactions.
    pub transactions: u32,
    /// Bytes of blobs.
    pub blob_bytes: u64,
}

/// An account after the latest block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountState {
    /// What it owns, in nano.
    pub balance: Amount,
    /// The most that its pooled transactions may be charged, in nano.
    pub pending: Amount,
}

/// A value of the state, or that there is none, for a client to verify.
#[derive(Clone, Debug, PartialEq)]
pub struct StateAnswer {
    /// The header whose `app_hash` the proof leads to: the state is the one before that block.
    pub height: Height,
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// That this is it.
    pub proof: StateProof,
}

/// A certificate, and those who made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateAnswer {
    /// The certificate.
    pub certificate: Certificate,
    /// The attesters of its epoch.
    pub attesters: Attesters,
}

/// What a node knows of one transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxRecord {
    /// Where it stands.
    pub status: TxStatus,
    /// Who signed it.
    pub sender: Address,
    /// Last height at which it may be included.
    pub valid_until: Height,
    /// Whether a reservation pays.
    pub reserved: bool,
    /// The most that is paid per share, in nano.
    pub fee_cap: u64,
    /// Offered to the proposer per share, in nano.
    pub tip: u64,
    /// Shares counted.
    pub shares: u64,
    /// What was charged, in nano; known once included.
    pub charged: Option<Amount>,
    /// The blobs, in the submitter's order.
    pub blobs: Vec<BlobHeader>,
    /// Until when nodes keep the blobs at least; known once included.
    pub available_until: Option<Time>,
}

/// A blob found by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobLocation {
    /// The block.
    pub height: Height,
    /// Its index entry, with the proof.
    pub proof: EntryProof,
}

/// A transaction in a block, with the places of its blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransactionBlobs {
    /// The block.
    pub height: Height,
    /// The transaction, which announces the blobs.
    pub transaction: Transaction,
    /// Each blob's index entry with its proof, in the submitter's order.
    pub proofs: Vec<EntryProof>,
}

/// All of a namespace in a block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamespaceAnswer {
    /// Its entries, in the order of the index; at least one.
    pub entries: Vec<IndexEntry>,
    /// That these are all.
    pub proof: NamespaceProof,
}

/// Why the faucet gave nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FaucetError {
    /// Only development networks have one.
    #[error("this network has no faucet; have an account that owns WEFT send some")]
    Disabled,
    /// Asked too often.
    #[error("the faucet gave to this account already; ask again in {} s", retry_after.as_secs())]
    TooSoon {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The faucet's own transfer was refused.
    #[error("the faucet could not send: {0}")]
    Refused(SubmitError),
}

impl From<SubmitError> for FaucetError {
    fn from(error: SubmitError) -> Self {
        Self::Refused(error)
    }
}

/// A node as the API sees it. Object safe, shared by all requests; every method may be called at any time, and may
/// be dropped before it returns without effect on the node, except that a submission may have been admitted.
#[async_trait]
pub trait Backend: Send + Sync + 'static {
    /// Chain id, genesis hash and parameters.
    fn info(&self) -> &Info;

    /// A counter that moves whenever some transaction's status may have: on admission, on a block, on expiry.
    fn changes(&self) -> watch::Receiver<u64>;

    /// Where the node stands.
    async fn status(&self) -> NodeStatus;

    /// The fee market. Asked often: it must be at hand.
    async fn price(&self) -> PriceState;

    /// At most `count` blocks' prices up to height `to`, or up to the latest, oldest first. Those that the node has not
    /// kept are left out.
    async fn market(&self, to: Option<Height>, count: u32) -> Vec<MarketBlock>;

    /// An account; one never seen owns nothing.
    async fn account(&self, address: Address) -> AccountState;

    /// Admits a submission to the pool, or leaves no trace of it. [`crate::check_submission`] does the part that
    /// needs no state.
    async fn submit(&self, submission: Submission) -> Result<TxId, SubmitError>;

    /// A value of the latest state that a header commits to.
    async fn state(&self, key: StateKey) -> Found<StateAnswer>;

    /// A transaction in the pool, in a block or lately dropped.
    async fn transaction(&self, id: TxId) -> Option<TxRecord>;

    /// The header at `height`, or the latest, with its commit and validators.
    async fn light_block(&self, height: Option<Height>) -> Found<LightBlock>;

    /// The certificate at `height`, or the latest, and its attesters.
    async fn certificate(&self, height: Option<Height>) -> Found<CertificateAnswer>;

    /// The attesters that certificates of this chain name by this hash.
    async fn attesters(&self, hash: [u8; 32]) -> Found<Attesters>;

    /// The data roots of these heights, from the first on as many as there are blocks.
    async fn data_roots(&self, heights: Range<Height>) -> Found<Vec<[u8; 32]>>;

    /// The earliest blob of this name that the node knows; one whose bytes it keeps, if there is one.
    async fn find(&self, name: &BlobName) -> Found<BlobLocation>;

    /// Bytes of a blob that has this entry in the index at `height`; `range` is within its length.
    async fn bytes(&self, height: Height, entry: &IndexEntry, range: Range<u64>) -> Found<Bytes>;

    /// Shares of the square at `height` with their proof. Data of `None` where the range leaves the square.
    async fn shares(&self, height: Height, range: Range<u32>) -> Found<Option<RangeProof>>;

    /// The blobs of a transaction that is in a block.
    async fn transaction_blobs(&self, id: TxId) -> Found<TransactionBlobs>;

    /// All entries of a namespace at a height: Data where there is at least one, Absent where the proof shows none.
    async fn namespace(
        &self,
        height: Height,
        namespace: Namespace,
    ) -> Outcome<NamespaceAnswer, NamespaceProof>;

    /// What the node's operator may know.
    async fn operator(&self) -> OperatorBody {
        OperatorBody::default()
    }

    /// Sends some WEFT to an account, on development networks.
    async fn faucet(&self, _address: Address) -> Result<TxId, FaucetError> {
        Err(FaucetError::Disabled)
    }
}
