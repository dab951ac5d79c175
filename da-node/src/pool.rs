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
    Address, Amount, Candidate, CheckedBlob, Genesis, Height, Ledger, LedgerError, State, StateStore, TxId,
    TxStatus, VerifiedTransaction,
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
    transaction.payload().cost_limit(transaction.shares())
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

    /// Whether some transaction would pay `base_fee` now, or has paid.
    pub(crate) fn has_work(&self, base_fee: u64) -> bool {
        self.lock().entries().any(|entry| {
            let payload = entry.transaction().payload();
            payload.fee_cap >= base_fee || payload.reservation().is_some()
        })
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
                    Ok(_) => {}
                    Err(error) if error.may_pass() => {}
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
mod tests;
