//! Blocks: choosing transactions, arranging them in a square, and the checks that make a proposal valid.
//!
//! A proposer and a validator run the same steps: apply the transactions to the ledger, place their blobs,
//! commit the square, and compare (a validator) or fill in (a proposer) the header.

use std::sync::Arc;

use erasure::{CommittedSquare, Committer, OriginalSquare, Placement};
use tendermint::{
    Hash, Time, account,
    block::{Commit, Header},
};

use crate::{
    body::CheckedBlob,
    genesis::Genesis,
    ledger::{Ledger, LedgerError, Receipt},
    proposal::{Proposal, body_hash, transaction_list},
    state::{State, StateError, StateStore, StateUpdate},
    succession::{Parent, check_header, expected_header},
    transaction::{
        KZG_CHUNKS_PER_BLOCK, NEW_VALIDATORS_PER_BLOCK, Transaction, TxId, VerifiedTransaction, blob_metas,
    },
    upgrade::UnknownRules,
};

/// A block without bodies: what is stored, and what a node that catches up is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// The header.
    pub header: Header,
    /// The transactions in order.
    pub transactions: Vec<Transaction>,
    /// Signatures over the previous header; none at height 1.
    pub last_commit: Option<Commit>,
}

/// A transaction with all of its bodies, ready for a block.
#[derive(Clone, Debug)]
pub struct Candidate {
    transaction: Arc<VerifiedTransaction>,
    blobs: Vec<Arc<CheckedBlob>>,
}

impl Candidate {
    /// Pairs a transaction with its bodies; `None` unless they are exactly those that it announces, in order.
    pub fn new(transaction: Arc<VerifiedTransaction>, blobs: Vec<Arc<CheckedBlob>>) -> Option<Self> {
        transaction.blobs().iter().eq(blobs.iter().map(|b| b.header())).then_some(Self { transaction, blobs })
    }

    /// The transaction.
    pub fn transaction(&self) -> &Arc<VerifiedTransaction> {
        &self.transaction
    }

    /// Its bodies.
    pub fn blobs(&self) -> &[Arc<CheckedBlob>] {
        &self.blobs
    }
}

/// A block that obeys every rule, with what it does.
#[derive(Clone, Debug)]
pub struct ValidBlock {
    /// The block.
    pub block: Block,
    /// Its square, if the bodies were at hand.
    pub square: Option<Arc<CommittedSquare>>,
    /// The blobs' places.
    pub placement: Placement,
    /// What it writes to the state.
    pub update: StateUpdate,
    /// What each transaction paid, in order.
    pub receipts: Vec<Receipt>,
}

impl ValidBlock {
    /// What consensus agrees on.
    pub fn proposal(&self, genesis: &Genesis) -> Proposal {
        let domain = genesis.domain();
        Proposal {
            header: self.block.header.clone(),
            ids: self.block.transactions.iter().map(|t| t.id(&domain)).collect(),
            last_commit: self.block.last_commit.clone(),
        }
    }
}

/// The transactions of the next block, and those that no later block can hold either.
#[derive(Clone, Debug, Default)]
pub struct Selected {
    /// Chosen, in the block's order.
    pub chosen: Vec<Candidate>,
    /// Refused for good or until the account changes, with the reason.
    pub refused: Vec<(TxId, LedgerError)>,
}

