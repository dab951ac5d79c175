//! The pool: transactions with all their bodies, waiting for a block, and how each of them ended.
//!
//! | rule | |
//! | --- | --- |
//! | whole | admission leaves a transaction with all its bodies, or leaves no trace of it |
//! | funded | what an account's pooled transactions may cost together, it owns |
//! | bounded | bytes in all, bytes of one account, shares of one reservation |
//! | eviction | a full pool drops transactions with a lower tip per share than the newcomer's, the lowest first, among equals the latest; without any, the newcomer is refused; what a reservation paid for is worth more than any tip |
//! | replacement | same sender, salt and last height: the newcomer's cap and tip must both be 10 % higher |
//! | order | [`chain::precedence`]: what reservations paid for, then by tip per share, then what expires first |
//! | end | included, expired, replaced, evicted, or no longer paid for: each told with its reason |
//!
//! An account's pending charges saturate at the largest amount, which no balance reaches. Whoever waits for a status
//! watches [`Pool::changes`]. What has to survive a restart is returned as [`Changes`], for the database.

mod book;

use std::{
    collections::BTreeSet,
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use blob_api::{PoolAccountBody, SubmitError, TxRecord};
use chain::{
    Address, Amount, Candidate, CheckedBlob, Genesis, Height, Ledger, LedgerError, State, StateError,
    StateStore, Transaction, TxId, TxStatus, VerifiedTransaction,
};
use lru::LruCache;
use tokio::sync::watch;

use book::{Book, Worth, bytes, most, name};

/// How much the pool holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limits {
    /// Bytes of bodies and transactions in all.
    pub(crate) bytes: usize,
    /// Bytes that one account may have.
    pub(crate) account_bytes: usize,
}

impl Default for Limits {
    /// Sixteen full blocks of the default size, half of them one account's.
    fn default() -> Self {
        Self { bytes: 128 << 20, account_bytes: 64 << 20 }
    }
}

/// Ended transactions whose end is remembered.
const ENDED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// Bucketfuls that one reservation may have in the pool.
const RESERVATION_BUCKETS: u64 = 4;

/// Blocks' worth of shares that are offered to a proposer: some may turn out not to fit.
const OFFERED_BLOCKS: u64 = 2;

/// The node's pool, shared by API, network and consensus.
#[derive(Debug)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    limits: Limits,
    book: Book,
    ended: LruCache<TxId, TxRecord>,
    /// The height that the next block has.
    next: Height,
}

/// What changed in the pool.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Changes {
    /// The transaction that came, and its place in the order of arrival.
    pub(crate) added: Option<(TxId, u64)>,
    /// Those that left.
    pub(crate) removed: Vec<TxId>,
}

fn record(transaction: &VerifiedTransaction, status: TxStatus) -> TxRecord {
    let payload = transaction.payload();
    TxRecord {
        status,
        sender: transaction.sender(),
        valid_until: payload.valid_until,
        reserved: payload.reservation().is_some(),
        fee_cap: payload.fee_cap,
        tip: payload.tip,
        shares: transaction.shares(),
        charged: None,
        blobs: transaction.blobs().to_vec(),
        available_until: None,
    }
}

/// The least that replaces an offer of `old`: 10 % more.
fn ten_percent_more(old: u64) -> u64 {
    u64::try_from((u128::from(old) * 11).div_ceil(10)).unwrap_or(u64::MAX)
}

impl Inner {
    fn end(&mut self, id: &TxId, status: TxStatus, changes: &mut Changes) {
        if let Some(entry) = self.book.remove(id) {
            self.ended.put(*id, record(entry.transaction(), status));
            changes.removed.push(*id);
        }
    }

    /// The transaction of the same name that `transaction` may replace.
    fn replaced(&self, transaction: &VerifiedTransaction) -> Result<Option<&book::Entry>, SubmitError> {
        let Some(old) = self.book.named(&name(transaction)) else { return Ok(None) };
        let (new, offered) = (transaction.payload(), old.transaction().payload());
        let stands = |why: &str| {
            let message = format!(
                "salt: transaction {} has the same salt and last height, and {why}; use another salt",
                old.transaction().id()
            );
            Err(SubmitError::invalid("salt", message))
        };
        let (cap, tip) = (ten_percent_more(offered.fee_cap), ten_percent_more(offered.tip));
        let short = |field: &str, least: u64, got: u64| {
            let message = format!(
                "{field}: transaction {} has the same salt and last height; what replaces it offers at least 10 % more, \
                 {least}",
                old.transaction().id()
            );
            Err(SubmitError::invalid(field, message).bounds(least, got))
        };
        match () {
            () if old.included.is_some() => stands("is in a block that is being decided"),
            () if old.worth.0 => stands("a reservation pays for it: there is no higher offer"),
            () if new.fee_cap < cap => short("fee_cap", cap, new.fee_cap),
            () if new.tip < tip => short("tip", tip, new.tip),
            () => Ok(Some(old)),
        }
    }

