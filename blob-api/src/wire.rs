//! The JSON bodies of the HTTP API, shared by server and client.
//!
//! Bytes are lower-case hexadecimal; addresses start with `0x`, nothing else does. Amounts are in nano
//! (10^9 nano are one WEFT), prices in nano per share, lengths in bytes, times RFC 3339.

use chain::{Address, Amount, BlobHeader, Height, Parameters, TxId, TxStatus};
use erasure::{EntryProof, ForeignCommitment, ForeignKind, IndexEntry, Namespace, NamespaceProof};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tendermint::Time;
use utoipa::ToSchema;

use crate::{BlobShape, Rate, RulesBody, TxRecord, why::why};

/// The one shape of every error.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorBody {
    /// The error.
    pub error: ErrorDetail,
}

/// What was wrong, what was allowed, and what to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ErrorDetail {
    /// What kind of error, for programs.
    pub code: ErrorCode,
    /// The error in words.
    pub message: String,
    /// The parameter or field that is wrong.
    pub field: Option<String>,
    /// What is allowed.
    pub limit: Option<Value>,
    /// What was got.
    pub got: Option<Value>,
    /// With `absent`: the proof.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<AbsenceBody>,
}

/// Kinds of errors, one to one with what a program can do about them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ErrorCode {
    /// 400: a parameter or field is wrong.
    Invalid,
    /// 401: an operator's endpoint, without its token.
    Unauthorized,
    /// 402: the account does not cover the charge.
    Underfunded,
    /// 403: this network has no faucet.
    FaucetDisabled,
    /// 404: proven absent; `proof` says so.
    Absent,
    /// 404: this node has not heard of the transaction, which proves nothing.
    UnknownTransaction,
    /// 404: no such path.
    NoSuchPath,
    /// 405: the path knows another method.
    MethodNotAllowed,
    /// 408: the request's body took too long.
    TooSlow,
    /// 409: the transaction is known already.
    Duplicate,
    /// 409: a piece of an upload does not follow the last one; `limit` is where to continue.
    WrongOffset,
    /// 413: the body is longer than any submission.
    TooLarge,
    /// 415: a submission is `application/x-protobuf`.
    UnsupportedMediaType,
    /// 429: asked too often; see Retry-After.
    TooManyRequests,
    /// 503: the pool is full, or the account has its part of it; see Retry-After.
    PoolFull,
    /// 503: neither the data nor a proof of absence is here now; see Retry-After, or ask another node.
    Unreachable,
    /// A code that this client does not know.
    #[serde(other)]
    Other,
}

/// That a namespace has no entry at a height.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AbsenceBody {
    /// The block.
    pub height: Height,
    /// Canonical bytes of the namespace proof.
    #[schema(value_type = String)]
    pub proof: Hex,
}

/// `GET /v1/status`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct StatusBody {
    /// The chain's name.
    pub chain_id: String,
    /// Hash of its genesis.
    #[serde(with = "hex::serde")]
    #[schema(value_type = String)]
    pub genesis_hash: [u8; 32],
    /// Latest decided height.
    pub height: Height,
    /// That block's time.
    #[schema(value_type = Option<String>)]
    pub block_time: Option<Time>,
    /// Whether the node is catching up.
    pub syncing: bool,
    /// Connected peers.
    pub peers: usize,
    /// Bytes that the body of a submission has at most.
    pub max_submission_bytes: u64,
    /// The chain's limits.
    #[schema(value_type = Object)]
    pub parameters: Parameters,
    /// The node's software.
    pub version: String,
    /// The chain's rules.
    pub rules: RulesBody,
}

/// `GET /v1/price`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriceBody {
    /// Latest decided height; the price is the next block's.
    pub height: Height,
    /// Base fee per share.
    pub base_fee: u64,
    /// Base fee for a MiB of blobs, 2,048 shares.
    pub per_mib: Amount,
    /// Lowest base fee per share.
    pub floor: u64,
    /// Excess that the base fee follows from.
    pub excess: u64,
    /// Counted shares a block at which the price stands still.
    pub target: u64,
    /// Counted shares that a block holds.
    pub capacity: u64,
    /// The last few blocks, oldest first.
    pub recent: Vec<BlockPriceBody>,
    /// The prices in another unit, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<ConvertedBody>,
}

