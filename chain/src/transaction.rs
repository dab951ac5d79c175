//! Transactions: a signed payload without a sequence number, and what makes one valid in itself.
//!
//! The id is the payload's EIP-712 digest, never a function of the signature, so a re-signed copy is the same
//! transaction. What needs the ledger (expiry, balance, repetition) is checked in [`crate::Ledger`].

use erasure::{BlobMeta, ForeignCommitment, ForeignKind, Namespace, shares_for};

use crate::{
    Amount, Height,
    address::{Address, KeyError},
    codec::{self, DecodeError},
    eip712::Domain,
    evidence::Evidence,
    fees::{FeeRules, blob_shares},
    genesis::Parameters,
    hex_text::hex_text,
    reservation::{self, ReservationId},
    staking::{KeysError, ValidatorKeys},
    upgrade::Upgrade,
};

/// Bytes of one EIP-4844 blob, the unit of its foreign commitment.
pub(crate) const KZG_CHUNK_BYTES: u64 = 131_072;

/// EIP-4844 chunks in one blob at most.
pub(crate) const KZG_CHUNKS_PER_BLOB: u64 = 8;

/// EIP-4844 chunks in one block at most.
pub(crate) const KZG_CHUNKS_PER_BLOCK: usize = 64;

/// New validators in one block at most: the proofs that one holds its keys take a pairing to check.
pub(crate) const NEW_VALIDATORS_PER_BLOCK: usize = 16;

/// How far ahead `valid_until` may lie for a submission, in blocks.
pub const SUBMIT_HORIZON: Height = 100;

/// How far ahead `valid_until` may lie for any other transaction, in blocks.
pub const OTHER_HORIZON: Height = 10_000;

/// A transaction's id: the EIP-712 digest of its payload.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TxId(pub [u8; 32]);
hex_text!(TxId, 32, "");

/// One blob as its transaction announces it; the bytes travel apart, as the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobHeader {
    /// Whose blob it is.
    pub namespace: Namespace,
    /// Blob commitment (design §4.4).
    pub commitment: [u8; 32],
    /// Bytes.
    pub len: u64,
    /// Hashes in other systems' schemes, ascending by kind.
    pub foreign: Vec<ForeignCommitment>,
}

impl BlobHeader {
    /// Describes `bytes`, with the hashes of `kinds` that need nothing but the bytes; `kzg` are the blob's
    /// openings where it carries EIP-4844 commitments.
    pub fn describe(namespace: Namespace, bytes: &[u8], kinds: &[ForeignKind], kzg: &[KzgOpening]) -> Self {
        let mut foreign = Vec::new();
        let mut kinds = kinds.to_vec();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            match kind.hash(&namespace, bytes) {
                Some(value) => foreign.push(ForeignCommitment { kind, value }),
                None => foreign.extend(kzg.iter().map(KzgOpening::foreign)),
            }
        }
        Self {
            namespace,
            commitment: erasure::blob_commitment(&namespace, bytes),
            len: bytes.len() as u64,
            foreign,
        }
    }

    /// Shares that this blob counts in fees and in a block's capacity.
    pub fn shares(&self) -> u64 {
        blob_shares(self.len, self.foreign.iter().map(|f| f.kind))
    }

    /// EIP-4844 chunks that the blob claims.
    pub(crate) fn kzg_chunks(&self) -> usize {
        self.foreign.iter().filter(|f| f.kind == ForeignKind::Eip4844).count()
    }

    fn check(&self, at: usize, parameters: &Parameters) -> Result<(), TransactionError> {
        if self.len == 0 || self.len > parameters.max_blob_bytes {
            return Err(TransactionError::BlobLength {
                blob: at,
                got: self.len,
                limit: parameters.max_blob_bytes,
            });
        }
        if self.namespace.is_reserved() {
            return Err(TransactionError::ReservedNamespace { blob: at });
        }
        let mut last: Option<ForeignKind> = None;
        for kind in self.foreign.iter().map(|f| f.kind) {
            if last.is_some_and(|last| last > kind || (last == kind && kind != ForeignKind::Eip4844)) {
                return Err(TransactionError::ForeignOrder { blob: at });
            }
            last = Some(kind);
        }
        let chunks = self.kzg_chunks() as u64;
        if chunks > 0 && (chunks > KZG_CHUNKS_PER_BLOB || self.len != chunks * KZG_CHUNK_BYTES) {
            return Err(TransactionError::KzgLength { blob: at, len: self.len, chunks });
        }
        Ok(())
    }
}

