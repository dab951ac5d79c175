//! The pool: transactions with all their bodies, waiting for a block, and how each of them ended.
//!
//! Admission leaves a transaction whole or leaves no trace. An account's pooled transactions may not cost more
//! than it owns; the pool as a whole has a byte limit. Whoever waits for a status watches [`Pool::changes`].

use std::{
    collections::{BTreeMap, HashMap, hash_map},
    num::NonZeroUsize,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use blob_api::{SubmitError, TxRecord};
use chain::{
    Action, Address, Amount, Candidate, CheckedBlob, Genesis, Height, Ledger, LedgerError, State, StateStore,
    TxId, TxStatus, VerifiedTransaction,
};
use lru::LruCache;
use tokio::sync::watch;

/// Bytes of bodies and transactions that the pool holds: sixteen full blocks of the default size.
const POOL_BYTES: usize = 128 << 20;

/// Bytes that one account may have in the pool.
const ACCOUNT_BYTES: usize = 64 << 20;

/// Ended transactions whose end is remembered.
const ENDED: NonZeroUsize = NonZeroUsize::new(16_384).unwrap();

/// The node's pool, shared by API, network and consensus.
#[derive(Debug)]
pub(crate) struct Pool {
    inner: Mutex<Inner>,
    changes: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    arrivals: u64,
    bytes: usize,
    by_arrival: BTreeMap<u64, Entry>,
    by_id: HashMap<TxId, u64>,
    /// By commitment, with the number of pooled blobs that have it.
    bodies: HashMap<[u8; 32], (Arc<CheckedBlob>, usize)>,
    ended: LruCache<TxId, TxRecord>,
}

#[derive(Debug)]
struct Entry {
    candidate: Candidate,
    included: Option<Height>,
}

impl Entry {
    fn transaction(&self) -> &VerifiedTransaction {
        self.candidate.transaction()
    }

    fn bytes(&self) -> usize {
        self.candidate.blobs().iter().map(|blob| blob.bytes().len()).sum::<usize>() + 1_024
    }
}

/// The most that a transaction may take from its sender.
fn most(transaction: &VerifiedTransaction) -> Amount {
    let payload = transaction.payload();
    let moved = match payload.action {
        Action::Transfer { amount, .. } => amount,
        Action::SubmitBlobs { .. } => 0,
    };
    payload.fee_cap.saturating_mul(transaction.shares()).saturating_add(moved)
}

fn record(transaction: &VerifiedTransaction, status: TxStatus) -> TxRecord {
    TxRecord {
        status,
        sender: transaction.sender(),
        valid_until: transaction.payload().valid_until,
        shares: transaction.shares(),
        charged: None,
        blobs: transaction.blobs().to_vec(),
        available_until: None,
    }
}

impl Inner {
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.by_arrival.values()
    }

    fn remove(&mut self, id: &TxId) -> Option<Entry> {
        let entry = self.by_arrival.remove(&self.by_id.remove(id)?)?;
        self.bytes -= entry.bytes();
        for blob in entry.candidate.blobs() {
            if let hash_map::Entry::Occupied(mut body) = self.bodies.entry(blob.header().commitment) {
                body.get_mut().1 -= 1;
                if body.get().1 == 0 {
                    body.remove();
                }
            }
        }
        Some(entry)
    }

    fn end(&mut self, id: &TxId, status: TxStatus) {
        if let Some(entry) = self.remove(id) {
            self.ended.put(*id, record(entry.transaction(), status));
        }
    }

    fn of_account(&self, account: Address) -> (Amount, usize) {
        self.entries()
            .filter(|entry| entry.transaction().sender() == account)
            .fold((0, 0), |(cost, bytes), entry| {
                (cost.saturating_add(most(entry.transaction())), bytes + entry.bytes())
            })
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self {
            inner: Mutex::new(Inner {
                arrivals: 0,
                bytes: 0,
                by_arrival: BTreeMap::new(),
                by_id: HashMap::new(),
                bodies: HashMap::new(),
                ended: LruCache::new(ENDED),
            }),
            changes: watch::Sender::new(0),
        }
    }
}

impl Pool {
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

