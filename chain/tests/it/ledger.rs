use chain::{Action, Amount, Candidate, Ledger, LedgerError, Parameters, Payload, fees::MIN_BASE_FEE};

use crate::support::{Chain, FUNDS, key, namespace};

fn chain() -> Chain {
    Chain::new(Parameters::default())
}

fn transfer(chain: &Chain, from: u8, to: u8, amount: Amount, change: impl FnOnce(&mut Payload)) -> Candidate {
    let mut payload = chain.payload(&key(from), from, Action::Transfer { to: key(to).address(), amount });
    change(&mut payload);
    chain.candidate(chain.sign(&key(from), payload), vec![])
}

fn check(chain: &Chain, candidate: &Candidate) -> Result<chain::Receipt, LedgerError> {
    Ledger::new(chain.state(), &chain.genesis).unwrap().check(candidate.transaction())
}

#[test]
fn expiry_cap_and_balance_are_checked_with_both_sides_named() {
    let chain = chain();
    let expired = transfer(&chain, 1, 2, 1, |p| p.valid_until = 0);
    assert_eq!(check(&chain, &expired), Err(LedgerError::Expired { valid_until: 0, height: 1 }));
    let distant = transfer(&chain, 1, 2, 1, |p| p.valid_until = 10_002);
    assert_eq!(check(&chain, &distant), Err(LedgerError::TooDistant { valid_until: 10_002, latest: 10_001 }));
    let cheap = transfer(&chain, 1, 2, 1, |p| p.fee_cap = MIN_BASE_FEE - 1);
    assert_eq!(check(&chain, &cheap), Err(LedgerError::CapTooLow { cap: 999, base_fee: 1_000 }));
    let broke = transfer(&chain, 1, 2, FUNDS, |_| {});
    assert!(matches!(check(&chain, &broke), Err(LedgerError::Underfunded { balance: FUNDS, .. })));
    let stranger = transfer(&chain, 50, 2, 1, |_| {});
    assert!(matches!(check(&chain, &stranger), Err(LedgerError::Underfunded { balance: 0, .. })));
    let overflow = transfer(&chain, 1, 2, u64::MAX, |p| p.fee_cap = u64::MAX);
    assert!(matches!(check(&chain, &overflow), Err(LedgerError::Underfunded { .. })));
}

#[test]
fn a_submission_may_not_reach_further_than_a_hundred_blocks() {
    let chain = chain();
    let blob = chain::BlobHeader::describe(namespace(1), &[1], &[], &[]);
    let mut payload = chain.payload(&key(1), 1, Action::SubmitBlobs { blobs: vec![blob], reservation: None });
    payload.valid_until = 102;
    let far = chain.candidate(chain.sign(&key(1), payload), vec![vec![1]]);
    assert_eq!(check(&chain, &far), Err(LedgerError::TooDistant { valid_until: 102, latest: 101 }));
}

#[test]
fn a_transaction_is_included_once_until_it_expires_and_its_id_is_then_forgotten() {
    let mut chain = chain();
    let once = transfer(&chain, 1, 2, 1_000, |p| p.valid_until = 3);
    let id = once.transaction().id();
    let valid = chain.propose(&[once.clone(), once.clone()]);
    assert_eq!(valid.receipts.len(), 1);
    chain.decide(valid, &[0, 1, 2]);
    assert_eq!(check(&chain, &once), Err(LedgerError::Repeated(id)));
    for _ in 0..2 {
        assert!(chain.state().has_seen(once.transaction().payload()).unwrap());
        let empty = chain.propose(std::slice::from_ref(&once));
        assert!(empty.receipts.is_empty());
        chain.decide(empty, &[0, 1, 2]);
    }
    assert!(!chain.state().has_seen(once.transaction().payload()).unwrap());
    assert_eq!(check(&chain, &once), Err(LedgerError::Expired { valid_until: 3, height: 4 }));
}

#[test]
fn of_two_offers_with_one_salt_and_last_height_one_is_included() {
    let mut chain = chain();
    let low = transfer(&chain, 1, 2, 1_000, |p| p.valid_until = 9);
    let high = transfer(&chain, 1, 2, 1_000, |p| (p.valid_until, p.tip) = (9, 50));
    let valid = chain.propose(&[low.clone(), high.clone()]);
    assert_eq!(
        valid.receipts.iter().map(|receipt| receipt.id).collect::<Vec<_>>(),
        [high.transaction().id()]
    );
    chain.decide(valid, &[0, 1, 2]);
    assert_eq!(check(&chain, &low), Err(LedgerError::Repeated(low.transaction().id())));
}

#[test]
fn a_fee_is_charged_once_and_split_as_genesis_says() {
    let mut chain = chain();
    let candidate = chain.submit(&key(1), 1, &[(namespace(1), vec![1; 5_120])]);
    let valid = chain.propose(&[candidate]);
    let receipt = valid.receipts[0];
    // 10 shares of bytes, 1 for each of two hashes, 1 for the transaction's own bytes.
    assert_eq!((receipt.shares, receipt.base_fee, receipt.tip), (13, 1_000, 10));
    assert_eq!(receipt.charged, 13 * 1_010);
    chain.decide(valid, &[0, 1, 2]);
    let state = chain.state();
    assert_eq!(state.balance(&key(1).address()).unwrap(), FUNDS - receipt.charged);
    let operators: Vec<Amount> = (100..104).map(|at| state.balance(&key(at).address()).unwrap()).collect();
    let share = 13_000 / 2 / 4;
    assert_eq!(operators.iter().sum::<Amount>(), 4 * share + 130);
    assert_eq!(operators.iter().filter(|balance| **balance == share).count(), 3);
    assert_eq!(state.burned().unwrap(), 13_000 - 4 * share);
}