/// A KZG commitment to 131,072 bytes and the proof of its evaluation, as EIP-4844 has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KzgOpening {
    /// Compressed G1 point.
    pub commitment: [u8; 48],
    /// Compressed G1 point.
    pub proof: [u8; 48],
}

impl KzgOpening {
    /// The versioned hash, as a foreign commitment.
    pub fn foreign(&self) -> ForeignCommitment {
        ForeignCommitment {
            kind: ForeignKind::Eip4844,
            value: erasure::foreign::eip4844_versioned_hash(&self.commitment),
        }
    }
}

/// What a transaction does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Publishes blobs.
    SubmitBlobs {
        /// The blobs, in the submitter's order.
        blobs: Vec<BlobHeader>,
        /// The reservation that pays; the sender's account unless told.
        reservation: Option<ReservationId>,
    },
    /// Moves money.
    Transfer {
        /// Receiver.
        to: Address,
        /// In nano.
        amount: Amount,
    },
    /// Buys a reservation; its id is the transaction's.
    Reserve {
        /// Shares a block.
        rate: u64,
        /// For how many blocks, from the next one on.
        blocks: u64,
        /// Who may submit from it besides the sender, ascending.
        signers: Vec<Address>,
        /// The most that the reservation may cost, in nano, besides this transaction's own fee.
        price_cap: Amount,
    },
    /// Extends a reservation, whoever owns it.
    ExtendReservation {
        /// Which one.
        reservation: ReservationId,
        /// By how many blocks.
        blocks: u64,
        /// The most that the extension may cost, in nano.
        price_cap: Amount,
    },
    /// Bonds stake of the sender's validator.
    Bond {
        /// In nano.
        stake: Amount,
        /// A new validator's keys; none to add stake to one.
        keys: Option<Box<ValidatorKeys>>,
    },
    /// Starts to unbond stake of the sender's validator; without stake it leaves the set.
    Unbond {
        /// In nano.
        stake: Amount,
    },
    /// Shows that a validator contradicted itself: it loses stake and place, the sender gets a part of the stake.
    Evidence(Box<Evidence>),
    /// Says that the sender's validator runs a build which knows these rules, and wants them from that height on; none
    /// takes back what it said before.
    Signal(Option<Upgrade>),
}

impl Action {
    /// The most that it takes from the sender besides the transaction's fee, in nano.
    pub fn spends(&self) -> Amount {
        match self {
            Self::SubmitBlobs { .. } | Self::Unbond { .. } | Self::Evidence(_) | Self::Signal(_) => 0,
            Self::Transfer { amount, .. } | Self::Bond { stake: amount, .. } => *amount,
            Self::Reserve { price_cap, .. } | Self::ExtendReservation { price_cap, .. } => *price_cap,
        }
    }

    /// How far ahead `valid_until` may lie, in blocks.
    pub fn horizon(&self) -> Height {
        match self {
            Self::SubmitBlobs { .. } => SUBMIT_HORIZON,
            _ => OTHER_HORIZON,
        }
    }

    /// Checks what needs neither ledger nor any signature.
    fn check(&self, parameters: &Parameters) -> Result<(), TransactionError> {
        match self {
            Self::SubmitBlobs { blobs, .. } => {
                let limit = parameters.blobs_per_transaction as usize;
                if blobs.is_empty() || blobs.len() > limit {
                    return Err(TransactionError::BlobCount { got: blobs.len(), limit });
                }
                blobs.iter().enumerate().try_for_each(|(at, blob)| blob.check(at, parameters))
            }
            Self::Transfer { .. }
            | Self::Bond { .. }
            | Self::Unbond { .. }
            | Self::Evidence(_)
            | Self::Signal(_) => Ok(()),
            Self::Reserve { rate, blocks, signers, .. } => {
                reservation::check_purchase(&FeeRules::new(parameters), *rate, *blocks, signers)
            }
            Self::ExtendReservation { blocks, .. } => reservation::check_blocks(*blocks),
        }
    }
}

