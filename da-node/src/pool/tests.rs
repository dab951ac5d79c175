//! The pool's promises: whole or not at all, within limits, and an end with a reason.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::time::Duration;

use chain::{Action, MemoryState, ReservationId, StateUpdate};

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
        self.change(candidate).map(|changes| changes.added.unwrap().0)
    }

    fn change(&self, candidate: &Candidate) -> Result<Changes, SubmitError> {
        let state = State::at(&self.store, self.height);
        self.pool.admit(candidate.clone(), &self.chain.genesis, state)
    }

    /// A small transaction of account `from` that offers this.
    fn offer(&self, from: u8, salt: u8, fee_cap: u64, tip: u64) -> Candidate {
        let blobs = vec![blob(1, vec![salt; 100])];
        self.chain.offer(from, salt, (fee_cap, tip), blobs)
    }

    fn offered(&self, base_fee: u64) -> Vec<TxId> {
        let capacity = self.chain.genesis.fee_rules().capacity;
        self.pool.candidates(base_fee, capacity).iter().map(|c| c.transaction().id()).collect()
    }

    /// Decides a block of exactly these transactions, pooled or not.
    fn decide(&mut self, chosen: &[Candidate]) {
        let valid = self.chain.propose(&self.store, chosen, Duration::from_secs(1));
        let ids: Vec<_> =
            valid.receipts.iter().map(|receipt| receipt.id).zip(&valid.block.transactions).collect();
        self.chain.decide(&valid);
        self.store.apply(valid.update);
        self.height += 1;
        self.pool.decided(&ids, &self.chain.genesis, State::at(&self.store, self.height)).unwrap();
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
    let Limits { bytes, account_bytes } = Limits::default();
    let admit_all = |from| {
        for salt in 0..15 {
            fixture.admit(&transaction(from, salt)).unwrap();
        }
    };
    admit_all(1);
    assert_eq!(
        fixture.admit(&transaction(1, 15)),
        Err(SubmitError::AccountFull { limit: account_bytes as u64 })
    );
    fixture.admit(&fixture.small(1, 16, 50)).unwrap();
    admit_all(2);
    fixture.admit(&transaction(3, 0)).unwrap();
    let (before, pending) = (fixture.pool.size(), fixture.pool.pending(key(3).address()));
    assert_eq!(
        fixture.admit(&transaction(3, 1)),
        Err(SubmitError::PoolFull { limit: bytes as u64, lowest_tip: 0 })
    );
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
    assert_eq!(fixture.offered(FEE_CAP), [long_id]);
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

#[test]
fn a_full_pool_leaves_the_lowest_tips_for_higher_ones() {
    let mut fixture = Fixture::new();
    let size = bytes(&fixture.small(1, 1, 50));
    fixture.pool = Pool::new(Limits { bytes: 3 * size, account_bytes: 3 * size });
    let [low, first, second] = [(1, 5), (2, 1), (3, 1)]
        .map(|(salt, tip)| fixture.admit(&fixture.offer(1, salt, 2_000, tip)).unwrap());
    let equal = fixture.offer(2, 4, 2_000, 1);
    assert_eq!(
        fixture.admit(&equal),
        Err(SubmitError::PoolFull { limit: 3 * size as u64, lowest_tip: 1 }),
        "an equal tip drives nobody out"
    );
    assert_eq!(fixture.pool.size().0, 3);
    let better = fixture.change(&fixture.offer(2, 5, 2_000, 2)).unwrap();
    assert_eq!(better.removed, [second], "among the lowest, the latest goes");
    match fixture.status(&second) {
        Some(TxStatus::Evicted { reason }) => assert!(reason.contains("higher tip"), "{reason}"),
        other => panic!("{other:?}"),
    }
    // A tip that the cap leaves no room for is worth nothing.
    let pretended = fixture.offer(3, 6, 1_000, 1_000_000);
    assert!(matches!(fixture.admit(&pretended), Err(SubmitError::PoolFull { .. })));
    fixture.pool.include(1, [first]);
    assert_eq!(fixture.change(&fixture.offer(3, 7, 2_000, 9)).unwrap().removed, [better.added.unwrap().0]);
    assert_eq!(fixture.status(&first), Some(TxStatus::Included { height: 1 }), "what is being decided stays");
    assert_eq!(fixture.status(&low), Some(TxStatus::Pooled));
    for _ in 0..50 {
        fixture.decide(&[]);
    }
    assert_eq!(fixture.status(&second), Some(TxStatus::Expired), "nobody can include it any more");
}

#[test]
fn a_replacement_offers_ten_percent_more_of_both() {
    let mut fixture = Fixture::new();
    let old = fixture.admit(&fixture.offer(1, 1, 2_001, 10)).unwrap();
    for (fee_cap, tip, field, least) in [(2_201, 11, "fee_cap", 2_202), (9_000, 10, "tip", 11)] {
        match fixture.admit(&fixture.offer(1, 1, fee_cap, tip)) {
            Err(SubmitError::Invalid { field: wrong, limit, .. }) => {
                assert_eq!((wrong.as_str(), limit), (field, Some(least)));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(fixture.status(&old), Some(TxStatus::Pooled));
    let candidate = fixture.offer(1, 1, 2_202, 11);
    let changes = fixture.change(&candidate).unwrap();
    let new = candidate.transaction().id();
    assert_eq!(changes.removed, [old]);
    assert_eq!(fixture.status(&old), Some(TxStatus::Replaced { by: new }));
    assert_eq!(fixture.pool.pending(key(1).address()), most(candidate.transaction()));
    // Another node had not heard of it, and included the old one.
    let old = fixture.offer(1, 1, 2_001, 10);
    fixture.decide(std::slice::from_ref(&old));
    assert_eq!(fixture.status(&new), Some(TxStatus::Replaced { by: old.transaction().id() }));
    assert_eq!(fixture.pool.size(), (0, 0));
    assert_eq!(
        fixture.admit(&candidate),
        Err(SubmitError::Duplicate { id: new }),
        "one of the two is included"
    );
}

#[test]
fn a_proposer_is_offered_the_highest_tips_first_and_what_it_can_use() {
    let fixture = Fixture::new();
    let [low, high, capped, equal] = [(1, 2_000, 1), (2, 2_000, 9), (3, 1_004, 500), (4, 2_000, 9)]
        .map(|(salt, cap, tip)| fixture.admit(&fixture.offer(1, salt, cap, tip)).unwrap());
    assert_eq!(fixture.offered(1_000), [high, equal, capped, low]);
    assert_eq!(fixture.offered(1_500), [high, equal, low]);
    let shares = fixture.offer(1, 1, 2_000, 1).transaction().shares();
    assert_eq!(fixture.pool.candidates(1_000, shares).len(), 2, "two blocks' worth");
}

#[test]
fn what_an_account_does_not_cover_any_more_leaves_the_lowest_tip_first() {
    let mut fixture = Fixture::new();
    let kept = fixture.admit(&fixture.offer(2, 1, 2_000, 9)).unwrap();
    let cheap = fixture.admit(&fixture.offer(2, 2, 2_000, 0)).unwrap();
    let pending = fixture.pool.pending(key(2).address());
    let spent = fixture.chain.transfer(2, FUNDS - pending);
    fixture.decide(&[spent]);
    assert_eq!(fixture.status(&kept), Some(TxStatus::Pooled));
    assert!(matches!(fixture.status(&cheap), Some(TxStatus::Rejected { .. })));
}

#[test]
fn what_is_in_a_block_or_paid_by_a_reservation_is_not_replaced() {
    let (mut fixture, reservation) = with_a_reservation();
    let old = fixture.admit(&fixture.offer(2, 7, 2_000, 10)).unwrap();
    fixture.pool.include(2, [old]);
    let refused = |answer| match answer {
        Err(SubmitError::Invalid { field, message, .. }) => {
            assert_eq!(field, "salt");
            message
        }
        other => panic!("{other:?}"),
    };
    let better = fixture.offer(2, 7, 9_000, 100);
    assert!(refused(fixture.admit(&better)).contains("is being decided"));
    fixture.decide(&[]);
    fixture.admit(&better).unwrap();

    fixture.admit(&reserved(&fixture, reservation, 1, 500)).unwrap();
    assert!(refused(fixture.admit(&reserved(&fixture, reservation, 1, 600))).contains("a reservation pays"));
}

#[test]
fn a_replacement_in_a_full_pool_makes_room_for_itself_once() {
    let mut fixture = Fixture::new();
    let sized = |fixture: &Fixture, from, salt, tip, len| {
        fixture.chain.offer(from, salt, (5_000, tip), vec![blob(1, vec![salt; len])])
    };
    let [worst, other, larger] = [(1, 1, 1, 4_000), (2, 2, 5, 6_000), (1, 1, 2, 8_000)]
        .map(|(from, salt, tip, len)| sized(&fixture, from, salt, tip, len));
    let larger = fixture.chain.offer(1, 1, (6_000, 2), larger.blobs().to_vec());
    let limit = bytes(&worst) + bytes(&other);
    fixture.pool = Pool::new(Limits { bytes: limit, account_bytes: limit });
    fixture.admit(&worst).unwrap();
    fixture.admit(&other).unwrap();
    assert!(matches!(fixture.admit(&larger), Err(SubmitError::PoolFull { .. })));
    assert!(fixture.pool.size().1 <= limit, "{:?}", fixture.pool.size());
}

#[test]
fn a_reservation_without_tokens_keeps_nobody_from_the_proposer() {
    let (fixture, reservation) = with_a_reservation();
    let shares = reserved(&fixture, reservation, 0, 500).transaction().shares();
    for salt in 1..=4 {
        fixture.admit(&reserved(&fixture, reservation, salt, 500)).unwrap();
    }
    let on_demand = fixture.admit(&fixture.offer(2, 9, 2_000, 1)).unwrap();
    let offered = fixture.pool.candidates(1_000, shares);
    assert_eq!(
        offered.len(),
        5,
        "all that a reservation pays for, whose tokens may be short, and then the rest"
    );
    assert_eq!(offered[4].transaction().id(), on_demand);
}

#[test]
fn a_restart_keeps_what_only_waits_for_a_lower_fee() {
    let fixture = Fixture::new();
    let (waits, over) = (fixture.offer(1, 1, 999, 0), fixture.small(1, 2, 0));
    assert!(fixture.admit(&waits).is_err());
    let restore = |candidate: &Candidate| {
        let state = State::at(&fixture.store, fixture.height);
        fixture.pool.restore(candidate.clone(), &fixture.chain.genesis, state).unwrap()
    };
    assert!(restore(&waits).is_ok());
    assert!(restore(&over).is_err(), "no block can hold it any more");
    assert_eq!(fixture.pool.size().0, 1);
}

/// A chain on which account 1 has just bought a reservation.
fn with_a_reservation() -> (Fixture, ReservationId) {
    let mut fixture = Fixture::new();
    let action = Action::Reserve { rate: 16, blocks: 40, signers: Vec::new(), price_cap: FUNDS / 2 };
    let bought = fixture.chain.sign(1, [77; 16], 50, (FEE_CAP, 0), action, Vec::new());
    fixture.decide(std::slice::from_ref(&bought));
    let id = ReservationId::from(bought.transaction().id());
    assert!(State::at(&fixture.store, fixture.height).reservation(&id).unwrap().is_some());
    (fixture, id)
}

/// A blob of account 1 that the reservation pays for.
fn reserved(fixture: &Fixture, reservation: ReservationId, salt: u8, len: usize) -> Candidate {
    let blobs = vec![blob(2, vec![salt; len])];
    let headers = blobs.iter().map(|blob| blob.header().clone()).collect();
    let action = Action::SubmitBlobs { blobs: headers, reservation: Some(reservation) };
    fixture.chain.sign(1, [salt; 16], 45, (0, 0), action, blobs)
}
