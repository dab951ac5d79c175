use chain::{
    Action, Address, Amount, BURST_BLOCKS, BlobHeader, Candidate, Ledger, LedgerError, Parameters, Payload,
    ReservationError, ReservationId, StateKey, StateProof, TransactionError, fees::MIN_BASE_FEE,
};
use proptest::prelude::*;

use crate::support::{Chain, FUNDS, key, namespace};

/// A chain of blocks of 16 shares, 4 of which can be reserved.
fn small() -> Chain {
    Chain::funded(Parameters { k_max: 4, max_blob_bytes: 16 * 512, ..Parameters::default() }, 1 << 60)
}

fn sign(
    chain: &Chain,
    from: u8,
    salt: u64,
    action: Action,
    bodies: Vec<Vec<u8>>,
    change: impl FnOnce(&mut Payload),
) -> Candidate {
    let mut payload = chain.payload(&key(from), 0, action);
    payload.salt[..8].copy_from_slice(&salt.to_be_bytes());
    payload.fee_cap = 1 << 45;
    change(&mut payload);
    chain.candidate(chain.sign(&key(from), payload), bodies)
}

fn buy(chain: &Chain, from: u8, rate: u64, blocks: u64, signers: &[u8]) -> Candidate {
    let mut signers: Vec<Address> = signers.iter().map(|seed| key(*seed).address()).collect();
    signers.sort_unstable();
    let action = Action::Reserve { rate, blocks, signers, price_cap: Amount::MAX >> 8 };
    sign(chain, from, chain.height(), action, vec![], |_| {})
}

fn extend(chain: &Chain, from: u8, reservation: ReservationId, blocks: u64) -> Candidate {
    let action = Action::ExtendReservation { reservation, blocks, price_cap: Amount::MAX >> 8 };
    sign(chain, from, 1_000_000 + chain.height(), action, vec![], |_| {})
}

/// A submission of one blob that counts one share more than it is told.
fn submit(
    chain: &Chain,
    from: u8,
    salt: u64,
    shares: usize,
    reservation: Option<ReservationId>,
) -> Candidate {
    let bytes = vec![salt as u8; shares * 512];
    let blobs = vec![BlobHeader::describe(namespace(from), &bytes, &[], &[])];
    sign(chain, from, salt, Action::SubmitBlobs { blobs, reservation }, vec![bytes], |payload| {
        if reservation.is_some() {
            (payload.fee_cap, payload.tip) = (0, 0);
        }
    })
}

/// What everybody owns, and what was burned.
fn all_money(chain: &Chain) -> Amount {
    let state = chain.state();
    let owned = (1..=3).chain(100..=103).map(|seed| state.balance(&key(seed).address()).unwrap());
    owned.sum::<Amount>() + state.burned().unwrap()
}

fn decide(chain: &mut Chain, candidates: &[Candidate]) -> Vec<chain::Receipt> {
    let valid = chain.propose(candidates);
    let receipts = valid.receipts.clone();
    chain.decide(valid, &[0, 1, 2]);
    receipts
}

fn bought(chain: &mut Chain, from: u8, rate: u64, blocks: u64, signers: &[u8]) -> ReservationId {
    let candidate = buy(chain, from, rate, blocks, signers);
    let receipts = decide(chain, &[candidate]);
    ReservationId::from(receipts[0].id)
}

fn refuse(chain: &Chain, candidate: &Candidate) -> LedgerError {
    Ledger::new(chain.state(), &chain.genesis).unwrap().check(candidate.transaction()).unwrap_err()
}