    /// Transactions that are worth less and leave room for `bytes` beside what `replaced` leaves, the worst first.
    fn victims(
        &self,
        worth: Worth,
        bytes: usize,
        replaced: Option<&book::Entry>,
    ) -> Result<Vec<TxId>, SubmitError> {
        let limit = self.limits.bytes;
        let mut held = self.book.bytes - replaced.map_or(0, book::Entry::bytes);
        let mut victims = Vec::new();
        let stays = |entry: &&book::Entry| {
            entry.included.is_none() && replaced.is_none_or(|old| old.arrival != entry.arrival)
        };
        let mut worst = self.book.worst_first().filter(stays);
        while held + bytes > limit {
            match worst.next() {
                Some(entry) if entry.worth < worth => {
                    held -= entry.bytes();
                    victims.push(entry.transaction().id());
                }
                Some(entry) => {
                    let lowest_tip = entry.worth.1;
                    return Err(SubmitError::PoolFull { limit: limit as u64, lowest_tip });
                }
                None => return Err(SubmitError::PoolFull { limit: limit as u64, lowest_tip: worth.1 }),
            }
        }
        Ok(victims)
    }

    fn admit(&mut self, candidate: Candidate, worth: Worth, balance: Amount) -> Result<Changes, SubmitError> {
        let transaction = candidate.transaction().clone();
        let (id, sender, limits) = (transaction.id(), transaction.sender(), self.limits);
        if self.book.contains(&id) {
            return Err(SubmitError::Duplicate { id });
        }
        let replaced = self.replaced(&transaction)?;
        let (freed, freed_bytes) = replaced.map_or((0, 0), |old| (most(old.transaction()), old.bytes()));
        let (pending, account_bytes) =
            self.book.account(&sender).map_or((0, 0), |account| (account.pending, account.bytes));
        let (pending, needed) = (pending - freed.min(pending), most(&transaction));
        if pending.saturating_add(needed) > balance {
            return Err(SubmitError::Underfunded { balance, pending, needed });
        }
        let bytes = bytes(&candidate);
        if account_bytes - freed_bytes + bytes > limits.account_bytes {
            return Err(SubmitError::AccountFull { limit: limits.account_bytes as u64 });
        }
        let victims = self.victims(worth, bytes, replaced)?;
        let replaced = replaced.map(|old| old.transaction().id());
        let mut changes = Changes::default();
        if let Some(old) = replaced {
            self.end(&old, TxStatus::Replaced { by: id }, &mut changes);
        }
        for victim in &victims {
            let reason =
                format!("left a full pool to transactions with a higher tip, of {} nano per share", worth.1);
            self.end(victim, TxStatus::Evicted { reason }, &mut changes);
        }
        self.ended.pop(&id);
        changes.added = Some((id, self.book.insert(candidate, worth)));
        Ok(changes)
    }

    /// Drops what an account does not cover any more, the worst first.
    fn cover(&mut self, account: Address, balance: Amount, changes: &mut Changes) {
        while let Some(pending) = self.book.account(&account).map(|account| account.pending)
            && pending > balance
        {
            let Some(worst) = self.book.worst_of(&account).next().map(|entry| entry.transaction().id())
            else {
                return;
            };
            let reason = format!(
                "the account's balance fell to {balance} nano, its pooled transactions could cost {pending}"
            );
            self.end(&worst, TxStatus::Rejected { reason }, changes);
        }
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new(Limits::default())
    }
}

