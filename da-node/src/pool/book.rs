//! The pool's books: every transaction in it, and what finds the right ones without looking at all.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, hash_map},
    sync::Arc,
    time::Instant,
};

use chain::{Address, Amount, Candidate, CheckedBlob, Height, ReservationId, TxId, VerifiedTransaction};

/// Bytes counted for a transaction, for each of its blobs and for each of their foreign commitments beside the bodies:
/// about what they take in memory.
const OVERHEAD_BYTES: (usize, usize, usize) = (1_024, 512, 256);

/// What a sender names a transaction by: two with the same name exclude each other.
pub(super) type Name = (Address, [u8; 16], Height);

/// The name of a transaction.
pub(super) fn name(transaction: &VerifiedTransaction) -> Name {
    let payload = transaction.payload();
    (payload.sender, payload.salt, payload.valid_until)
}

/// The most that a transaction may take from its sender.
pub(super) fn most(transaction: &VerifiedTransaction) -> Amount {
    transaction.payload().cost_limit(transaction.shares())
}

/// What decides who stays in a full pool: what a reservation paid for, then the tip per share.
pub(super) type Worth = (bool, u64);

/// A pooled transaction.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) candidate: Candidate,
    /// Whether a reservation paid, and what the proposer would have got per share when it was admitted.
    pub(super) worth: Worth,
    pub(super) arrival: u64,
    pub(super) since: Instant,
    pub(super) included: Option<Height>,
}

impl Entry {
    pub(super) fn transaction(&self) -> &VerifiedTransaction {
        self.candidate.transaction()
    }

    pub(super) fn bytes(&self) -> usize {
        bytes(&self.candidate)
    }

    /// Worst last.
    fn rank(&self) -> Rank {
        (Reverse(self.worth), self.arrival)
    }
}

/// Bytes that a transaction counts in the pool.
pub(super) fn bytes(candidate: &Candidate) -> usize {
    let (transaction, blob, foreign) = OVERHEAD_BYTES;
    let bytes = |body: &Arc<CheckedBlob>| body.bytes().len() + blob + foreign * body.header().foreign.len();
    candidate.blobs().iter().map(bytes).sum::<usize>() + transaction
}

type Rank = (Reverse<Worth>, u64);

/// What an account has in the pool.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) pending: Amount,
    pub(super) bytes: usize,
    ranks: BTreeMap<Rank, TxId>,
}

impl Account {
    pub(super) fn transactions(&self) -> usize {
        self.ranks.len()
    }
}

/// All of it.
#[derive(Debug, Default)]
pub(super) struct Book {
    pub(super) bytes: usize,
    arrivals: u64,
    entries: HashMap<TxId, Entry>,
    ranks: BTreeMap<Rank, TxId>,
    caps: BTreeSet<(u64, TxId)>,
    expiries: BTreeSet<(Height, TxId)>,
    accounts: HashMap<Address, Account>,
    names: HashMap<Name, TxId>,
    /// Each reservation's transactions, with their shares.
    reserved: HashMap<ReservationId, HashMap<TxId, u64>>,
    included: HashSet<TxId>,
    /// By commitment, with the number of pooled blobs that have it.
    bodies: HashMap<[u8; 32], (Arc<CheckedBlob>, usize)>,
}

impl Book {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn contains(&self, id: &TxId) -> bool {
        self.entries.contains_key(id)
    }