/// Chooses from `candidates` (in order of arrival): what reservations paid for first, then by tip per share, as far
/// as block and accounts allow.
pub fn select<S: StateStore>(
    genesis: &Genesis,
    state: State<'_, S>,
    proposer: &account::Id,
    candidates: &[Candidate],
) -> Result<Selected, StateError> {
    let parameters = &genesis.parameters;
    let mut ledger = Ledger::new(state, genesis)?;
    let operator = ledger.operator(proposer).unwrap_or_default();
    let base_fee = ledger.base_fee();
    let mut order: Vec<&Candidate> = candidates.iter().collect();
    order.sort_by_key(|c| {
        let payload = c.transaction.payload();
        let tip = payload.tip.min(payload.fee_cap.saturating_sub(base_fee));
        (payload.reservation().is_none(), std::cmp::Reverse(tip))
    });

    let mut selected = Selected::default();
    let (mut list_bytes, mut blob_shares, mut chunks, mut joining) = (0u64, 0u64, 0usize, 0usize);
    let capacity = parameters.width().shares() as u64;
    for candidate in order {
        let transaction = &candidate.transaction;
        let bytes = transaction.transaction().encode().len() as u64 + 8;
        let shares: u64 = transaction.blobs().iter().map(|b| erasure::shares_for(b.len)).sum();
        let kzg = transaction.transaction().kzg.len();
        let joins = usize::from(transaction.transaction().new_keys().is_some());
        let fits = selected.chosen.len() < parameters.transactions_per_block as usize
            && list_bytes + bytes + 4 <= parameters.transaction_blob_bytes
            && blob_shares + shares + erasure::shares_for(list_bytes + bytes + 4) <= capacity
            && chunks + kzg <= KZG_CHUNKS_PER_BLOCK
            && joining + joins <= NEW_VALIDATORS_PER_BLOCK;
        if !fits {
            continue;
        }
        match ledger.apply(transaction, operator) {
            Ok(_) => {
                list_bytes += bytes;
                blob_shares += shares;
                chunks += kzg;
                joining += joins;
                selected.chosen.push(candidate.clone());
            }
            Err(LedgerError::State(error)) => return Err(error),
            Err(error) => selected.refused.push((transaction.id(), error)),
        }
    }
    Ok(selected)
}

/// A block before its header: what takes long to build does not depend on the block's time.
#[derive(Debug)]
pub struct Draft {
    applied: Applied,
    transactions: Vec<Arc<VerifiedTransaction>>,
    square: Arc<CommittedSquare>,
    proposer: account::Id,
}

/// Arranges `chosen` in the next block's square.
///
/// Whoever keeps the `committer`, and gives squares back to it, spares the next block new memory.
pub fn draft<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    chosen: &[Candidate],
    proposer: account::Id,
    committer: &mut Committer,
) -> Result<Draft, BlockError> {
    let transactions: Vec<_> = chosen.iter().map(|c| c.transaction.clone()).collect();
    let applied = apply(genesis, parent, state, &transactions, &proposer)?;
    let square = applied.square(chosen, committer)?;
    Ok(Draft { applied, transactions, square, proposer })
}

impl Draft {
    /// The square.
    pub fn square(&self) -> &Arc<CommittedSquare> {
        &self.square
    }

    /// The block after `parent`, whose state it was drafted on; its time is `now`, or just after the previous header's
    /// if that is later.
    pub fn seal(self, genesis: &Genesis, parent: &Parent, now: Time) -> Result<ValidBlock, BlockError> {
        if self.applied.update.version != parent.next_height() {
            return Err(BlockError::Header("height"));
        }
        let earliest =
            (parent.time(genesis) + std::time::Duration::from_millis(1)).map_err(|_| BlockError::Time)?;
        let mut header = expected_header(genesis, parent, self.proposer, now.max(earliest))?;
        header.data_hash = Some(Hash::Sha256(self.square.data_root()));
        let ids: Vec<_> = self.transactions.iter().map(|t| t.id()).collect();
        header.evidence_hash = Some(body_hash(&ids, parent.last.as_ref().map(|last| &last.commit)));
        Ok(self.applied.into_valid(header, parent, &self.transactions, Some(self.square)))
    }
}

/// Builds the block of `chosen` at once; `committer` as in [`draft`].
pub fn propose<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    chosen: &[Candidate],
    proposer: account::Id,
    now: Time,
    committer: &mut Committer,
) -> Result<ValidBlock, BlockError> {
    draft(genesis, parent, state, chosen, proposer, committer)?.seal(genesis, parent, now)
}