    /// Admits a transaction that the block after `state` could hold.
    pub(crate) fn admit<S: StateStore>(
        &self,
        candidate: Candidate,
        genesis: &Genesis,
        state: State<'_, S>,
    ) -> Result<TxId, SubmitError> {
        let transaction = candidate.transaction().clone();
        let id = transaction.id();
        let unavailable = |error: chain::StateError| SubmitError::Unavailable(error.to_string());
        let ledger = Ledger::new(state, genesis).map_err(unavailable)?;
        let entry = Entry { candidate, included: None };
        {
            let mut inner = self.lock();
            if inner.by_id.contains_key(&id) {
                return Err(SubmitError::Duplicate { id });
            }
            ledger.check(&transaction)?;
            let (pending, account_bytes) = inner.of_account(transaction.sender());
            let balance = state.balance(&transaction.sender()).map_err(unavailable)?;
            let needed = most(&transaction);
            if pending.saturating_add(needed) > balance {
                return Err(SubmitError::Underfunded { balance, pending, needed });
            }
            let bytes = entry.bytes();
            if account_bytes + bytes > ACCOUNT_BYTES || inner.bytes + bytes > POOL_BYTES {
                let limit = if account_bytes + bytes > ACCOUNT_BYTES { ACCOUNT_BYTES } else { POOL_BYTES };
                return Err(SubmitError::PoolFull { limit: limit as u64 });
            }
            inner.bytes += bytes;
            for blob in entry.candidate.blobs() {
                inner.bodies.entry(blob.header().commitment).or_insert_with(|| (blob.clone(), 0)).1 += 1;
            }
            let arrival = inner.arrivals;
            inner.arrivals += 1;
            inner.ended.pop(&id);
            inner.by_id.insert(id, arrival);
            inner.by_arrival.insert(arrival, entry);
        }
        self.changed();
        Ok(id)
    }

    /// All transactions in order of arrival.
    pub(crate) fn candidates(&self) -> Vec<Candidate> {
        self.lock().entries().map(|entry| entry.candidate.clone()).collect()
    }

    /// One transaction with its bodies.
    pub(crate) fn get(&self, id: &TxId) -> Option<Candidate> {
        let inner = self.lock();
        inner.by_arrival.get(inner.by_id.get(id)?).map(|entry| entry.candidate.clone())
    }

    /// Whether the transaction is here, or ended here.
    pub(crate) fn knows(&self, id: &TxId) -> bool {
        let inner = self.lock();
        inner.by_id.contains_key(id) || inner.ended.contains(id)
    }

    /// The body with this commitment, of a pooled transaction.
    pub(crate) fn body(&self, commitment: &[u8; 32]) -> Option<Arc<CheckedBlob>> {
        self.lock().bodies.get(commitment).map(|(blob, _)| blob.clone())
    }

    /// Whether some transaction would pay `base_fee` now.
    pub(crate) fn has_work(&self, base_fee: u64) -> bool {
        self.lock().entries().any(|entry| entry.transaction().payload().fee_cap >= base_fee)
    }

    /// Transactions and bytes held.
    pub(crate) fn size(&self) -> (usize, usize) {
        let inner = self.lock();
        (inner.by_id.len(), inner.bytes)
    }

    /// The most that an account's pooled transactions may cost.
    pub(crate) fn pending(&self, account: Address) -> Amount {
        self.lock().of_account(account).0
    }

    /// A pooled or lately ended transaction.
    pub(crate) fn record(&self, id: &TxId) -> Option<TxRecord> {
        let inner = self.lock();
        if let Some(entry) = inner.by_id.get(id).and_then(|arrival| inner.by_arrival.get(arrival)) {
            let status = entry.included.map_or(TxStatus::Pooled, |height| TxStatus::Included { height });
            return Some(record(entry.transaction(), status));
        }
        inner.ended.peek(id).cloned()
    }

    /// Marks the transactions of a valid proposal.
    pub(crate) fn include(&self, height: Height, ids: impl IntoIterator<Item = TxId>) {
        {
            let mut inner = self.lock();
            for id in ids {
                if let Some(arrival) = inner.by_id.get(&id).copied()
                    && let Some(entry) = inner.by_arrival.get_mut(&arrival)
                {
                    entry.included = Some(height);
                }
            }
        }
        self.changed();
    }