#[test]
fn a_reservation_is_paid_once_and_submits_for_nothing_until_it_ends() {
    let mut chain = small();
    let id = bought(&mut chain, 1, 4, 3, &[2]);
    let paid = (1 << 60) - chain.state().balance(&key(1).address()).unwrap();
    let price = chain.genesis.fee_rules().reservation_price(MIN_BASE_FEE, 0, 4, 3);
    assert_eq!(paid, price + MIN_BASE_FEE + 10);
    assert_eq!(chain.state().reserved().unwrap(), 4);

    let before = chain.state().balance(&key(2).address()).unwrap();
    for salt in 0..3 {
        let candidate = submit(&chain, 2, salt, 3, Some(id));
        let receipts = decide(&mut chain, &[candidate]);
        assert_eq!((receipts[0].charged, receipts[0].reservation), (0, Some(id)));
    }
    assert_eq!(chain.state().balance(&key(2).address()).unwrap(), before);
    assert_eq!(chain.state().reserved().unwrap(), 0);
    assert_eq!(chain.state().reservation(&id).unwrap(), None);
    assert_eq!(all_money(&chain), 3 << 60);
    let late = submit(&chain, 2, 9, 3, Some(id));
    assert_eq!(refuse(&chain, &late), ReservationError::Unknown(id).into());
}

#[test]
fn only_the_owner_and_the_named_signers_submit_from_it_and_no_more_than_the_bucket_holds() {
    let mut chain = small();
    let id = bought(&mut chain, 1, 3, 100, &[2]);
    let stranger = submit(&chain, 3, 1, 1, Some(id));
    let account = key(3).address();
    assert_eq!(refuse(&chain, &stranger), ReservationError::NotASigner { reservation: id, account }.into());
    let large = submit(&chain, 1, 1, 3, Some(id));
    let short = ReservationError::Spent { available: 3, shares: 4, rate: 3 };
    assert_eq!(refuse(&chain, &large), short.clone().into());
    assert!(LedgerError::from(short).may_pass());
    let huge = submit(&chain, 1, 1, 12, Some(id));
    assert_eq!(
        refuse(&chain, &huge),
        ReservationError::TooDeep { shares: 13, depth: 3 * BURST_BLOCKS }.into()
    );

    for _ in 0..9 {
        decide(&mut chain, &[]);
    }
    // Four blocks' worth have gathered, and no more.
    let batch: Vec<_> = (0..4).map(|salt| submit(&chain, 1 + salt as u8 % 2, salt, 2, Some(id))).collect();
    assert_eq!(decide(&mut chain, &batch).len(), 4);
    let reservation = chain.state().reservation(&id).unwrap().unwrap();
    assert_eq!((reservation.tokens, reservation.available(chain.height())), (0, 3));
}

#[test]
fn an_extension_postpones_the_end_and_keeps_the_bucket() {
    let mut chain = small();
    let id = bought(&mut chain, 1, 2, 2, &[]);
    let longer = extend(&chain, 2, id, 5);
    let before = chain.state().balance(&key(2).address()).unwrap();
    decide(&mut chain, std::slice::from_ref(&longer));
    let paid = before - chain.state().balance(&key(2).address()).unwrap();
    let price = chain.genesis.fee_rules().reservation_price(MIN_BASE_FEE, 0, 2, 5);
    assert_eq!(paid, price + MIN_BASE_FEE + 10);
    assert_eq!(all_money(&chain), 3 << 60);
    for _ in 0..5 {
        let candidate = submit(&chain, 1, chain.height(), 1, Some(id));
        assert_eq!(decide(&mut chain, &[candidate]).len(), 1);
    }
    assert_eq!(chain.state().reserved().unwrap(), 2);
    decide(&mut chain, &[]);
    assert_eq!(chain.state().reserved().unwrap(), 0);
    let gone = extend(&chain, 1, id, 5);
    assert_eq!(refuse(&chain, &gone), ReservationError::Unknown(id).into());
    let mut endless = chain;
    let id = bought(&mut endless, 1, 1, chain::RESERVED_BLOCKS_LIMIT, &[]);
    let more = extend(&endless, 1, id, 2);
    assert!(matches!(
        refuse(&endless, &more),
        LedgerError::Reservation(ReservationError::TooLong { end, latest }) if end == latest + 1
    ));
}

