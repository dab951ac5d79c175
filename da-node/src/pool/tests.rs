//! The pool's promises: whole or not at all, within limits, and an end with a reason.

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
    assert!(matches!(&refused, SubmitError::Invalid { field, .. } if field == "valid_until"), "{refused:?}");
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