    pub(super) fn get(&self, id: &TxId) -> Option<&Entry> {
        self.entries.get(id)
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn account(&self, address: &Address) -> Option<&Account> {
        self.accounts.get(address)
    }

    pub(super) fn accounts(&self) -> impl Iterator<Item = (&Address, &Account)> {
        self.accounts.iter()
    }

    pub(super) fn named(&self, name: &Name) -> Option<&Entry> {
        self.entries.get(self.names.get(name)?)
    }

    pub(super) fn body(&self, commitment: &[u8; 32]) -> Option<&Arc<CheckedBlob>> {
        self.bodies.get(commitment).map(|(blob, _)| blob)
    }

    /// Shares that a reservation's pooled transactions count.
    pub(super) fn reserved_shares(&self, reservation: &ReservationId) -> u64 {
        self.reserved.get(reservation).map_or(0, |transactions| transactions.values().sum())
    }

    /// Transactions that reservations paid for.
    pub(super) fn reserved(&self) -> impl Iterator<Item = &Entry> {
        self.reserved.values().flat_map(HashMap::keys).filter_map(|id| self.entries.get(id))
    }

    /// The highest cap.
    pub(super) fn highest_cap(&self) -> Option<u64> {
        self.caps.last().map(|(cap, _)| *cap)
    }

    /// Transactions from the worst up: the lowest tip, and among equals the latest arrival, first.
    pub(super) fn worst_first(&self) -> impl Iterator<Item = &Entry> {
        self.ranks.values().rev().filter_map(|id| self.entries.get(id))
    }

    /// An account's transactions from the worst up.
    pub(super) fn worst_of(&self, account: &Address) -> impl Iterator<Item = &Entry> {
        let ranks = self.accounts.get(account).into_iter().flat_map(|account| account.ranks.values().rev());
        ranks.filter_map(|id| self.entries.get(id))
    }

    /// Transactions that no block from `height` on may hold.
    pub(super) fn expired(&self, height: Height) -> Vec<TxId> {
        self.expiries.iter().take_while(|(valid_until, _)| *valid_until < height).map(|(_, id)| *id).collect()
    }

    /// Marks a transaction of a proposed block.
    pub(super) fn include(&mut self, id: TxId, height: Height) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.included = Some(height);
            self.included.insert(id);
        }
    }

    /// Forgets what proposals held.
    pub(super) fn clear_included(&mut self) {
        for id in self.included.drain() {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.included = None;
            }
        }
    }

    /// Goes on counting arrivals after those of an earlier run.
    pub(super) fn resume_after(&mut self, arrival: u64) {
        self.arrivals = self.arrivals.max(arrival.saturating_add(1));
    }

    /// Adds a transaction that is not here, and whose name is free; gives its place in the order of arrival.
    pub(super) fn insert(&mut self, candidate: Candidate, worth: Worth) -> u64 {
        let arrival = self.arrivals;
        self.arrivals += 1;
        let entry = Entry { candidate, worth, arrival, since: Instant::now(), included: None };
        let (transaction, bytes, rank) = (entry.transaction(), entry.bytes(), entry.rank());
        let (id, payload) = (transaction.id(), transaction.payload());
        for blob in entry.candidate.blobs() {
            self.bodies.entry(blob.header().commitment).or_insert_with(|| (blob.clone(), 0)).1 += 1;
        }
        let account = self.accounts.entry(transaction.sender()).or_default();
        account.pending = account.pending.saturating_add(most(transaction));
        account.bytes += bytes;
        account.ranks.insert(rank, id);
        self.bytes += bytes;
        self.ranks.insert(rank, id);
        self.caps.insert((payload.fee_cap, id));
        if let Some(reservation) = payload.reservation() {
            self.reserved.entry(reservation).or_default().insert(id, transaction.shares());
        }
        self.expiries.insert((payload.valid_until, id));
        self.names.insert(name(transaction), id);
        self.entries.insert(id, entry);
        arrival
    }

    pub(super) fn remove(&mut self, id: &TxId) -> Option<Entry> {
        let entry = self.entries.remove(id)?;
        let (transaction, bytes, rank) = (entry.transaction(), entry.bytes(), entry.rank());
        let payload = transaction.payload();
        for blob in entry.candidate.blobs() {
            if let hash_map::Entry::Occupied(mut body) = self.bodies.entry(blob.header().commitment) {
                body.get_mut().1 -= 1;
                if body.get().1 == 0 {
                    body.remove();
                }
            }
        }
        if let hash_map::Entry::Occupied(mut account) = self.accounts.entry(transaction.sender()) {
            let of = account.get_mut();
            of.ranks.remove(&rank);
            of.pending -= most(transaction).min(of.pending);
            of.bytes -= bytes;
            if of.ranks.is_empty() {
                account.remove();
            }
        }
        self.bytes -= bytes;
        self.ranks.remove(&rank);
        self.caps.remove(&(payload.fee_cap, *id));
        if let Some(reservation) = payload.reservation()
            && let hash_map::Entry::Occupied(mut of) = self.reserved.entry(reservation)
        {
            of.get_mut().remove(id);
            if of.get().is_empty() {
                of.remove();
            }
        }
        self.expiries.remove(&(payload.valid_until, *id));
        self.names.remove(&name(transaction));
        self.included.remove(id);
        Some(entry)
    }
}
