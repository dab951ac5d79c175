//! Inclusion once, judged by a list that forgets nothing.

use std::collections::BTreeMap;

use chain::{
    Action, Candidate, Height, Ledger, LedgerError, OTHER_HORIZON, Parameters, Receipt, SUBMIT_HORIZON,
    State, StateKey, StateUpdate,
};
use proptest::prelude::*;

use crate::support::{Chain, key};

/// Leaves that a block changes at most besides those of its transactions: excess, burned, three accounts, four
/// validators' and three lists.
const OTHER_LEAVES: usize = 12;

fn transfer(chain: &Chain, salt: u32, valid_until: Height) -> Candidate {
    let mut payload = chain.payload(&key(1), 0, Action::Transfer { to: key(2).address(), amount: 1 });
    payload.salt[..4].copy_from_slice(&salt.to_be_bytes());
    payload.valid_until = valid_until;
    chain.candidate(chain.sign(&key(1), payload), vec![])
}

fn state(chain: &Chain, height: Height) -> State<'_, chain::MemoryState> {
    State::at(&chain.store, height)
}

/// What the block at `height` says of each offer, and what it changes.
fn block(
    chain: &Chain,
    height: Height,
    offers: &[Candidate],
) -> (Vec<Result<Receipt, LedgerError>>, StateUpdate) {
    let mut ledger = Ledger::new(state(chain, height - 1), &chain.genesis).unwrap();
    let answers = offers.iter().map(|o| ledger.apply(o.transaction(), key(3).address())).collect();
    (answers, ledger.finish(None).unwrap())
}

/// Applies the block at `height`, all of whose offers have to be included; how many leaves it changes.
fn include(chain: &mut Chain, height: Height, offers: &[Candidate]) -> usize {
    let (answers, update) = block(chain, height, offers);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let changed = update.values.len();
    chain.store.apply(update);
    changed
}

fn is_remembered(chain: &Chain, height: Height, offer: &Candidate) -> bool {
    let once = StateKey::Once(offer.transaction().payload().once());
    state(chain, height).prove(&once).unwrap().0.is_some()
}

/// When a transaction included at `at` has to be forgotten.
fn forgotten(at: Height, valid_until: Height) -> Height {
    at + if valid_until - at <= SUBMIT_HORIZON { SUBMIT_HORIZON } else { OTHER_HORIZON }
}

/// Blocks, each after some empty ones, of offers: salt, last height.
fn blocks() -> impl Strategy<Value = Vec<(Height, Vec<(u32, Height)>)>> {
    let last = prop::sample::select(vec![3, 40, 60, 101, 130, 160, 220, 300, 9_990, 10_001, 10_060, 10_400]);
    prop::collection::vec((0..40u64, prop::collection::vec((0..3u32, last), 0..5)), 1..16)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn each_is_included_once_and_forgotten_after_it_has_expired(blocks in blocks()) {
        let mut chain = Chain::new(Parameters::default());
        let mut included = BTreeMap::new();
        let mut height = 0;
        for (gap, offers) in blocks {
            for _ in 0..gap {
                height += 1;
                include(&mut chain, height, &[]);
            }
            height += 1;
            let candidates: Vec<_> = offers.iter().map(|(salt, last)| transfer(&chain, *salt, *last)).collect();
            let (answers, update) = block(&chain, height, &candidates);
            let mut new = 0;
            for (((_, last), offer), answer) in offers.iter().zip(&candidates).zip(&answers) {
                let id = offer.transaction().id();
                match answer {
                    Err(LedgerError::Expired { .. }) => prop_assert!(*last < height),
                    Err(LedgerError::TooDistant { .. }) => prop_assert!(*last > height + OTHER_HORIZON),
                    Err(LedgerError::Repeated(_)) => prop_assert!(included.contains_key(&id)),
                    Ok(_) => {
                        prop_assert!((height..=height + OTHER_HORIZON).contains(last));
                        prop_assert!(included.insert(id, (height, *last, offer.clone())).is_none());
                        new += 1;
                    }
                    other => prop_assert!(false, "{other:?}"),
                }
            }
            let over = included.values().filter(|(at, last, _)| forgotten(*at, *last) == height).count();
            prop_assert!(update.values.len() <= new + over + OTHER_LEAVES);
            chain.store.apply(update);
            for (at, last, offer) in included.values() {
                let payload = offer.transaction().payload();
                prop_assert_eq!(state(&chain, height).has_seen(payload).unwrap(), *last > height);
                prop_assert_eq!(is_remembered(&chain, height, offer), forgotten(*at, *last) > height);
            }
        }
    }
}

#[test]
fn what_is_remembered_does_not_depend_on_the_order_in_a_block() {
    let chain = Chain::new(Parameters::default());
    let mut offers: Vec<_> = (0..20).map(|salt| transfer(&chain, salt, 50 + 30 * u64::from(salt))).collect();
    let (_, update) = block(&chain, 1, &offers);
    offers.reverse();
    assert_eq!(block(&chain, 1, &offers).1.root, update.root);
}

#[test]
fn a_block_changes_as_many_leaves_when_thousands_expire_at_once() {
    const EACH: u32 = 20;
    let (first, blocks) = (20, 100);
    let mut chain = Chain::new(Parameters::default());
    (1..first).for_each(|height| assert!(include(&mut chain, height, &[]) <= OTHER_LEAVES));
    let expiry = first + SUBMIT_HORIZON;
    for height in first..=expiry + SUBMIT_HORIZON + 1 {
        let salts = EACH * (height - first) as u32..EACH * (height - first + 1) as u32;
        let salts = if height < first + blocks { salts } else { 0..0 };
        let offers: Vec<_> = salts.map(|salt| transfer(&chain, salt, expiry)).collect();
        let over = (expiry..expiry + blocks).contains(&height);
        let expected = offers.len() + usize::from(over) * EACH as usize;
        let changed = include(&mut chain, height, &offers);
        assert!((expected..=expected + OTHER_LEAVES).contains(&changed), "{height}: {changed}");
    }
}

#[test]
fn one_that_waits_long_is_remembered_to_its_last_height_and_forgotten_with_those_of_a_later_block() {
    let mut chain = Chain::new(Parameters::default());
    let expiry = 1 + OTHER_HORIZON;
    let long: Vec<_> = (0..20).map(|salt| transfer(&chain, salt, expiry)).collect();
    let short: Vec<_> = (20..40).map(|salt| transfer(&chain, salt, expiry)).collect();
    include(&mut chain, 1, &long);
    (2..expiry - SUBMIT_HORIZON).for_each(|height| assert!(include(&mut chain, height, &[]) <= OTHER_LEAVES));
    include(&mut chain, expiry - SUBMIT_HORIZON, &short);
    (expiry - SUBMIT_HORIZON + 1..expiry).for_each(|height| {
        include(&mut chain, height, &[]);
    });
    let both = [long, short].concat();
    let (answers, update) = block(&chain, expiry, &both);
    assert!(answers.iter().all(|answer| matches!(answer, Err(LedgerError::Repeated(_)))));
    assert!((40..=40 + OTHER_LEAVES).contains(&update.values.len()));
    chain.store.apply(update);
    assert!(both.iter().all(|offer| !is_remembered(&chain, expiry, offer)));
    assert_eq!(state(&chain, expiry).prove(&StateKey::Seen(expiry)).unwrap().0, None);
    let (answers, _) = block(&chain, expiry + 1, &both);
    assert!(answers.iter().all(|answer| matches!(answer, Err(LedgerError::Expired { .. }))));
}
