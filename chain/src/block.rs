//! Blocks: choosing transactions, arranging them in a square, and the checks that make a proposal valid.
//!
//! A proposer and a validator run the same steps: apply the transactions to the ledger, place their blobs,
//! commit the square, and compare (a validator) or fill in (a proposer) the header.

use std::sync::Arc;

use erasure::{CommittedSquare, Placement};
use tendermint::{
    Hash, Time, account,
    block::{Commit, Header},
};

use crate::{
    body::CheckedBlob,
    genesis::Genesis,
    ledger::{Ledger, LedgerError, Receipt},
    proposal::{Proposal, body_hash, transaction_list},
    square_builder::SquareBuilder,
    state::{State, StateError, StateStore, StateUpdate},
    succession::{Parent, check_header, expected_header},
    transaction::{
        KZG_CHUNKS_PER_BLOCK, NEW_VALIDATORS_PER_BLOCK, Transaction, VerifiedTransaction, blob_metas,
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

/// A block before its header: what takes long to build does not depend on the block's time.
#[derive(Debug)]
pub struct Draft {
    applied: Applied,
    transactions: Vec<Arc<VerifiedTransaction>>,
    square: Arc<CommittedSquare>,
    proposer: account::Id,
}

/// Arranges `chosen` in the next block's square.
pub fn draft<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    chosen: &[Candidate],
    proposer: account::Id,
    squares: &mut SquareBuilder,
) -> Result<Draft, BlockError> {
    let transactions: Vec<_> = chosen.iter().map(|c| c.transaction.clone()).collect();
    let applied = apply(genesis, parent, state, &transactions, &proposer)?;
    let square = applied.square(chosen, squares)?;
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

/// Builds the block of `chosen` at once.
pub fn propose<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    chosen: &[Candidate],
    proposer: account::Id,
    now: Time,
    squares: &mut SquareBuilder,
) -> Result<ValidBlock, BlockError> {
    draft(genesis, parent, state, chosen, proposer, squares)?.seal(genesis, parent, now)
}

/// Checks a proposal with everything in hand; `candidates` are its transactions in order.
pub fn validate<S: StateStore>(
    genesis: &Genesis,
    parent: &Parent,
    state: State<'_, S>,
    proposal: &Proposal,
    candidates: &[Candidate],
    squares: &mut SquareBuilder,
) -> Result<ValidBlock, BlockError> {
    check_header(genesis, parent, &proposal.header, &proposal.ids, proposal.last_commit.as_ref())?;
    if !proposal.ids.iter().eq(candidates.iter().map(|c| c.transaction.id()).collect::<Vec<_>>().iter()) {
        return Err(BlockError::Transactions);
    }
    let transactions: Vec<_> = candidates.iter().map(|c| c.transaction.clone()).collect();
    let applied = apply(genesis, parent, state, &transactions, &proposal.header.proposer_address)?;
    let square = applied.square(candidates, squares)?;
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
        squares: &mut SquareBuilder,
    ) -> Result<Arc<CommittedSquare>, BlockError> {
        squares.build(&self.placement, &self.transaction_blob, candidates)
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
