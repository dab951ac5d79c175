use std::{num::NonZeroUsize, time::Duration};

use chain::{
    Action, Amount, BlockError, Candidate, GenesisAccount, GenesisError, Ledger, LedgerError, NANO_PER_WEFT,
    Parameters, StakingError, TransactionError, UNBONDINGS_LIMIT, ValidatorKeys,
};

use crate::support::{Chain, FUNDS, key, validator_keys};

const STAKE: Amount = 20 * NANO_PER_WEFT;

fn chain(change: impl FnOnce(&mut Parameters)) -> Chain {
    let mut parameters = Parameters {
        unbonding_seconds: 10,
        trusting_period_seconds: 5,
        validators_limit: 5,
        ..Parameters::default()
    };
    change(&mut parameters);
    Chain::new(parameters)
}

fn act(chain: &Chain, from: u8, action: Action) -> Candidate {
    let mut payload = chain.payload(&key(from), 0, action);
    payload.salt[..8].copy_from_slice(&chain.height().to_be_bytes());
    chain.candidate(chain.sign(&key(from), payload), vec![])
}

fn join(chain: &Chain, from: u8, stake: Amount, seed: u8) -> Candidate {
    let keys = Box::new(validator_keys(chain, &key(from), seed));
    act(chain, from, Action::Bond { stake, keys: Some(keys) })
}

fn decide(chain: &mut Chain, candidates: &[Candidate]) -> Vec<chain::Receipt> {
    let valid = chain.propose(candidates);
    let receipts = valid.receipts.clone();
    chain.decide(valid, &[0, 1, 2, 3, 4, 5]);
    receipts
}

fn refuse(chain: &Chain, candidate: &Candidate) -> LedgerError {
    Ledger::new(chain.state(), &chain.genesis).unwrap().check(candidate.transaction()).unwrap_err()
}

#[test]
fn a_bonded_validator_is_in_the_set_two_heights_later_and_signs_there() {
    let mut chain = chain(|_| {});
    let bond = join(&chain, 1, STAKE, 5);
    let receipt = decide(&mut chain, &[bond])[0];
    assert_eq!(receipt.spent, STAKE);
    let sizes = |chain: &Chain| {
        let parent = &chain.parent;
        [&parent.last_validators, &parent.validators, &parent.next_validators].map(|s| s.validators().len())
    };
    assert_eq!(sizes(&chain), [4, 4, 5]);
    assert_eq!(chain.parent.next_validators.total_voting_power().value(), 4 * 10 + 20);
    for expected in [[4, 5, 5], [5, 5, 5]] {
        let valid = chain.propose(&[]);
        assert_eq!(valid.block.header.next_validators_hash, chain.parent.next_validators.hash());
        let light = chain.decide(valid, &[0, 1, 2, 3, 4]);
        assert_eq!(sizes(&chain), expected);
        assert_eq!(light.validators.hash(), light.signed_header.header.validators_hash);
        assert_eq!(light.next_validators.hash(), light.signed_header.header.next_validators_hash);
    }
    // 20 of 60 votes are the newcomer's: the four others are too few no more than with it.
    let valid = chain.propose(&[]);
    let header = valid.block.header;
    let verify = |signing: &[usize]| {
        chain::verify_last_commit(&header, &chain.sign_commit(&header, signing), &chain.parent.validators)
    };
    assert!(verify(&[0, 1, 2, 3]).is_err());
    verify(&[0, 1, 2, 4]).unwrap();
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
}