/// What a block charged, and how full it was.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct BlockPriceBody {
    /// The block.
    pub height: Height,
    /// Its time.
    #[schema(value_type = String)]
    pub time: Time,
    /// Base fee per share that it charged.
    pub base_fee: u64,
    /// Shares counted.
    pub used: u64,
    /// That, as a part of the capacity: 0 to 1; the price stands still at 0.5.
    pub fullness: f64,
    /// Transactions.
    pub transactions: u32,
    /// Bytes of blobs.
    pub blob_bytes: u64,
}

/// `GET /v1/price/history`
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PriceHistoryBody {
    /// Counted shares a block at which the price stands still.
    pub target: u64,
    /// Counted shares that a block holds.
    pub capacity: u64,
    /// The blocks, oldest first.
    pub blocks: Vec<BlockPriceBody>,
}

/// Prices in another unit, exact decimals.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ConvertedBody {
    /// The unit.
    pub unit: String,
    /// What one WEFT was taken to be worth.
    pub per_weft: String,
    /// Base fee per share.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_fee: Option<String>,
    /// Base fee for a MiB of blobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_mib: Option<String>,
    /// What the next block charges.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<String>,
    /// What is expected at the end of the horizon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_cost: Option<String>,
    /// What is charged at most.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_limit: Option<String>,
}

impl ConvertedBody {
    /// Nothing converted yet, at this rate.
    pub(crate) fn of(rate: &Rate) -> Self {
        Self { unit: rate.unit().to_owned(), per_weft: rate.per_weft(), ..Self::default() }
    }
}

/// `POST /v1/quote`
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuoteRequest {
    /// The blobs of one transaction.
    #[schema(min_items = 1)]
    pub blobs: Vec<BlobShapeBody>,
    /// For how many blocks the cap shall hold; 100 unless told.
    #[serde(default = "default_horizon")]
    #[schema(minimum = 1, maximum = 100)]
    pub horizon: u64,
    /// A unit that the node has a rate for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(pattern = "^[A-Za-z0-9]{1,16}$")]
    pub unit: Option<String>,
    /// What one WEFT is worth, as `0.35 usd`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(
        value_type = Option<String>,
        pattern = r"^(0\.[0-9]{0,8}[1-9]|[1-9][0-9]{0,8}(\.[0-9]{1,9})?) [A-Za-z0-9]{1,16}$"
    )]
    pub rate: Option<Rate>,
}

impl QuoteRequest {
    /// Asks for these blobs, for as long as a submission may wait, in nano alone.
    pub fn new(blobs: Vec<BlobShapeBody>) -> Self {
        Self { blobs, horizon: default_horizon(), unit: None, rate: None }
    }
}

/// Blocks that a quote holds for unless told: as long as a submission may wait.
pub(crate) const fn default_horizon() -> u64 {
    crate::HORIZON_LIMIT
}

/// A blob to be priced.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BlobShapeBody {
    /// Its length.
    #[schema(minimum = 1)]
    pub bytes: u64,
    /// Foreign commitments asked for, by name.
    #[serde(default, with = "kinds")]
    #[schema(value_type = Vec<String>)]
    pub foreign: Vec<ForeignKind>,
}

impl From<BlobShapeBody> for BlobShape {
    fn from(body: BlobShapeBody) -> Self {
        Self { len: body.bytes, foreign: body.foreign }
    }
}

/// A price with a horizon. It promises price, not inclusion; anyone recomputes it from `excess`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct QuoteBody {
    /// Latest decided height.
    pub height: Height,
    /// Excess that the prices follow from.
    pub excess: u64,
    /// Shares that the transaction counts at most.
    pub shares: u64,
    /// Blocks for which `fee_cap` holds.
    pub horizon: u64,
    /// Base fee per share in the next block.
    pub base_fee: u64,
    /// Base fee per share at the end of the horizon, if blocks go on as full as the last few were on average.
    pub expected_base_fee: u64,
    /// The cap per share that covers the base fee through the horizon, whatever the blocks hold.
    pub fee_cap: u64,
    /// What the next block charges.
    pub cost: Amount,
    /// What is charged at the end of the horizon, if blocks go on like that.
    pub expected_cost: Amount,
    /// What is charged at most with that cap.
    pub cost_limit: Amount,
    /// The costs in another unit, if asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub converted: Option<ConvertedBody>,
}