/// What is signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Payload {
    /// Who pays and signs.
    pub sender: Address,
    /// Random; tells transactions of one sender apart.
    pub salt: [u8; 16],
    /// Last height at which the transaction may be included.
    pub valid_until: Height,
    /// Most that is paid per share, base fee and tip together, in nano.
    pub fee_cap: u64,
    /// Paid to the proposer per share on top of the base fee, as far as the cap leaves room, in nano.
    pub tip: u64,
    /// What it does.
    pub action: Action,
}

impl Payload {
    /// The reservation that pays for its blobs.
    pub fn reservation(&self) -> Option<ReservationId> {
        match self.action {
            Action::SubmitBlobs { reservation, .. } => reservation,
            _ => None,
        }
    }

    /// What the ledger remembers it by once it is included: sender, salt and last height. Another one with all three is
    /// never included, whatever else it says: that is how a sender replaces an offer.
    pub fn once(&self) -> [u8; 32] {
        let valid_until = self.valid_until.to_be_bytes();
        erasure::keccak256(&[b"weft/once/1", &self.sender.as_bytes()[..], &self.salt, &valid_until].concat())
    }

    /// The most that including it takes from the sender when it counts `shares` shares, in nano.
    pub fn cost_limit(&self, shares: u64) -> Amount {
        self.fee_cap.saturating_mul(shares).saturating_add(self.action.spends())
    }
}

/// A signed payload; nothing about it has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// What was signed.
    pub payload: Payload,
    /// One opening for each EIP-4844 chunk of the blobs, in order. Bound by the versioned hashes.
    pub kzg: Vec<KzgOpening>,
    /// secp256k1 over the EIP-712 digest: r ‖ s ‖ v, s in the lower half, v 27 or 28.
    pub signature: [u8; 65],
}

impl Transaction {
    /// Canonical protobuf bytes.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_transaction(self)
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_transaction(bytes)
    }

    /// The id on the chain of `domain`.
    pub fn id(&self, domain: &Domain) -> TxId {
        TxId(self.payload.digest(domain))
    }

    /// The blobs' headers; empty for other kinds.
    pub fn blobs(&self) -> &[BlobHeader] {
        match &self.payload.action {
            Action::SubmitBlobs { blobs, .. } => blobs,
            _ => &[],
        }
    }

    /// The keys that it registers for its sender.
    pub(crate) fn new_keys(&self) -> Option<&ValidatorKeys> {
        match &self.payload.action {
            Action::Bond { keys, .. } => keys.as_deref(),
            _ => None,
        }
    }

    /// Shares charged: its own bytes, and what each blob counts.
    pub fn shares(&self) -> u64 {
        self.blobs()
            .iter()
            .map(BlobHeader::shares)
            .fold(shares_for(self.encode().len() as u64), u64::saturating_add)
    }

    /// Checks all that can be checked without the ledger and the bodies: limits first, then the signature, then what
    /// the signer says of others' signatures.
    pub fn verify(
        self,
        domain: &Domain,
        parameters: &Parameters,
    ) -> Result<VerifiedTransaction, TransactionError> {
        self.payload.action.check(parameters)?;
        if self.payload.reservation().is_some() && (self.payload.fee_cap, self.payload.tip) != (0, 0) {
            return Err(TransactionError::ReservedFee);
        }
        let claimed: Vec<_> = self
            .blobs()
            .iter()
            .flat_map(|b| &b.foreign)
            .filter(|f| f.kind == ForeignKind::Eip4844)
            .cloned()
            .collect();
        if claimed.len() > KZG_CHUNKS_PER_BLOCK {
            return Err(TransactionError::KzgCount { got: claimed.len(), limit: KZG_CHUNKS_PER_BLOCK });
        }
        if !self.kzg.iter().map(KzgOpening::foreign).eq(claimed.iter().cloned()) {
            return Err(TransactionError::KzgOpenings { claimed: claimed.len(), got: self.kzg.len() });
        }
        let shares = self.shares();
        let capacity = parameters.width().shares() as u64;
        if shares > capacity - 1 {
            return Err(TransactionError::TooManyShares { got: shares, limit: capacity - 1 });
        }
        let id = self.id(domain);
        let signer = Address::recover(&id.0, &self.signature)?;
        if signer != self.payload.sender {
            return Err(TransactionError::WrongSigner { sender: self.payload.sender, signer });
        }
        if let Some(keys) = self.new_keys() {
            keys.check(domain, &signer)?;
        }
        Ok(VerifiedTransaction { id, shares, transaction: self })
    }
}