#[test]
fn nobody_corners_the_capacity_at_the_floor() {
    let mut chain = Chain::new(Parameters::default());
    let rules = chain.genesis.fee_rules();
    let limit = rules.reservable();
    assert_eq!(limit * 4, rules.capacity);
    let price = |reserved, rate| rules.reservation_price(MIN_BASE_FEE, reserved, rate, 1_000);
    // The integral of e^(8x) over the whole is 372 times the floor; the last share costs 2,981 times as much.
    assert!(price(0, limit) > 370 * MIN_BASE_FEE * limit * 1_000);
    assert!(price(limit - 1, 1) > 2_900 * price(0, 1));
    // Buying in parts saves nothing.
    let parts: Amount = (0..64).map(|part| price(part * limit / 64, limit / 64)).sum();
    assert!(parts >= price(0, limit) && parts <= price(0, limit) + 64);

    // All that a rich buyer's thousand WEFT buys at the floor leaves most of it to others.
    let greedy = buy(&chain, 1, limit, 1_000, &[]);
    assert!(matches!(refuse(&chain, &greedy), LedgerError::Underfunded { balance: FUNDS, .. }));
    bought(&mut chain, 1, limit / 2, 1, &[]);
    let over = buy(&chain, 2, limit / 2 + 1, 1, &[]);
    assert_eq!(
        refuse(&chain, &over),
        ReservationError::SoldOut { reserved: limit / 2, limit, rate: limit / 2 + 1 }.into()
    );
    let capped = Action::Reserve { rate: 1, blocks: 1, signers: vec![], price_cap: MIN_BASE_FEE };
    let dear = sign(&chain, 2, 5, capped, vec![], |_| {});
    assert!(matches!(refuse(&chain, &dear), LedgerError::Reservation(ReservationError::TooDear { .. })));
}

#[test]
fn under_a_flood_to_the_clamp_a_reserved_rollup_waits_one_block_and_pays_nothing_more() {
    let mut chain = small();
    let id = bought(&mut chain, 1, 4, 10_000, &[]);
    let paid = chain.state().balance(&key(1).address()).unwrap();
    let rules = chain.genesis.fee_rules();
    let mut salt = 0;
    while chain.state().excess().unwrap() < rules.excess_max {
        salt += 1;
        // The flood arrives first and tips whatever it takes.
        let flood = [(2, 9, salt), (3, 2, salt), (3, 2, salt + 1_000_000)]
            .map(|(from, shares, salt)| submit(&chain, from, salt, shares, None));
        let reserved = submit(&chain, 1, salt, 1, Some(id));
        let wanted = reserved.transaction().id();
        let [first, second, third] = flood;
        // 10, 3 and 3 of the flood fill the block of 16: there is room for the last only if it goes first.
        let receipts = decide(&mut chain, &[first, second, third, reserved]);
        assert!(receipts.iter().any(|receipt| receipt.id == wanted && receipt.charged == 0));
        assert_eq!(receipts.len(), 3);
    }
    assert_eq!(rules.base_fee(chain.state().excess().unwrap()), rules.base_fee(rules.excess_max));
    assert_eq!(chain.state().balance(&key(1).address()).unwrap(), paid);
}

#[test]
fn prepaid_traffic_moves_nobodys_price() {
    let (mut busy, mut idle) = (small(), small());
    let id = bought(&mut busy, 1, 4, 1_000, &[]);
    assert_eq!(bought(&mut idle, 1, 4, 1_000, &[]), id);
    for salt in 0..60 {
        let on_demand = submit(&busy, 2, salt, if salt % 3 == 0 { 9 } else { 5 }, None);
        let reserved = submit(&busy, 1, salt, 3, Some(id));
        assert_eq!(decide(&mut busy, &[on_demand.clone(), reserved]).len(), 2);
        assert_eq!(decide(&mut idle, &[on_demand]).len(), 1);
        assert_eq!(busy.state().excess().unwrap(), idle.state().excess().unwrap());
    }
    assert!(busy.state().excess().unwrap() > 0);
}