/// `GET` and `PUT /v1/bodies/{commitment}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UploadBody {
    /// Bytes of the body that are here: where the next piece begins.
    pub received: u64,
}

/// `POST /v1/tx` and `POST /v1/faucet/{address}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SubmittedBody {
    /// The transaction's id.
    #[schema(value_type = String)]
    pub id: TxId,
}

/// `GET /v1/tx/{id}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TxBody {
    /// The id.
    #[schema(value_type = String)]
    pub id: TxId,
    /// `{"state": "pooled" | "included" | "final" | "expired" | "replaced" | "evicted" | "rejected", "height": …,
    /// "by": …, "reason": …}`
    #[schema(value_type = Object)]
    pub status: TxStatus,
    /// Why, and what comes next, in words.
    pub reason: String,
    /// Who signed it.
    #[schema(value_type = String)]
    pub sender: Address,
    /// Last height at which it may be included.
    pub valid_until: Height,
    /// Whether a reservation pays.
    pub reserved: bool,
    /// The most that is paid per share.
    pub fee_cap: u64,
    /// Offered to the proposer per share.
    pub tip: u64,
    /// Shares counted.
    pub shares: u64,
    /// What was charged; known once included.
    pub charged: Option<Amount>,
    /// Its blobs.
    pub blobs: Vec<BlobBody>,
    /// Until when nodes keep the blobs at least.
    #[schema(value_type = Option<String>)]
    pub available_until: Option<Time>,
}

impl TxBody {
    /// The body of a record, where the next block's base fee is `base_fee`.
    pub fn new(id: TxId, record: TxRecord, base_fee: u64) -> Self {
        let reason = why(&record, base_fee);
        let TxRecord {
            status,
            sender,
            valid_until,
            reserved,
            fee_cap,
            tip,
            shares,
            charged,
            blobs,
            available_until,
        } = record;
        let blobs = blobs.iter().map(BlobBody::from).collect();
        Self {
            id,
            status,
            reason,
            sender,
            valid_until,
            reserved,
            fee_cap,
            tip,
            shares,
            charged,
            blobs,
            available_until,
        }
    }
}

/// Every [`state_name`].
pub(crate) const STATE_NAMES: [&str; 7] =
    ["pooled", "included", "final", "expired", "replaced", "evicted", "rejected"];

/// The name of a state, as JSON has it and `?from=` takes it.
pub(crate) const fn state_name(status: &TxStatus) -> &'static str {
    match status {
        TxStatus::Pooled => "pooled",
        TxStatus::Included { .. } => "included",
        TxStatus::Final { .. } => "final",
        TxStatus::Expired => "expired",
        TxStatus::Replaced { .. } => "replaced",
        TxStatus::Evicted { .. } => "evicted",
        TxStatus::Rejected { .. } => "rejected",
    }
}

/// A blob as its transaction announces it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BlobBody {
    /// 58 digits.
    pub namespace: String,
    /// Blob commitment.
    #[serde(with = "hex::serde")]
    #[schema(value_type = String)]
    pub commitment: [u8; 32],
    /// Length.
    pub bytes: u64,
    /// Foreign commitments.
    pub foreign: Vec<ForeignBody>,
}

impl From<&BlobHeader> for BlobBody {
    fn from(blob: &BlobHeader) -> Self {
        Self {
            namespace: blob.namespace.to_string(),
            commitment: blob.commitment,
            bytes: blob.len,
            foreign: blob.foreign.iter().map(ForeignBody::from).collect(),
        }
    }
}

/// A foreign commitment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ForeignBody {
    /// The scheme's name.
    pub kind: String,
    /// 32 bytes.
    #[serde(with = "hex::serde")]
    #[schema(value_type = String)]
    pub value: [u8; 32],
}

impl From<&ForeignCommitment> for ForeignBody {
    fn from(foreign: &ForeignCommitment) -> Self {
        Self { kind: foreign.kind.to_string(), value: foreign.value }
    }
}

/// `GET /v1/account/{address}`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AccountBody {
    /// Whose account.
    #[schema(value_type = String)]
    pub address: Address,
    /// What it owns.
    pub balance: Amount,
    /// What its pooled transactions may cost.
    pub pending: Amount,
}

