//! The node's heart: what consensus, API and network share, and the order in which a block becomes history.

use std::{
    collections::{BTreeSet, HashMap},
    num::NonZeroUsize,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use blob_api::{SubmitError, check_submission};
use chain::{
    Block, Candidate, Certificate, Domain, Draft, Genesis, Height, LightBlock, Parent, Proposal,
    SquareBuilder, State, Submission, TxId, ValidBlock, validate_decided,
};
use erasure::{CommittedSquare, DataRootParts, IndexEntry, OriginalSquare, SHARE_BYTES};
use tendermint::{
    Hash, Time, account,
    block::{Commit, signed_header::SignedHeader},
};
use tokio::sync::{Notify, watch};

use crate::{
    ahead::Ahead,
    fraud::Frauds,
    market::Market,
    metrics::{Metrics, Stage},
    pool::{Changes, Pool},
    squares::Squares,
    storage::{Pooled, Store, StoreError},
};

/// Threads that commit a square. Every validator waits for it before it votes; more would take cores from what
/// else a node does.
const COMMIT_THREADS: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

/// Everything that the node's parts share.
#[derive(Debug)]
pub(crate) struct Node {
    /// The chain's beginning.
    pub(crate) genesis: Genesis,
    /// What its signatures are bound to.
    pub(crate) domain: Domain,
    /// The database.
    pub(crate) store: Store,
    /// Waiting transactions.
    pub(crate) pool: Pool,
    /// Prices.
    pub(crate) market: Market,
    /// Held while the pool changes, so that the database sees changes in their order, and no block is decided between
    /// a transaction's check and its admission.
    pool_turn: Mutex<()>,
    /// Squares lately used, ready to serve.
    pub(crate) squares: Squares,
    /// What is measured.
    pub(crate) metrics: Metrics,
    /// Proofs that a block of this chain is wrong.
    pub(crate) frauds: Frauds,
    /// The newest version of the rules that this build knows.
    pub(crate) newest_rules: u64,
    head: watch::Sender<Arc<Parent>>,
    /// Builds squares in the memory of those that nobody uses any more.
    builder: Mutex<SquareBuilder>,
    /// The next square, built before its proposal comes.
    ahead: Mutex<Ahead<CommittedSquare>>,
    valid: Mutex<HashMap<Hash, Arc<ValidBlock>>>,
    missing: Mutex<BTreeSet<Height>>,
    missing_changed: Notify,
    certified: watch::Sender<Height>,
    failure: watch::Sender<Option<String>>,
}

/// Why the node cannot go on, or a block is not its own.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum NodeError {
    /// The database failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Genesis cannot be used.
    #[error(transparent)]
    Genesis(#[from] chain::GenesisError),
    /// A stored or decided block breaks a rule: this node's rules differ from the network's.
    #[error("block {height} breaks a rule: {error}")]
    Rule {
        /// Which block.
        height: Height,
        /// Which rule.
        error: chain::BlockError,
    },
    /// Decided, but never seen here.
    #[error("block {0} was decided, but this node holds neither its transactions nor its square")]
    Unseen(Height),
    /// A thread ended before its work.
    #[error("a task of the node ended early: {0}")]
    Task(String),
    /// Decided with other transactions than its square holds: more than a third of the voting power lied, in a way
    /// that no fraud proof shows.
    #[error(
        "block {0} was decided with other transactions than its square holds: the balances of this chain cannot be \
         relied on; see docs/fraud-runbook.md"
    )]
    OtherTransactions(Height),
    /// Repair contradicts itself in a way that proves nothing: this node's code is at fault.
    #[error("block {0} contradicts itself, but no proof shows it")]
    Unproven(Height),
    /// The record of what this node attested failed, or cannot be read.
    #[error("the record of attested blocks: {0}")]
    Guard(consensus::GuardError),
    /// A header and a commit that do not belong together.
    #[error("the commit of block {0} is not for its header")]
    Commit(Height),
}