#[test]
fn unbonded_stake_leaves_the_set_at_once_and_returns_after_the_period() {
    let mut chain = chain(|_| {});
    let bond = join(&chain, 1, STAKE, 5);
    decide(&mut chain, &[bond]);
    decide(&mut chain, &[]);
    let unbond = act(&chain, 1, Action::Unbond { stake: STAKE });
    decide(&mut chain, &[unbond]);
    let unbonded_at = chain.parent.last.as_ref().unwrap().header.time;
    assert_eq!(chain.parent.next_validators.validators().len(), 4);
    let poor = chain.state().balance(&key(1).address()).unwrap();
    loop {
        assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
        decide(&mut chain, &[]);
        let time = chain.parent.last.as_ref().unwrap().header.time;
        let due = time.duration_since(unbonded_at).unwrap() >= Duration::from_secs(10);
        let balance = chain.state().balance(&key(1).address()).unwrap();
        assert_eq!(balance, if due { poor + STAKE } else { poor });
        assert_eq!(chain.state().validator(&key(1).address()).unwrap().is_none(), due);
        if due {
            break;
        }
    }
    // Its keys are free again.
    let again = join(&chain, 2, STAKE, 5);
    assert_eq!(decide(&mut chain, &[again]).len(), 1);
}

#[test]
fn fees_go_to_validators_by_stake_as_it_is_bonded() {
    let mut chain = chain(|p| p.burn_percent = 0);
    let bond = join(&chain, 1, STAKE, 5);
    decide(&mut chain, &[bond]);
    decide(&mut chain, &[]);
    let before = chain.state().balance(&key(1).address()).unwrap();
    let transfer = act(&chain, 2, Action::Transfer { to: key(3).address(), amount: 1 });
    let fee = decide(&mut chain, &[transfer])[0];
    let base = fee.shares * fee.base_fee;
    // The one with the most stake is first in the set, and has proposed the block: the tip is its own.
    let tips = fee.shares * fee.tip;
    assert_eq!(chain.state().balance(&key(1).address()).unwrap() - before, base * 20 / 60 + tips);
}

#[test]
fn keys_without_proof_or_of_somebody_else_are_refused() {
    let mut chain = chain(|_| {});
    let verify = |keys: ValidatorKeys| {
        let action = Action::Bond { stake: STAKE, keys: Some(Box::new(keys)) };
        let transaction = chain.sign(&key(1), chain.payload(&key(1), 1, action));
        transaction.verify(&chain.genesis.domain(), &chain.genesis.parameters)
    };
    let good = validator_keys(&chain, &key(1), 5);
    verify(good.clone()).unwrap();
    let stolen = validator_keys(&chain, &key(2), 5);
    assert!(matches!(verify(stolen.clone()), Err(TransactionError::Keys(_))));
    let attestation_proof = stolen.attestation_proof;
    let error = verify(ValidatorKeys { attestation_proof, ..good }).unwrap_err();
    assert_eq!(error.field(), "attestation_proof");
    let mut infinity = validator_keys(&chain, &key(1), 5);
    infinity.attestation = [0; 96];
    infinity.attestation[0] = 0xc0;
    infinity.attestation_proof = [0; 48];
    infinity.attestation_proof[0] = 0xc0;
    assert!(matches!(verify(infinity), Err(TransactionError::Keys(_))));

    let bond = join(&chain, 1, STAKE, 5);
    decide(&mut chain, &[bond]);
    let same = join(&chain, 2, STAKE, 5);
    assert_eq!(refuse(&chain, &same), StakingError::KeyTaken("consensus").into());
    let genesis_key = join(&chain, 2, STAKE, 1);
    assert_eq!(refuse(&chain, &genesis_key), StakingError::KeyTaken("consensus").into());
    let second = join(&chain, 1, STAKE, 6);
    assert_eq!(refuse(&chain, &second), StakingError::HasKeys(key(1).address()).into());
}