/// An entry of a block's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EntryBody {
    /// 58 digits.
    pub namespace: String,
    /// Blob commitment.
    #[serde(with = "hex::serde")]
    #[schema(value_type = String)]
    pub commitment: [u8; 32],
    /// First share in the block's square.
    pub start_share: u32,
    /// Length.
    pub bytes: u64,
    /// Who signed the transaction.
    #[schema(value_type = String)]
    pub signer: Address,
    /// Foreign commitments.
    pub foreign: Vec<ForeignBody>,
}

impl From<&IndexEntry> for EntryBody {
    fn from(entry: &IndexEntry) -> Self {
        Self {
            namespace: entry.namespace.to_string(),
            commitment: entry.commitment,
            start_share: entry.start,
            bytes: entry.len,
            signer: Address::from_bytes(entry.signer),
            foreign: entry.foreign.iter().map(ForeignBody::from).collect(),
        }
    }
}

/// `GET /v1/blob/{commitment}/proof`: the entry in words, and the proof that it is in the block's index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProofBody {
    /// The block.
    pub height: Height,
    /// The entry; the proof holds the same.
    pub entry: EntryBody,
    /// Canonical bytes of the entry proof.
    #[schema(value_type = String)]
    pub proof: Hex,
}

impl ProofBody {
    /// The body of an entry and its proof.
    pub fn new(height: Height, proof: &EntryProof) -> Self {
        Self { height, entry: EntryBody::from(proof.entry()), proof: Hex(proof.encode()) }
    }
}

/// `GET /v1/tx/{id}/blobs`: the transaction, which hashes to the id, and where its blobs are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TxBlobsBody {
    /// The block.
    pub height: Height,
    /// Canonical bytes of the transaction.
    #[schema(value_type = String)]
    pub transaction: Hex,
    /// Its blobs, in the submitter's order.
    pub blobs: Vec<ProofBody>,
}

/// `GET /v1/blob/{commitment}/range`: a part of a blob, with the proof of where the blob is and of the shares that
/// hold the part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct RangeBody {
    /// The block.
    pub height: Height,
    /// The blob's entry; the proof holds the same.
    pub entry: EntryBody,
    /// Canonical bytes of the entry proof.
    #[schema(value_type = String)]
    pub entry_proof: Hex,
    /// First byte, counted from the blob's beginning.
    pub offset: u64,
    /// The bytes; the proof holds the same.
    #[schema(value_type = String)]
    pub data: Hex,
    /// Canonical bytes of the range proof over shares `start_share + offset / 512` to the one that holds the last
    /// byte.
    #[schema(value_type = String)]
    pub range_proof: Hex,
}

/// `GET /v1/height/{height}/shares`
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SharesBody {
    /// The block.
    pub height: Height,
    /// The first share.
    pub start: u32,
    /// How many.
    pub count: u32,
    /// Canonical bytes of the range proof, which holds the shares.
    #[schema(value_type = String)]
    pub proof: Hex,
}

/// `GET /v1/height/{height}/namespace/{namespace}`: all entries, and the proof that none is missing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NamespaceBody {
    /// The block.
    pub height: Height,
    /// 58 digits.
    pub namespace: String,
    /// The entries, in the order of the square; the proof holds the same.
    pub entries: Vec<EntryBody>,
    /// Canonical bytes of the namespace proof.
    #[schema(value_type = String)]
    pub proof: Hex,
}

impl NamespaceBody {
    /// The body of an answer; without entries, where the proof shows that there are none.
    pub fn new(height: Height, namespace: Namespace, entries: &[IndexEntry], proof: &NamespaceProof) -> Self {
        Self {
            height,
            namespace: namespace.to_string(),
            entries: entries.iter().map(EntryBody::from).collect(),
            proof: Hex(proof.encode()),
        }
    }
}

/// Bytes as hexadecimal text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Hex(#[serde(with = "hex::serde")] pub Vec<u8>);

mod kinds {
    use super::{ForeignKind, Serialize};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(kinds: &[ForeignKind], s: S) -> Result<S::Ok, S::Error> {
        kinds.iter().map(ToString::to_string).collect::<Vec<_>>().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<ForeignKind>, D::Error> {
        Vec::<String>::deserialize(d)?.iter().map(|name| name.parse().map_err(D::Error::custom)).collect()
    }
}