impl Node {
    /// Opens the node on its database.
    pub(crate) fn open(
        genesis: Genesis,
        store: Store,
        metrics: Metrics,
        newest_rules: u64,
    ) -> Result<Self, NodeError> {
        let tip = store.tip()?;
        let parent = Self::parent_of(&store, tip, newest_rules)?;
        metrics.rules(&parent);
        tell_of_upgrade(&parent);
        let frauds = Frauds::load(&store)?;
        let mut missing = store.missing()?;
        missing.retain(|height| !frauds.judged().contains(height));
        metrics.height.set(tip as i64);
        let market = Market::open(&store, tip)?;
        let certified = store.certified()?;
        metrics.certified_height.set(certified as i64);
        let node = Self {
            domain: genesis.domain(),
            genesis,
            store,
            pool: Pool::default(),
            market,
            pool_turn: Mutex::default(),
            squares: Squares::default(),
            metrics,
            frauds,
            newest_rules,
            head: watch::Sender::new(Arc::new(parent)),
            builder: Mutex::new(SquareBuilder::new(COMMIT_THREADS)),
            ahead: Mutex::default(),
            valid: Mutex::default(),
            missing: Mutex::new(missing),
            missing_changed: Notify::new(),
            certified: watch::Sender::new(certified),
            failure: watch::Sender::new(None),
        };
        node.restore_pool()?;
        Ok(node)
    }

    /// Takes back what was pooled when the node last ran, but for what no block can hold any more.
    fn restore_pool(&self) -> Result<(), StoreError> {
        let pooled = self.store.pooled()?;
        if let Some(last) = pooled.last() {
            self.pool.resume_after(last.arrival);
        }
        for Pooled { id, submission, .. } in &pooled {
            let candidate = Submission::decode(submission)
                .map_err(SubmitError::from)
                .and_then(|submission| check_submission(submission, &self.domain, &self.genesis.parameters))
                .map(|(transaction, blobs)| {
                    Candidate::new(Arc::new(transaction), blobs.into_iter().map(Arc::new).collect())
                });
            let removed = match candidate.ok().flatten() {
                Some(candidate) => match self.pool.restore(candidate, &self.genesis, self.state())? {
                    Ok(changes) => changes.removed,
                    Err(_) => vec![*id],
                },
                None => vec![*id],
            };
            self.store.change_pool(None, &removed)?;
        }
        let (transactions, bytes) = self.pool.size();
        self.metrics.pool_size(transactions, bytes);
        if !pooled.is_empty() {
            tracing::info!(transactions, of = pooled.len(), bytes, "pool restored");
        }
        Ok(())
    }

    fn pool_turn(&self) -> MutexGuard<'_, ()> {
        self.pool_turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn parent_of(store: &Store, tip: Height, newest_rules: u64) -> Result<Parent, NodeError> {
        let last = match tip {
            0 => None,
            tip => Some(store.light_block(tip)?.ok_or(StoreError::Corrupt("block"))?.signed_header),
        };
        Ok(Parent::new(State::at(store, tip), last, newest_rules).map_err(StoreError::from)?)
    }

    /// Stops the node: its disk or its rules cannot be relied on.
    pub(crate) fn fail(&self, error: &dyn std::fmt::Display) {
        tracing::error!(%error, "the node cannot go on");
        self.failure.send_replace(Some(error.to_string()));
    }