#[test]
fn stake_has_a_minimum_places_are_few_and_the_last_validator_stays() {
    let mut chain = chain(|_| {});
    let little = join(&chain, 1, STAKE / 4, 5);
    let minimum = chain.genesis.parameters.minimum_stake;
    assert_eq!(refuse(&chain, &little), StakingError::TooLittle { stake: STAKE / 4, minimum }.into());
    let bond = join(&chain, 1, STAKE, 5);
    decide(&mut chain, &[bond]);
    let equal = join(&chain, 2, minimum, 6);
    assert_eq!(refuse(&chain, &equal), StakingError::Full { limit: 5, least: 10, got: 10 }.into());
    // One with more takes the place of one with the least, whose stake unbonds.
    let more = join(&chain, 2, minimum + NANO_PER_WEFT, 6);
    decide(&mut chain, &[more]);
    assert_eq!(chain.parent.next_validators.validators().len(), 5);
    let replaced = (100..104).filter_map(|seed| chain.state().validator(&key(seed).address()).unwrap());
    assert_eq!(replaced.filter(|validator| validator.stake == 0).count(), 1);
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());

    let greedy = act(&chain, 1, Action::Unbond { stake: STAKE + 1 });
    assert_eq!(refuse(&chain, &greedy), StakingError::NotBonded { stake: STAKE, got: STAKE + 1 }.into());
    let rest = act(&chain, 1, Action::Unbond { stake: STAKE - 1 });
    assert_eq!(refuse(&chain, &rest), StakingError::TooLittle { stake: 1, minimum }.into());
    let nobody = act(&chain, 3, Action::Unbond { stake: 1 });
    assert_eq!(refuse(&chain, &nobody), StakingError::NoKeys(key(3).address()).into());
    let unkeyed = act(&chain, 3, Action::Bond { stake: STAKE, keys: None });
    assert_eq!(refuse(&chain, &unkeyed), StakingError::NoKeys(key(3).address()).into());
    assert!(chain.state().balance(&key(3).address()).unwrap() == FUNDS);
}

#[test]
fn a_validator_has_few_unbondings_under_way_and_bonds_nothing_while_it_has_the_most() {
    let mut chain = chain(|p| p.unbonding_seconds = 1_000);
    let bond = join(&chain, 1, 2 * STAKE, 5);
    decide(&mut chain, &[bond]);
    for _ in 0..UNBONDINGS_LIMIT {
        let unbond = act(&chain, 1, Action::Unbond { stake: 1 });
        assert_eq!(decide(&mut chain, &[unbond]).len(), 1);
    }
    for action in [Action::Unbond { stake: 1 }, Action::Bond { stake: STAKE, keys: None }] {
        assert_eq!(refuse(&chain, &act(&chain, 1, action)), StakingError::TooMany.into());
    }
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
}

#[test]
fn a_block_holds_few_new_validators() {
    let chain = chain(|_| {});
    let joining = |salt| {
        let action = Action::Bond { stake: STAKE, keys: Some(Box::new(validator_keys(&chain, &key(1), 5))) };
        chain.candidate(chain.sign(&key(1), chain.payload(&key(1), salt, action)), vec![])
    };
    let candidates: Vec<_> = (0..17).map(joining).collect();
    let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
    let (genesis, parent, state) = (&chain.genesis, &chain.parent, chain.state());
    let drafted =
        chain::draft(genesis, parent, state, &candidates, chain.proposer(), &mut squares).unwrap_err();
    assert_eq!(drafted, BlockError::TooMany { what: "new validators", got: 17, limit: 16 });
}

#[test]
fn a_genesis_has_no_more_money_than_can_be_counted_and_no_more_validators_than_places() {
    let genesis = chain(|_| {}).genesis;
    let refused = |change: fn(&mut chain::Genesis)| {
        let mut changed = genesis.clone();
        change(&mut changed);
        match changed.check() {
            Err(GenesisError::Field { field, .. }) => field,
            other => panic!("{other:?}"),
        }
    };
    let stake = |g: &mut chain::Genesis| {
        g.validators.iter_mut().for_each(|v| v.power = u32::MAX);
        g.accounts[0].balance = 1 << 61;
    };
    assert_eq!(refused(stake), "accounts.balance");
    assert_eq!(
        refused(|g| g.accounts.push(GenesisAccount { address: key(9).address(), balance: Amount::MAX })),
        "accounts.balance"
    );
    assert_eq!(refused(|g| g.parameters.validators_limit = 3), "validators");
    assert_eq!(refused(|g| g.parameters.validators_limit = 1_001), "parameters.validators_limit");
    assert_eq!(refused(|g| g.validators[1].operator = g.validators[0].operator), "validators.operator");
}