/// The blobs that transactions announce, in their order: what the index is made of.
pub(crate) fn blob_metas<'a>(transactions: impl IntoIterator<Item = &'a Transaction>) -> Vec<BlobMeta> {
    let metas = transactions.into_iter().flat_map(|transaction| {
        transaction.blobs().iter().map(|blob| BlobMeta {
            namespace: blob.namespace,
            commitment: blob.commitment,
            len: blob.len,
            signer: *transaction.payload.sender.as_bytes(),
            foreign: blob.foreign.clone(),
        })
    });
    metas.collect()
}

/// A transaction whose form, limits and signature hold on one chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedTransaction {
    id: TxId,
    shares: u64,
    transaction: Transaction,
}

impl VerifiedTransaction {
    /// The id.
    pub fn id(&self) -> TxId {
        self.id
    }

    /// Shares charged.
    pub fn shares(&self) -> u64 {
        self.shares
    }

    /// Who signed and pays.
    pub fn sender(&self) -> Address {
        self.transaction.payload.sender
    }

    /// What was signed.
    pub fn payload(&self) -> &Payload {
        &self.transaction.payload
    }

    /// The blobs' headers; empty for other kinds.
    pub fn blobs(&self) -> &[BlobHeader] {
        self.transaction.blobs()
    }

    /// Each blob's header with its own KZG openings.
    pub fn openings(&self) -> impl Iterator<Item = (&BlobHeader, &[KzgOpening])> {
        let mut rest = self.transaction.kzg.as_slice();
        self.blobs().iter().map(move |blob| {
            let (own, tail) = rest.split_at(blob.kzg_chunks().min(rest.len()));
            rest = tail;
            (blob, own)
        })
    }

    /// The transaction as it was signed.
    pub fn transaction(&self) -> &Transaction {
        &self.transaction
    }
}

/// A transaction with its blobs' bytes, as a user hands them in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The signed transaction.
    pub transaction: Transaction,
    /// One body for each blob, in order.
    pub bodies: Vec<Vec<u8>>,
}

impl Submission {
    /// Protobuf: field 1 the transaction's bytes, field 2 repeated the bodies.
    pub fn encode(&self) -> Vec<u8> {
        codec::encode_submission(self)
    }

    /// Reads what [`Self::encode`] wrote, and nothing else.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        codec::decode_submission(bytes)
    }
}