    /// Resolves with the reason when the node has to stop.
    pub(crate) async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => "the node is gone".into(),
        }
    }

    /// Admits a transaction to the pool, if the next block could hold it, and keeps it across restarts. Writes its
    /// bodies: not for an async thread.
    pub(crate) fn admit(&self, candidate: Candidate) -> Result<TxId, SubmitError> {
        let id = candidate.transaction().id();
        let submission = Submission {
            transaction: candidate.transaction().transaction().clone(),
            bodies: candidate.blobs().iter().map(|blob| blob.bytes().to_vec()).collect(),
        }
        .encode();
        let _in_turn = self.pool_turn();
        let Changes { added, removed } = self.pool.admit(candidate, &self.genesis, self.state())?;
        let pooled = added.map(|(id, arrival)| Pooled { id, arrival, submission });
        if let Err(error) = self.store.change_pool(pooled.as_ref(), &removed) {
            self.fail(&error);
            return Err(SubmitError::Unavailable(error.to_string()));
        }
        let (transactions, bytes) = self.pool.size();
        self.metrics.pool_size(transactions, bytes);
        Ok(id)
    }

    /// What the next block builds on.
    pub(crate) fn head(&self) -> Arc<Parent> {
        self.head.borrow().clone()
    }

    /// Tells of every new head.
    pub(crate) fn heads(&self) -> watch::Receiver<Arc<Parent>> {
        self.head.subscribe()
    }

    /// The latest committed height.
    pub(crate) fn tip(&self) -> Height {
        self.head().next_height() - 1
    }

    /// The state after the latest block.
    pub(crate) fn state(&self) -> State<'_, Store> {
        State::at(&self.store, self.tip())
    }

    /// The state that a block after `parent` builds on.
    fn state_of(&self, parent: &Parent) -> State<'_, Store> {
        State::at(&self.store, parent.next_height() - 1)
    }

    /// Base fee per share of the next block.
    pub(crate) fn base_fee(&self) -> Result<u64, chain::StateError> {
        Ok(self.genesis.fee_rules().base_fee(self.market.excess()))
    }

    /// The light block at `height`.
    pub(crate) fn light_block(&self, height: Height) -> Result<Option<LightBlock>, StoreError> {
        self.store.light_block(height)
    }

    fn valid(&self) -> MutexGuard<'_, HashMap<Hash, Arc<ValidBlock>>> {
        self.valid.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ahead(&self) -> MutexGuard<'_, Ahead<CommittedSquare>> {
        self.ahead.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn builder(&self) -> MutexGuard<'_, SquareBuilder> {
        self.builder.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Holds a square ready. Those that make place for it, and are not in use, give their memory to the next block.
    fn serve(&self, height: Height, square: Arc<CommittedSquare>) {
        let gone = self.squares.insert(height, square);
        gone.into_iter().for_each(|square| self.builder().recycle(square));
    }

    /// Keeps a block that may be decided, on disk and at hand; `square` is written with it.
    fn keep(
        &self,
        valid: ValidBlock,
        square: Option<&CommittedSquare>,
    ) -> Result<Arc<ValidBlock>, NodeError> {
        self.metrics.timed(Stage::Store, || self.store.put_candidate(&valid, square))?;
        tracing::trace!(height = %valid.block.header.height, "candidate stored");
        let valid = Arc::new(valid);
        self.valid().insert(valid.block.header.hash(), valid.clone());
        Ok(valid)
    }

    /// What the next block holds, if the pool stays as it is.
    fn choose(&self, parent: &Parent, proposer: account::Id) -> Result<Vec<Candidate>, NodeError> {
        let rules = self.genesis.fee_rules();
        let candidates = self.pool.candidates(rules.base_fee(self.market.excess()), rules.capacity);
        let select = || chain::select(&self.genesis, self.state_of(parent), &proposer, &candidates);
        let selected = self.metrics.timed(Stage::Select, select).map_err(StoreError::from)?;
        for (id, reason) in selected.refused.iter().filter(|(_, reason)| !reason.may_pass()) {
            let _in_turn = self.pool_turn();
            self.store.change_pool(None, &self.pool.reject(id, reason).removed)?;
        }
        Ok(selected.chosen)
    }

    /// Arranges the next block and writes its square.
    fn arrange(
        &self,
        parent: &Parent,
        chosen: &[Candidate],
        proposer: account::Id,
    ) -> Result<Draft, NodeError> {
        let height = parent.next_height();
        let build = || {
            let squares = &mut self.builder();
            chain::draft(&self.genesis, parent, self.state_of(parent), chosen, proposer, squares)
        };
        let draft =
            self.metrics.timed(Stage::Build, build).map_err(|error| NodeError::Rule { height, error })?;
        self.metrics.timed(Stage::Store, || self.store.put_undecided_square(height, draft.square()))?;
        tracing::trace!(height, "square stored");
        Ok(draft)
    }

    /// Has the next block's square ready, should its proposer choose what this node would, unless that came to nothing
    /// lately. Takes as long as extending a square: not for an async thread.
    pub(crate) fn prepare(&self, proposer: account::Id) -> Result<(), NodeError> {
        if !self.ahead().pays() {
            return Ok(());
        }
        let parent = self.head();
        let chosen = self.choose(&parent, proposer)?;
        let draft = self.arrange(&parent, &chosen, proposer)?;
        self.ahead().built(draft.square().clone());
        Ok(())
    }

    /// Arranges the next block from the pool and writes its square. As slow as [`Self::prepare`], unless that went
    /// before.
    pub(crate) fn draft(&self, proposer: account::Id) -> Result<Draft, NodeError> {
        let parent = self.head();
        let mut chosen = self.choose(&parent, proposer)?;
        {
            // Others have to be able to ask for all that the block holds, until it is decided.
            let _in_turn = self.pool_turn();
            chosen.retain(|candidate| self.pool.get(&candidate.transaction().id()).is_some());
            let ids = chosen.iter().map(|candidate| candidate.transaction().id());
            self.pool.include(parent.next_height(), ids);
        }
        self.arrange(&parent, &chosen, proposer)
    }

    /// Dates the block of `draft`, which was made since the latest block.
    pub(crate) fn seal(&self, draft: Draft, now: Time) -> Result<Arc<ValidBlock>, NodeError> {
        let parent = self.head();
        let height = parent.next_height();
        let valid =
            draft.seal(&self.genesis, &parent, now).map_err(|error| NodeError::Rule { height, error })?;
        self.keep(valid, None)
    }

    /// Judges a proposal with all of its transactions in hand. Rebuilds the square: not for an async thread.
    pub(crate) fn validate(
        &self,
        proposal: &Proposal,
        candidates: &[Candidate],
    ) -> Result<Arc<ValidBlock>, NodeError> {
        if let Some(valid) = self.valid().get(&proposal.header.hash()).filter(|valid| valid.square.is_some())
        {
            return Ok(valid.clone());
        }
        let parent = self.head();
        let height = parent.next_height();
        let check = || {
            let squares = &mut self.builder();
            chain::validate(&self.genesis, &parent, self.state_of(&parent), proposal, candidates, squares)
        };
        let valid =
            self.metrics.timed(Stage::Validate, check).map_err(|error| NodeError::Rule { height, error })?;
        self.pool.include(height, proposal.ids.iter().copied());
        let square = valid.square.clone();
        if square.as_ref().is_some_and(|square| self.ahead().proposed(square)) {
            self.metrics.proposals_prepared.inc();
        }
        self.keep(valid, square.as_deref())
    }

    /// Accepts a block that others decided, by header and transactions; the square is fetched later.
    pub(crate) fn accept_decided(&self, block: &Block) -> Result<Arc<ValidBlock>, NodeError> {
        let parent = self.head();
        let height = parent.next_height();
        let valid = validate_decided(&self.genesis, &parent, self.state_of(&parent), block)
            .map_err(|error| NodeError::Rule { height, error })?;
        self.keep(valid, None)
    }

    /// The decided block as this node validated it, before a restart or after.
    fn decided(&self, height: Height, header: Hash) -> Result<Arc<ValidBlock>, NodeError> {
        if let Some(valid) = self.valid().get(&header) {
            return Ok(valid.clone());
        }
        let block = self.store.candidate(height, header.as_bytes())?.ok_or(NodeError::Unseen(height))?;
        let mut valid = validate_decided(&self.genesis, &self.head(), self.state(), &block)
            .map_err(|error| NodeError::Rule { height, error })?;
        valid.square = self.stored_square(height, &valid)?.map(Arc::new);
        Ok(Arc::new(valid))
    }

    /// The square that was written before this node voted, if it did.
    fn stored_square(
        &self,
        height: Height,
        valid: &ValidBlock,
    ) -> Result<Option<CommittedSquare>, StoreError> {
        let Some(Hash::Sha256(data_root)) = valid.block.header.data_hash else { return Ok(None) };
        let width = valid.placement.width;
        let Some(shares) = self.store.shares(height, &data_root, width, 0, width.shares() as u32)? else {
            return Ok(None);
        };
        let Ok(original) = OriginalSquare::from_shares(width, &shares) else { return Ok(None) };
        let square = original.commit(valid.placement.index.clone());
        Ok((square.data_root() == data_root).then_some(square))
    }

    /// Makes a decided block history: durable first, then visible to everybody else.
    pub(crate) fn commit(
        &self,
        height: Height,
        header: Hash,
        commit: Commit,
    ) -> Result<Arc<ValidBlock>, NodeError> {
        let valid = self.decided(height, header)?;
        let market = self.market.next(&valid);
        self.store.put_market(&market)?;
        self.store.put_validators(&self.head().next_validators)?;
        tracing::trace!(height, "market stored");
        self.metrics.timed(Stage::Commit, || self.store.commit_block(&valid, &commit))?;
        tracing::trace!(height, "block stored");
        match &valid.square {
            Some(square) => self.serve(height, square.clone()),
            None => {
                self.missing().insert(height);
                self.missing_changed.notify_one();
            }
        }
        let last =
            SignedHeader::new(valid.block.header.clone(), commit).map_err(|_| NodeError::Commit(height))?;
        self.valid().clear();
        let excess = State::at(&self.store, height).excess()?;
        let in_turn = self.pool_turn();
        self.market.advance(market, excess);
        let parent = Parent::new(State::at(&self.store, height), Some(last), self.newest_rules)
            .map_err(StoreError::from)?;
        self.metrics.rules(&parent);
        if parent.upgrade != self.head().upgrade {
            tell_of_upgrade(&parent);
        }
        self.head.send_replace(Arc::new(parent));
        let included: Vec<_> =
            valid.receipts.iter().map(|receipt| receipt.id).zip(&valid.block.transactions).collect();
        let changes = self.pool.decided(&included, &self.genesis, self.state())?;
        self.store.change_pool(None, &changes.removed)?;
        drop(in_turn);
        self.metrics.committed(&valid, self.pool.size());
        Ok(valid)
    }

    /// A commit with more signatures for the latest block: the next block carries it.
    pub(crate) fn improve_commit(&self, height: Height, commit: &Commit) -> Result<(), NodeError> {
        let head = self.head();
        let Some(last) = head.last.as_ref().filter(|last| last.header.height.value() == height) else {
            return Ok(());
        };
        let last =
            SignedHeader::new(last.header.clone(), commit.clone()).map_err(|_| NodeError::Commit(height))?;
        self.store.put_commit(height, commit)?;
        self.head.send_replace(Arc::new(Parent { last: Some(last), ..(*head).clone() }));
        Ok(())
    }

    /// Keeps a certificate that was verified, and tells those who wait for it.
    pub(crate) fn keep_certificate(&self, certificate: &Certificate) -> Result<(), StoreError> {
        if !self.store.put_certificate(certificate)? {
            return Ok(());
        }
        self.metrics.certificates.inc();
        self.certified.send_if_modified(|latest| {
            let is_later = certificate.data.height > *latest;
            *latest = certificate.data.height.max(*latest);
            is_later
        });
        self.metrics.certified_height.set(*self.certified.borrow() as i64);
        Ok(())
    }

    /// Tells of the latest height with a certificate.
    pub(crate) fn certified(&self) -> watch::Receiver<Height> {
        self.certified.subscribe()
    }

    /// Whether the square of a committed block is here, or was.
    pub(crate) fn has_square(&self, height: Height) -> bool {
        !self.missing().contains(&height)
    }

    fn missing(&self) -> MutexGuard<'_, BTreeSet<Height>> {
        self.missing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves with the latest height whose square is not here.
    pub(crate) async fn next_missing(&self) -> Height {
        loop {
            let changed = self.missing_changed.notified();
            let latest = self.missing().last().copied();
            match latest {
                Some(height) => return height,
                None => changed.await,
            }
        }
    }

    /// The latest height below `height` whose square is not here.
    pub(crate) fn next_missing_below(&self, height: Height) -> Option<Height> {
        self.missing().range(..height).next_back().copied()
    }

    /// Keeps the square of a block that was committed without it; its root has been compared.
    pub(crate) fn backfill(&self, height: Height, square: Arc<CommittedSquare>) -> Result<(), StoreError> {
        self.store.backfill(height, &square)?;
        self.serve(height, square);
        self.missing().remove(&height);
        Ok(())
    }

    /// The block at `height` with its places, as needed to rebuild its square.
    pub(crate) fn placed(&self, height: Height) -> Result<Option<(Block, erasure::Placement)>, NodeError> {
        let Some(block) = self.store.block(height)? else { return Ok(None) };
        let placement =
            chain::place(&self.genesis, &block).map_err(|error| NodeError::Rule { height, error })?;
        Ok(Some((block, placement)))
    }

    /// Drops the squares up to a height.
    pub(crate) fn prune(&self, up_to: Height) -> Result<(), StoreError> {
        self.store.prune_squares(up_to)?;
        let mut missing = self.missing();
        *missing = missing.split_off(&(up_to + 1));
        Ok(())
    }

    /// Bytes `range` of a blob from the database; `None` once its square was dropped.
    pub(crate) fn blob_bytes(
        &self,
        height: Height,
        parts: &DataRootParts,
        entry: &IndexEntry,
        range: Range<u64>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let share = SHARE_BYTES as u64;
        let (first, end) = (range.start / share, range.end.min(entry.len).div_ceil(share));
        let (start, count) = (entry.start + first as u32, end.saturating_sub(first) as u32);
        let Some(mut bytes) = self.store.shares(height, &parts.data_root(), parts.width, start, count)?
        else {
            return Ok(None);
        };
        bytes.truncate((range.end.min(entry.len) - first * share) as usize);
        bytes.drain(..(range.start - first * share) as usize);
        Ok(Some(bytes))
    }

    /// The block's square, from memory or rebuilt from the database; `None` while it is not
    /// here, and once it was dropped. Not for an async thread.
    pub(crate) fn square(&self, height: Height) -> Result<Option<Arc<CommittedSquare>>, StoreError> {
        if height <= self.store.pruned() {
            return Ok(None);
        }
        self.squares.get_or_load(height, || {
            let Some((parts, index)) = self.store.index(height)? else { return Ok(None) };
            let data_root = parts.data_root();
            let shares =
                self.store.shares(height, &data_root, parts.width, 0, parts.width.shares() as u32)?;
            let Some(shares) = shares else { return Ok(None) };
            let original = OriginalSquare::from_shares(parts.width, &shares)
                .map_err(|_| StoreError::Corrupt("square"))?;
            let square = original.commit(index);
            if square.data_root() != data_root {
                return Err(StoreError::Corrupt("square"));
            }
            Ok(Some(Arc::new(square)))
        })
    }
}

/// Says what is agreed on and still to come, and what that means for this build.
fn tell_of_upgrade(parent: &Parent) {
    let Parent { upgrade, newest_rules, .. } = parent;
    if parent.next_height() >= upgrade.height {
        return;
    }
    if upgrade.version > *newest_rules {
        tracing::warn!(
            newest_rules,
            "rules {upgrade} are agreed on, and this build does not know them: it stops before that height; install a \
             newer build until then"
        );
    } else {
        tracing::info!("rules {upgrade} are agreed on; this build knows them");
    }
}

#[cfg(test)]
mod tests;
