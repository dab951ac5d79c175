//! Money is neither made nor lost, whatever a chain is asked to do.

use chain::{
    Action, Amount, BlobHeader, Candidate, Evidence, NANO_PER_WEFT, Parameters, Payload, ReservationId,
    SecretKey, Step,
};
use proptest::prelude::*;

use crate::support::{Chain, contradiction, key, namespace, validator_keys};

/// What somebody tries, sensible or not.
#[derive(Clone, Debug)]
enum Try {
    Transfer { to: u8, amount: Amount },
    Submit { shares: u8, reserved: bool },
    Buy { rate: u64, blocks: u64 },
    Extend { blocks: u64 },
    Join { weft: u64, seed: u8 },
    Bond { weft: u64 },
    Unbond { weft: u64 },
    Report { seed: u8, step: Step },
}

fn tries() -> impl Strategy<Value = Try> {
    prop_oneof![
        (1u8..=9, 0..2_000 * NANO_PER_WEFT).prop_map(|(to, amount)| Try::Transfer { to, amount }),
        (1u8..=10, any::<bool>()).prop_map(|(shares, reserved)| Try::Submit { shares, reserved }),
        (1u64..=4, 1u64..=6).prop_map(|(rate, blocks)| Try::Buy { rate, blocks }),
        (1u64..=6).prop_map(|blocks| Try::Extend { blocks }),
        (1u64..=40, 5u8..=6).prop_map(|(weft, seed)| Try::Join { weft, seed }),
        (1u64..=40).prop_map(|weft| Try::Bond { weft }),
        (1u64..=40).prop_map(|weft| Try::Unbond { weft }),
        (1u8..=6, prop::sample::select(vec![Step::Prevote, Step::Precommit, Step::Proposal]))
            .prop_map(|(seed, step)| Try::Report { seed, step }),
    ]
}

/// Genesis validators' operators sign, too.
fn signer(number: u8) -> SecretKey {
    if number < 6 { key(1 + number) } else { key(100 + number % 4) }
}

fn candidate(
    chain: &Chain,
    from: &SecretKey,
    salt: u64,
    tip: u64,
    what: &Try,
    known: &[ReservationId],
) -> Option<Candidate> {
    let last = known.last().copied();
    let (mut price, mut bodies) = ((3_000, tip), vec![]);
    let action = match *what {
        Try::Transfer { to, amount } => Action::Transfer { to: key(to).address(), amount },
        Try::Submit { shares, reserved } => {
            let bytes = vec![salt as u8; usize::from(shares) * 512];
            let blobs = vec![BlobHeader::describe(namespace(1), &bytes, &[], &[])];
            let reservation = last.filter(|_| reserved);
            if reservation.is_some() {
                price = (0, 0);
            }
            bodies.push(bytes);
            Action::SubmitBlobs { blobs, reservation }
        }
        Try::Buy { rate, blocks } => {
            let signers = vec![key(2).address()];
            Action::Reserve { rate, blocks, signers, price_cap: NANO_PER_WEFT }
        }
        Try::Extend { blocks } => {
            Action::ExtendReservation { reservation: last?, blocks, price_cap: NANO_PER_WEFT }
        }
        Try::Join { weft, seed } => {
            let keys = Box::new(validator_keys(chain, from, seed));
            Action::Bond { stake: weft * NANO_PER_WEFT, keys: Some(keys) }
        }
        Try::Bond { weft } => Action::Bond { stake: weft * NANO_PER_WEFT, keys: None },
        Try::Unbond { weft } => Action::Unbond { stake: weft * NANO_PER_WEFT },
        Try::Report { seed, step } => {
            Action::Evidence(Box::new(Evidence::Equivocation(contradiction(seed, step, salt + 1))))
        }
    };
    let mut payload: Payload = chain.payload(from, 0, action);
    payload.salt[..8].copy_from_slice(&salt.to_be_bytes());
    (payload.fee_cap, payload.tip) = price;
    Some(chain.candidate(chain.sign(from, payload), bodies))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn supply_is_conserved_over_histories_of_every_kind(
        blocks in prop::collection::vec(prop::collection::vec((0u8..10, 0u64..1_500, tries()), 0..5), 1..24),
        burn_percent in 0u8..=100,
        slash_percent in 0u8..=100,
    ) {
        let mut chain = Chain::new(Parameters {
            k_max: 4,
            max_blob_bytes: 16 * 512,
            burn_percent,
            slash_percent,
            unbonding_seconds: 6,
            trusting_period_seconds: 5,
            validators_limit: 5,
            ..Parameters::default()
        });
        let supply = chain.genesis.supply().unwrap();
        let mut known = Vec::new();
        for (at, block) in blocks.iter().enumerate() {
            let candidates: Vec<_> = block
                .iter()
                .enumerate()
                .filter_map(|(position, (from, tip, what))| {
                    let salt = (at * 8 + position) as u64;
                    candidate(&chain, &signer(*from), salt, *tip, what, &known)
                })
                .collect();
            let valid = chain.propose(&candidates);
            for receipt in &valid.receipts {
                let is_it = |c: &&Candidate| c.transaction().id() == receipt.id;
                let action = &candidates.iter().find(is_it).unwrap().transaction().payload().action;
                if matches!(action, Action::Reserve { .. }) {
                    known.push(ReservationId::from(receipt.id));
                }
            }
            chain.decide(valid, &[0, 1, 2, 3, 4, 5]);
            prop_assert_eq!(chain.accounted(), supply);
            let set = &chain.parent.next_validators;
            prop_assert!((1..=5).contains(&set.validators().len()));
        }
    }
}