#[test]
fn what_a_purchase_asks_for_has_limits_and_a_prepaid_submission_no_price() {
    let chain = small();
    let verify = |action, fee_cap| {
        let payload = Payload { fee_cap, tip: 0, ..chain.payload(&key(1), 1, action) };
        let transaction = chain.sign(&key(1), payload);
        transaction.verify(&chain.genesis.domain(), &chain.genesis.parameters).unwrap_err()
    };
    let reserve = |rate, blocks, signers| Action::Reserve { rate, blocks, signers, price_cap: 1 };
    assert_eq!(verify(reserve(5, 1, vec![]), 1), TransactionError::ReservedRate { got: 5, limit: 4 });
    assert_eq!(verify(reserve(0, 1, vec![]), 1), TransactionError::ReservedRate { got: 0, limit: 4 });
    let limit = chain::RESERVED_BLOCKS_LIMIT;
    assert_eq!(
        verify(reserve(1, limit + 1, vec![]), 1),
        TransactionError::ReservedBlocks { got: limit + 1, limit }
    );
    assert_eq!(verify(reserve(1, 1, vec![key(1).address(); 2]), 1), TransactionError::SignerOrder);
    let many = (0..17).map(|at| Address::from_bytes([at; 20])).collect();
    assert_eq!(verify(reserve(1, 1, many), 1), TransactionError::SignerCount { got: 17, limit: 16 });
    let blobs = vec![BlobHeader::describe(namespace(1), &[1], &[], &[])];
    let paying = Action::SubmitBlobs { blobs, reservation: Some(ReservationId([1; 32])) };
    assert_eq!(verify(paying, 1), TransactionError::ReservedFee);
}

#[test]
fn a_reservation_and_its_absence_have_proofs_under_the_next_header() {
    let mut chain = small();
    let id = bought(&mut chain, 1, 4, 100, &[2]);
    let root = chain.parent.state_root;
    let key = StateKey::Reservation(id);
    let (value, proof) = chain.state().prove(&key).unwrap();
    let proof = StateProof::decode(&proof.encode()).unwrap();
    let proven = proof.verify_root(root, &key, value.clone()).unwrap();
    let reservation = chain::Reservation::decode(proven.value().unwrap()).unwrap();
    assert_eq!((reservation.rate, reservation.end), (4, 102));

    let other = StateKey::Reservation(ReservationId([7; 32]));
    assert!(proof.verify_root(root, &other, value.clone()).is_err());
    assert!(proof.verify_root([1; 32], &key, value).is_err());
    assert!(proof.verify_root(root, &key, None).is_err());
    let (none, absence) = chain.state().prove(&other).unwrap();
    assert_eq!(none, None);
    assert_eq!(absence.verify_root(root, &other, None).unwrap().value(), None);
    assert!(absence.verify_root(root, &other, Some(vec![1])).is_err());
    assert!(absence.verify_root(root, &key, None).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn a_quote_covers_every_sequence_of_blocks(
        before in 0u64..40,
        blocks in prop::collection::vec((0u8..4, 0u64..=4), 1..24),
    ) {
        let mut chain = small();
        let mut reservations = Vec::new();
        for salt in 0..before {
            let flood = submit(&chain, 2, salt, 14, None);
            decide(&mut chain, &[flood]);
        }
        let rules = chain.genesis.fee_rules();
        let cap = rules.guaranteed_cap(chain.state().excess().unwrap(), blocks.len() as u64);
        for (kind, rate) in blocks {
            let salt = 1_000 + chain.height();
            let waiting = sign(
                &chain, 3, 1, Action::Transfer { to: key(1).address(), amount: 1 }, vec![],
                |payload| (payload.fee_cap, payload.valid_until) = (cap, 10_000),
            );
            Ledger::new(chain.state(), &chain.genesis).unwrap().check(waiting.transaction()).unwrap();
            let mut block = Vec::new();
            if kind % 2 == 1 && rate > 0 {
                block.push(buy(&chain, 1, rate, rate * 3, &[]));
            }
            for id in &reservations {
                block.push(submit(&chain, 1, salt, 1, Some(*id)));
            }
            if kind >= 2 {
                block.extend([11, 3, 1].map(|shares| submit(&chain, 2, salt * 20 + shares, shares as usize, None)));
            }
            for receipt in decide(&mut chain, &block) {
                if receipt.spent > 0 {
                    reservations.push(ReservationId::from(receipt.id));
                }
            }
            prop_assert!(chain.state().reserved().unwrap() <= rules.reservable());
        }
    }
}