/// Why a transaction is invalid whatever the ledger says. The submitter is at fault; it will never be valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TransactionError {
    /// No blob, or too many.
    #[error("blobs: a transaction carries 1 to {limit} blobs, got {got}")]
    BlobCount {
        /// Blobs found.
        got: usize,
        /// Blobs allowed.
        limit: usize,
    },
    /// An empty or oversize blob.
    #[error("blobs[{blob}].len: a blob has 1 to {limit} bytes, got {got}")]
    BlobLength {
        /// Which blob.
        blob: usize,
        /// Its length.
        got: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The namespace is the protocol's own.
    #[error("blobs[{blob}].namespace: user id zero is reserved for the transaction blob; choose another")]
    ReservedNamespace {
        /// Which blob.
        blob: usize,
    },
    /// Kinds must ascend, and only EIP-4844 repeats.
    #[error("blobs[{blob}].foreign: commitments must ascend by kind, each kind once except eip4844")]
    ForeignOrder {
        /// Which blob.
        blob: usize,
    },
    /// An EIP-4844 blob is a whole number of chunks.
    #[error(
        "blobs[{blob}].len: {chunks} eip4844 commitments need {chunks} × 131072 bytes (at most 8), got {len}"
    )]
    KzgLength {
        /// Which blob.
        blob: usize,
        /// Its bytes.
        len: u64,
        /// Commitments it carries.
        chunks: u64,
    },
    /// More chunks than a block can check.
    #[error("kzg: a block holds at most {limit} eip4844 chunks, got {got}")]
    KzgCount {
        /// Chunks claimed.
        got: usize,
        /// Chunks allowed.
        limit: usize,
    },
    /// The openings are not those that the versioned hashes name.
    #[error(
        "kzg: the {got} openings do not hash to the {claimed} eip4844 commitments of the blobs, in order"
    )]
    KzgOpenings {
        /// Commitments in the blobs.
        claimed: usize,
        /// Openings that came along.
        got: usize,
    },
    /// It would never fit a block.
    #[error("blobs: the transaction counts {got} shares, a block holds {limit}; split it")]
    TooManyShares {
        /// Shares counted.
        got: u64,
        /// Shares allowed.
        limit: u64,
    },
    /// A reservation has paid already.
    #[error("fee_cap: a submission from a reservation pays nothing more; set fee cap and tip to 0")]
    ReservedFee,
    /// Nothing, or more than can be reserved.
    #[error("rate: 1 to {limit} shares a block can be reserved, got {got}")]
    ReservedRate {
        /// Shares a block asked for.
        got: u64,
        /// Shares a block allowed.
        limit: u64,
    },
    /// Not at all, or too long.
    #[error("blocks: a reservation is paid for 1 to {limit} blocks, got {got}")]
    ReservedBlocks {
        /// Blocks asked for.
        got: u64,
        /// Blocks allowed.
        limit: u64,
    },
    /// Too many.
    #[error("signers: at most {limit}, got {got}")]
    SignerCount {
        /// Signers named.
        got: usize,
        /// Signers allowed.
        limit: usize,
    },
    /// Not a sorted set.
    #[error("signers: must ascend, each once")]
    SignerOrder,
    /// A validator's keys without the proofs that it holds them.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// No key made this signature.
    #[error("signature: {0}")]
    Signature(KeyError),
    /// Somebody else's key made it.
    #[error("signature: signed by {signer}, but the sender is {sender}")]
    WrongSigner {
        /// Who claims to send.
        sender: Address,
        /// Who signed.
        signer: Address,
    },
}

impl From<KeyError> for TransactionError {
    fn from(error: KeyError) -> Self {
        Self::Signature(error)
    }
}

impl TransactionError {
    /// The field that is wrong, as the API names it.
    pub fn field(&self) -> &'static str {
        match self {
            Self::BlobCount { .. } | Self::TooManyShares { .. } => "blobs",
            Self::BlobLength { .. } | Self::KzgLength { .. } => "blobs.len",
            Self::ReservedNamespace { .. } => "blobs.namespace",
            Self::ForeignOrder { .. } => "blobs.foreign",
            Self::KzgCount { .. } | Self::KzgOpenings { .. } => "kzg",
            Self::Keys(KeysError::Consensus) => "consensus_proof",
            Self::Keys(KeysError::Attestation(_)) => "attestation_proof",
            Self::ReservedFee => "fee_cap",
            Self::ReservedRate { .. } => "rate",
            Self::ReservedBlocks { .. } => "blocks",
            Self::SignerCount { .. } | Self::SignerOrder => "signers",
            Self::Signature(_) | Self::WrongSigner { .. } => "signature",
        }
    }
}