/// Checks a proposal with everything in hand; `candidates` are its transactions in order, `committer` as in
/// [`draft`].
pub fn validate<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    proposal: &Proposal,
    candidates: &[Candidate],
    committer: &mut Committer,
) -> Result<ValidBlock, BlockError> {
    check_header(genesis, parent, &proposal.header, &proposal.ids, proposal.last_commit.as_ref())?;
    if !proposal.ids.iter().eq(candidates.iter().map(|c| c.transaction.id()).collect::<Vec<_>>().iter()) {
        return Err(BlockError::Transactions);
    }
    let transactions: Vec<_> = candidates.iter().map(|c| c.transaction.clone()).collect();
    let applied = apply(genesis, parent, state, &transactions, &proposal.header.proposer_address)?;
    let square = applied.square(candidates, committer)?;
    if proposal.header.data_hash != Some(Hash::Sha256(square.data_root())) {
        return Err(BlockError::DataRoot);
    }
    let mut valid = applied.into_valid(proposal.header.clone(), parent, &transactions, Some(square));
    valid.block.last_commit.clone_from(&proposal.last_commit);
    Ok(valid)
}

/// Checks a decided block by header and transactions alone; its square comes later.
pub fn validate_decided<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    block: &Block,
) -> Result<ValidBlock, BlockError> {
    let domain = genesis.domain();
    let ids: Vec<_> = block.transactions.iter().map(|t| t.id(&domain)).collect();
    check_header(genesis, parent, &block.header, &ids, block.last_commit.as_ref())?;
    let transactions = block
        .transactions
        .iter()
        .map(|t| t.clone().verify(&domain, &genesis.parameters).map(Arc::new))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| BlockError::Transaction(error.to_string()))?;
    let applied = apply(genesis, parent, state, &transactions, &block.header.proposer_address)?;
    let mut valid = applied.into_valid(block.header.clone(), parent, &transactions, None);
    valid.block.last_commit.clone_from(&block.last_commit);
    Ok(valid)
}

/// Where a block's blobs lie in its square: a pure function of its transactions.
pub fn place(genesis: &Genesis, block: &Block) -> Result<Placement, BlockError> {
    let transaction_blob = erasure::transaction_blob(&transaction_list(block.transactions.iter()));
    place_blobs(genesis, &transaction_blob, block.transactions.iter())
}

fn place_blobs<'a>(
    genesis: &Genesis,
    transaction_blob: &[u8],
    transactions: impl Iterator<Item = &'a Transaction>,
) -> Result<Placement, BlockError> {
    erasure::Index::place(transaction_blob, blob_metas(transactions), genesis.parameters.width())
        .map_err(|error| BlockError::Square(error.to_string()))
}

#[derive(Debug)]
struct Applied {
    transaction_blob: Vec<u8>,
    placement: Placement,
    update: StateUpdate,
    receipts: Vec<Receipt>,
}

/// Applies transactions to the ledger and places their blobs.
fn apply<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    transactions: &[Arc<VerifiedTransaction>],
    proposer: &account::Id,
) -> Result<Applied, BlockError> {
    parent.rules()?;
    let parameters = &genesis.parameters;
    let limit = parameters.transactions_per_block as usize;
    if transactions.len() > limit {
        return Err(BlockError::TooMany { what: "transactions", got: transactions.len(), limit });
    }
    let chunks: usize = transactions.iter().map(|t| t.transaction().kzg.len()).sum();
    if chunks > KZG_CHUNKS_PER_BLOCK {
        return Err(BlockError::TooMany { what: "eip4844 chunks", got: chunks, limit: KZG_CHUNKS_PER_BLOCK });
    }
    let joining = transactions.iter().filter(|t| t.transaction().new_keys().is_some()).count();
    if joining > NEW_VALIDATORS_PER_BLOCK {
        let limit = NEW_VALIDATORS_PER_BLOCK;
        return Err(BlockError::TooMany { what: "new validators", got: joining, limit });
    }
    let mut ledger = Ledger::new(state, genesis)?;
    let operator = ledger.operator(proposer).ok_or(BlockError::Proposer)?;
    let receipts = transactions
        .iter()
        .map(|transaction| ledger.apply(transaction, operator))
        .collect::<Result<Vec<_>, _>>()?;
    let transaction_blob =
        erasure::transaction_blob(&transaction_list(transactions.iter().map(|t| t.transaction())));
    let limit = parameters.transaction_blob_bytes as usize;
    if transaction_blob.len() > limit {
        return Err(BlockError::TooMany {
            what: "transaction blob bytes",
            got: transaction_blob.len(),
            limit,
        });
    }
    let placement = place_blobs(genesis, &transaction_blob, transactions.iter().map(|t| t.transaction()))?;
    Ok(Applied {
        transaction_blob,
        placement,
        update: ledger.finish(parent.last.as_ref().map(|last| &last.header))?,
        receipts,
    })
}