    /// Drops what the block holds, and what no later block can: expired, repeated or unpaid transactions.
    pub(crate) fn decided<S: StateStore>(
        &self,
        ids: impl IntoIterator<Item = TxId>,
        genesis: &Genesis,
        state: State<'_, S>,
    ) -> Result<(), chain::StateError> {
        {
            let mut inner = self.lock();
            for id in ids {
                inner.remove(&id);
            }
            let ledger = Ledger::new(state, genesis)?;
            let mut ended = Vec::new();
            for entry in inner.by_arrival.values_mut() {
                entry.included = None;
                match ledger.check(entry.transaction()) {
                    Ok(_) | Err(LedgerError::CapTooLow { .. } | LedgerError::BlockFull { .. }) => {}
                    Err(LedgerError::State(error)) => return Err(error),
                    Err(LedgerError::Expired { .. }) => {
                        ended.push((entry.transaction().id(), TxStatus::Expired));
                    }
                    Err(error) => {
                        ended.push((
                            entry.transaction().id(),
                            TxStatus::Rejected { reason: error.to_string() },
                        ));
                    }
                }
            }
            for (id, status) in ended {
                inner.end(&id, status);
            }
        }
        self.changed();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use std::time::Duration;

    use chain::{MemoryState, StateUpdate};

    use super::*;
    use crate::test_chain::{FEE_CAP, FUNDS, TestChain, blob, key};

    /// A chain, its state and the pool of its only node.
    struct Fixture {
        chain: TestChain,
        store: MemoryState,
        height: Height,
        pool: Pool,
    }

    impl Fixture {
        fn new() -> Self {
            let chain = TestChain::new("weft-pool");
            let mut store = MemoryState::default();
            store.apply(StateUpdate::genesis(&chain.genesis).unwrap());
            Self { chain, store, height: 0, pool: Pool::default() }
        }

        fn small(&self, from: u8, salt: u8, valid_until: Height) -> Candidate {
            self.chain.transaction(from, salt, valid_until, vec![blob(1, vec![salt; 100])])
        }

        fn admit(&self, candidate: &Candidate) -> Result<TxId, SubmitError> {
            let state = State::at(&self.store, self.height);
            self.pool.admit(candidate.clone(), &self.chain.genesis, state)
        }

        /// Decides a block of exactly these transactions, pooled or not.
        fn decide(&mut self, chosen: &[Candidate]) {
            let valid = self.chain.propose(&self.store, chosen, Duration::from_secs(1));
            let ids: Vec<_> = valid.receipts.iter().map(|receipt| receipt.id).collect();
            self.chain.decide(&valid);
            self.store.apply(valid.update);
            self.height += 1;
            self.pool.decided(ids, &self.chain.genesis, State::at(&self.store, self.height)).unwrap();
        }

        fn status(&self, id: &TxId) -> Option<TxStatus> {
            self.pool.record(id).map(|record| record.status)
        }
    }

    #[test]
    fn a_transaction_is_pooled_included_and_gone() {
        let mut fixture = Fixture::new();
        let candidate = fixture.small(1, 1, 50);
        let mut changes = fixture.pool.changes();
        let id = fixture.admit(&candidate).unwrap();
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        assert_eq!(fixture.admit(&candidate), Err(SubmitError::Duplicate { id }));
        assert!(!changes.has_changed().unwrap(), "a refusal moves nothing");
        assert_eq!((fixture.pool.size().0, fixture.status(&id)), (1, Some(TxStatus::Pooled)));
        assert_eq!(fixture.pool.pending(key(1).address()), most(candidate.transaction()));
        assert_eq!((fixture.pool.has_work(FEE_CAP), fixture.pool.has_work(FEE_CAP + 1)), (true, false));

        fixture.pool.include(1, [id, TxId([0; 32])]);
        assert_eq!(fixture.status(&id), Some(TxStatus::Included { height: 1 }));
        fixture.decide(&[]);
        assert_eq!(fixture.status(&id), Some(TxStatus::Pooled), "another block was decided");
        fixture.decide(std::slice::from_ref(&candidate));
        assert!(changes.has_changed().unwrap());
        assert_eq!((fixture.pool.size(), fixture.status(&id)), ((0, 0), None));
        assert_eq!(fixture.pool.pending(key(1).address()), 0);
        assert_eq!(fixture.admit(&candidate), Err(SubmitError::Duplicate { id }), "the ledger remembers it");
    }

    #[test]
    fn pooled_transactions_count_against_the_balance() {
        let fixture = Fixture::new();
        let sender = key(1).address();
        let first = fixture.small(1, 1, 50);
        fixture.admit(&first).unwrap();
        let pending = most(first.transaction());
        let all_the_rest = FUNDS - pending - FEE_CAP;
        let too_much = fixture.chain.transfer(1, all_the_rest + 1);
        let refused = Err(SubmitError::Underfunded { balance: FUNDS, pending, needed: FUNDS - pending + 1 });
        assert_eq!(fixture.admit(&too_much), refused);
        assert_eq!((fixture.pool.size().0, fixture.pool.pending(sender)), (1, pending));

        fixture.admit(&fixture.chain.transfer(1, all_the_rest)).unwrap();
        assert_eq!(fixture.pool.pending(sender), FUNDS);
        let refused = fixture.admit(&fixture.small(1, 2, 50));
        assert!(matches!(refused, Err(SubmitError::Underfunded { pending: FUNDS, .. })), "{refused:?}");
        fixture.admit(&fixture.small(2, 2, 50)).unwrap();

        let stranger = fixture.small(9, 3, 50);
        let refused = fixture.admit(&stranger);
        assert!(matches!(refused, Err(SubmitError::Underfunded { balance: 0, .. })), "{refused:?}");
        assert_eq!(fixture.pool.body(&stranger.blobs()[0].header().commitment), None);
    }

    #[test]
    fn an_account_and_the_pool_have_byte_limits() {
        let fixture = Fixture::new();
        let large = blob(1, vec![1; 4 << 20]);
        let transaction = |from, salt| fixture.chain.transaction(from, salt, 50, vec![large.clone()]);
        let full = |limit: usize| Err(SubmitError::PoolFull { limit: limit as u64 });
        let admit_all = |from| {
            for salt in 0..15 {
                fixture.admit(&transaction(from, salt)).unwrap();
            }
        };
        admit_all(1);
        assert_eq!(fixture.admit(&transaction(1, 15)), full(ACCOUNT_BYTES));
        fixture.admit(&fixture.small(1, 16, 50)).unwrap();
        admit_all(2);
        fixture.admit(&transaction(3, 0)).unwrap();
        let (before, pending) = (fixture.pool.size(), fixture.pool.pending(key(3).address()));
        assert_eq!(fixture.admit(&transaction(3, 1)), full(POOL_BYTES));
        assert_eq!((fixture.pool.size(), fixture.pool.pending(key(3).address())), (before, pending));
    }

    #[test]
    fn what_no_later_block_can_hold_ends_with_its_reason() {
        let mut fixture = Fixture::new();
        let (short, long) = (fixture.small(1, 1, 2), fixture.small(1, 2, 50));
        let poor = fixture.chain.transfer(2, FUNDS / 2);
        let [short_id, long_id, poor_id] =
            [&short, &long, &poor].map(|candidate| fixture.admit(candidate).unwrap());
        fixture.decide(&[]);
        assert_eq!(fixture.status(&short_id), Some(TxStatus::Pooled), "height 2 could still hold it");
        // Another node's pool had another transfer of the same account.
        let spent = fixture.chain.transfer(2, FUNDS - 100 * FEE_CAP);
        fixture.decide(&[spent]);
        assert_eq!(fixture.status(&short_id), Some(TxStatus::Expired));
        assert_eq!(fixture.status(&long_id), Some(TxStatus::Pooled));
        match fixture.status(&poor_id) {
            Some(TxStatus::Rejected { reason }) => assert!(reason.contains("balance"), "{reason}"),
            other => panic!("{other:?}"),
        }
        assert!(fixture.pool.knows(&short_id) && fixture.pool.get(&short_id).is_none());
        assert_eq!(fixture.pool.size().0, 1);
        let refused = fixture.admit(&short).unwrap_err();
        assert!(
            matches!(&refused, SubmitError::Invalid { field, .. } if field == "valid_until"),
            "{refused:?}"
        );
        assert_eq!(fixture.pool.candidates().len(), 1);
    }

    #[test]
    fn a_body_stays_as_long_as_some_transaction_needs_it() {
        let mut fixture = Fixture::new();
        let (shared, own) = (blob(1, vec![7; 3_000]), blob(2, vec![8; 10]));
        let first = fixture.chain.transaction(1, 1, 50, vec![shared.clone(), own.clone()]);
        let second = fixture.chain.transaction(2, 2, 50, vec![shared.clone()]);
        let body = |fixture: &Fixture, blob: &CheckedBlob| fixture.pool.body(&blob.header().commitment);
        fixture.admit(&first).unwrap();
        fixture.admit(&second).unwrap();
        fixture.decide(&[first]);
        assert_eq!((body(&fixture, &shared), body(&fixture, &own)), (Some(shared.clone()), None));
        fixture.decide(&[second]);
        assert_eq!((body(&fixture, &shared), fixture.pool.size()), (None, (0, 0)));
    }
}