impl Pool {
    /// An empty pool.
    pub(crate) fn new(limits: Limits) -> Self {
        let inner = Inner { limits, book: Book::default(), ended: LruCache::new(ENDED), next: 0 };
        Self { inner: Mutex::new(inner), changes: watch::Sender::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn changed(&self) {
        self.changes.send_modify(|count| *count += 1);
    }

    /// Moves whenever a transaction's status does.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Admits a transaction that the block after `state` could hold. `state` is the latest: no block may be decided
    /// before this returns.
    pub(crate) fn admit<S: StateStore>(
        &self,
        candidate: Candidate,
        genesis: &Genesis,
        state: State<'_, S>,
    ) -> Result<Changes, SubmitError> {
        let transaction = candidate.transaction();
        if self.lock().book.contains(&transaction.id()) {
            return Err(SubmitError::Duplicate { id: transaction.id() });
        }
        let unavailable = |error: StateError| SubmitError::Unavailable(error.to_string());
        let receipt = Ledger::new(state, genesis).map_err(unavailable)?.check(transaction)?;
        if let Some(id) = receipt.reservation {
            let depth =
                state.reservation(&id).map_err(unavailable)?.map_or(0, |reservation| reservation.depth());
            let limit = depth.saturating_mul(RESERVATION_BUCKETS);
            if self.lock().book.reserved_shares(&id).saturating_add(receipt.shares) > limit {
                return Err(SubmitError::ReservationFull { limit });
            }
        }
        let worth = (receipt.reservation.is_some(), receipt.tip);
        let balance = state.balance(&transaction.sender()).map_err(unavailable)?;
        let changes = self.lock().admit(candidate, worth, balance)?;
        self.changed();
        Ok(changes)
    }

    /// Takes back a transaction that was pooled before a restart, unless no block can hold it any more.
    pub(crate) fn restore<S: StateStore>(
        &self,
        candidate: Candidate,
        genesis: &Genesis,
        state: State<'_, S>,
    ) -> Result<Result<Changes, SubmitError>, StateError> {
        let transaction = candidate.transaction();
        let payload = transaction.payload();
        let worth = match Ledger::new(state, genesis)?.check(transaction) {
            Ok(receipt) => (receipt.reservation.is_some(), receipt.tip),
            Err(LedgerError::State(error)) => return Err(error),
            Err(error) if error.may_pass() => (payload.reservation().is_some(), payload.tip),
            Err(error) => return Ok(Err(error.into())),
        };
        let balance = state.balance(&transaction.sender())?;
        Ok(self.lock().admit(candidate, worth, balance))
    }

    /// What the next proposer may choose from, in the order of [`chain::precedence`]. Of what pays this base fee not
    /// much more than fits blocks of `capacity` shares; of what reservations paid for all, which the reservations bound:
    /// some may have to wait for tokens, and others then go ahead of them.
    pub(crate) fn candidates(&self, base_fee: u64, capacity: u64) -> Vec<Candidate> {
        let inner = self.lock();
        let mut payable: Vec<_> = inner
            .book
            .entries()
            .filter(|entry| {
                let payload = entry.transaction().payload();
                payload.reservation().is_some() || payload.fee_cap >= base_fee
            })
            .collect();
        payable.sort_by_cached_key(|entry| chain::precedence(entry.transaction(), base_fee));
        let mut shares = 0;
        payable
            .into_iter()
            .take_while(|entry| {
                let transaction = entry.transaction();
                let on_demand = transaction.payload().reservation().is_none();
                shares += if on_demand { transaction.shares() } else { 0 };
                shares <= capacity.saturating_mul(OFFERED_BLOCKS)
            })
            .map(|entry| entry.candidate.clone())
            .collect()
    }

    /// One transaction with its bodies.
    pub(crate) fn get(&self, id: &TxId) -> Option<Candidate> {
        self.lock().book.get(id).map(|entry| entry.candidate.clone())
    }

    /// Whether the transaction is here, or ended here.
    pub(crate) fn knows(&self, id: &TxId) -> bool {
        let inner = self.lock();
        inner.book.contains(id) || inner.ended.contains(id)
    }

    /// The body with this commitment, of a pooled transaction.
    pub(crate) fn body(&self, commitment: &[u8; 32]) -> Option<Arc<CheckedBlob>> {
        self.lock().book.body(commitment).cloned()
    }

    /// Whether some transaction would pay `base_fee` now, or has paid.
    pub(crate) fn has_work(&self, base_fee: u64) -> bool {
        let inner = self.lock();
        inner.book.highest_cap().is_some_and(|cap| cap >= base_fee) || inner.book.reserved().next().is_some()
    }

    /// Goes on counting arrivals after those of an earlier run.
    pub(crate) fn resume_after(&self, arrival: u64) {
        self.lock().book.resume_after(arrival);
    }

    /// Drops a transaction that no block can hold as things are.
    pub(crate) fn reject(&self, id: &TxId, reason: &LedgerError) -> Changes {
        let mut changes = Changes::default();
        self.lock().end(id, TxStatus::Rejected { reason: reason.to_string() }, &mut changes);
        self.changed();
        changes
    }

    /// Transactions and bytes held.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.book.len(), inner.book.bytes)
    }

    /// The most that an account's pooled transactions may cost.
    pub(crate) fn pending(&self, account: Address) -> Amount {
        self.lock().book.account(&account).map_or(0, |account| account.pending)
    }

    /// What each account has in the pool.
    pub(crate) fn accounts(&self) -> Vec<PoolAccountBody> {
        let inner = self.lock();
        inner
            .book
            .accounts()
            .map(|(address, account)| PoolAccountBody {
                address: *address,
                transactions: account.transactions() as u64,
                bytes: account.bytes as u64,
                pending: account.pending,
            })
            .collect()
    }

    /// Transactions that have waited for this long, in order of arrival.
    pub(crate) fn waiting_for(&self, time: Duration) -> Vec<TxId> {
        let inner = self.lock();
        let waiting = inner.book.entries().filter(|entry| entry.since.elapsed() >= time);
        let ordered: BTreeSet<_> = waiting.map(|entry| (entry.arrival, entry.transaction().id())).collect();
        ordered.into_iter().map(|(_, id)| id).collect()
    }

    /// A pooled or lately ended transaction.
    pub(crate) fn record(&self, id: &TxId) -> Option<TxRecord> {
        let inner = self.lock();
        if let Some(entry) = inner.book.get(id) {
            let status = entry.included.map_or(TxStatus::Pooled, |height| TxStatus::Included { height });
            return Some(record(entry.transaction(), status));
        }
        let mut record = inner.ended.peek(id).cloned()?;
        // What left this pool may have been included by others, until it could not be any more.
        if record.valid_until < inner.next && !record.status.is_settled() {
            record.status = TxStatus::Expired;
        }
        Some(record)
    }

    /// Marks the transactions of a valid proposal.
    pub(crate) fn include(&self, height: Height, ids: impl IntoIterator<Item = TxId>) {
        {
            let mut inner = self.lock();
            for id in ids {
                inner.book.include(id, height);
            }
        }
        self.changed();
    }

    /// Drops what the decided block holds, and what no later block can: expired, replaced or unpaid transactions.
    pub(crate) fn decided<S: StateStore>(
        &self,
        block: &[(TxId, &Transaction)],
        genesis: &Genesis,
        state: State<'_, S>,
    ) -> Result<Changes, StateError> {
        let mut changes = Changes::default();
        let ledger = Ledger::new(state, genesis)?;
        {
            let mut inner = self.lock();
            inner.next = state.version() + 1;
            inner.book.clear_included();
            let mut senders = BTreeSet::new();
            for (id, transaction) in block {
                let payload = &transaction.payload;
                senders.insert(payload.sender);
                if inner.book.remove(id).is_some() {
                    changes.removed.push(*id);
                }
                let rival = inner.book.named(&(payload.sender, payload.salt, payload.valid_until));
                if let Some(rival) = rival.map(|entry| entry.transaction().id()) {
                    inner.end(&rival, TxStatus::Replaced { by: *id }, &mut changes);
                }
            }
            for id in inner.book.expired(state.version() + 1) {
                inner.end(&id, TxStatus::Expired, &mut changes);
            }
            for sender in senders {
                if inner.book.account(&sender).is_some() {
                    inner.cover(sender, state.balance(&sender)?, &mut changes);
                }
            }
            // A reservation may have ended.
            let check = |entry: &book::Entry| ledger.check(entry.transaction()).err();
            let broken: Vec<_> = inner
                .book
                .reserved()
                .filter_map(|entry| check(entry).map(|error| (entry.transaction().id(), error)))
                .filter(|(_, error)| !error.may_pass())
                .collect();
            for (id, error) in broken {
                inner.end(&id, TxStatus::Rejected { reason: error.to_string() }, &mut changes);
            }
        }
        self.changed();
        Ok(changes)
    }
}

#[cfg(test)]
mod tests;