impl Applied {
    fn square(
        &self,
        candidates: &[Candidate],
        committer: &mut Committer,
    ) -> Result<Arc<CommittedSquare>, BlockError> {
        let blobs: Vec<_> = candidates.iter().flat_map(|c| c.blobs.iter().cloned()).collect();
        build_square(&self.placement, &self.transaction_blob, &blobs, committer).map(Arc::new)
    }

    fn into_valid(
        self,
        header: Header,
        parent: &Parent,
        transactions: &[Arc<VerifiedTransaction>],
        square: Option<Arc<CommittedSquare>>,
    ) -> ValidBlock {
        let block = Block {
            header,
            transactions: transactions.iter().map(|t| t.transaction().clone()).collect(),
            last_commit: parent.last.as_ref().map(|last| last.commit.clone()),
        };
        ValidBlock { block, square, placement: self.placement, update: self.update, receipts: self.receipts }
    }
}

/// `blobs` in transaction order, then blob order.
fn build_square(
    placement: &Placement,
    transaction_blob: &[u8],
    blobs: &[Arc<CheckedBlob>],
    committer: &mut Committer,
) -> Result<CommittedSquare, BlockError> {
    let missing = || BlockError::Square("a blob's bytes are missing".into());
    let ordered = placement
        .order
        .iter()
        .map(|&at| blobs.get(at).map(|blob| &blob.bytes()[..]).ok_or_else(missing))
        .collect::<Result<Vec<_>, _>>()?;
    let square = OriginalSquare::build(placement, transaction_blob, &ordered)
        .map_err(|error| BlockError::Square(error.to_string()))?;
    Ok(committer.commit(&square, placement.index.clone()))
}

/// Why a block is invalid. Its proposer is at fault, except for [`BlockError::UnknownRules`] and [`BlockError::State`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// A header field does not follow from the chain.
    #[error("header.{0} does not follow from the previous block")]
    Header(&'static str),
    /// A header came with the body of another proposal.
    #[error("the body is not the one that header.evidence_hash commits to")]
    Body,
    /// Not after the previous header.
    #[error("header.time must be after the previous header's")]
    Time,
    /// The proposer is no validator.
    #[error("the proposer is not in the validator set")]
    Proposer,
    /// The previous block's commit does not hold.
    #[error("last_commit: {0}")]
    LastCommit(String),
    /// The transactions are not those that the proposal names.
    #[error("the transactions are not those that the proposal names")]
    Transactions,
    /// A transaction is invalid in itself.
    #[error("a transaction is invalid: {0}")]
    Transaction(String),
    /// A transaction is invalid at its place.
    #[error("a transaction cannot be included: {0}")]
    Ledger(LedgerError),
    /// Over a limit.
    #[error("{what}: at most {limit} in a block, got {got}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// Allowed.
        limit: usize,
        /// Found.
        got: usize,
    },
    /// The blobs do not fit a square.
    #[error("square: {0}")]
    Square(String),
    /// The square has another root than the header.
    #[error("data_hash is not the data root of the block's square")]
    DataRoot,
    /// This build is too old to judge it, or to build one.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
    /// This node's storage failed.
    #[error(transparent)]
    State(#[from] StateError),
}

impl From<LedgerError> for BlockError {
    fn from(error: LedgerError) -> Self {
        match error {
            LedgerError::State(error) => Self::State(error),
            error => Self::Ledger(error),
        }
    }
}
