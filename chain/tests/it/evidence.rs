//! Validators that contradict themselves lose stake and place, once.

use chain::{
    Action, Amount, Equivocation, Evidence, EvidenceError, Ledger, LedgerError, NANO_PER_WEFT, Parameters,
    SignedStep, StakingError, Step,
};
use ed25519_consensus::SigningKey;
use tendermint::{Time, account, block, vote};

use crate::support::{Chain, contradiction, key, validator_keys};

fn chain(change: impl FnOnce(&mut Parameters)) -> Chain {
    let mut parameters =
        Parameters { unbonding_seconds: 10, trusting_period_seconds: 5, ..Parameters::default() };
    change(&mut parameters);
    Chain::new(parameters)
}

/// Account `from` acts in a block of its own; gives what it refuses.
fn act(chain: &mut Chain, from: u8, action: Action) -> Result<(), LedgerError> {
    let mut payload = chain.payload(&key(from), from, action);
    payload.salt[..8].copy_from_slice(&chain.height().to_be_bytes());
    let candidate = chain.candidate(chain.sign(&key(from), payload), vec![]);
    Ledger::new(chain.state(), &chain.genesis)?.check(candidate.transaction())?;
    let valid = chain.propose(&[candidate]);
    assert_eq!(valid.receipts.len(), 1);
    chain.decide(valid, &[0, 1, 2, 3, 4, 5]);
    Ok(())
}

fn report(chain: &mut Chain, from: u8, evidence: Equivocation) -> Result<(), LedgerError> {
    act(chain, from, Action::Evidence(Box::new(Evidence::Equivocation(evidence))))
}

fn idle(chain: &mut Chain) {
    let valid = chain.propose(&[]);
    chain.decide(valid, &[0, 1, 2, 3, 4, 5]);
}

/// Genesis' first validator, its operator, and what it has bonded.
const OFFENDER: (u8, u8, Amount) = (1, 100, 10 * NANO_PER_WEFT);

#[test]
fn a_validator_that_contradicts_itself_is_slashed_once_whoever_reports() {
    let (seed, operator, stake) = OFFENDER;
    let roots = [2, 3].map(|reporter| {
        let mut chain = chain(|_| {});
        let before = chain.state().balance(&key(reporter).address()).unwrap();
        report(&mut chain, reporter, contradiction(seed, Step::Precommit, 1)).unwrap();
        // 5 % is lost, a twentieth of that is the reporter's; its fee is well below.
        let gained = chain.state().balance(&key(reporter).address()).unwrap() - before;
        let reward = stake / 20 / 20;
        assert!(gained < reward && gained > reward - NANO_PER_WEFT / 100, "{gained}");
        assert!(chain.state().burned().unwrap() >= stake / 20 - reward);
        assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
        // Every other contradiction of the same key is answered by the same loss.
        let operator = key(operator).address();
        for (by, step, height) in [(2, Step::Precommit, 1), (3, Step::Prevote, 1), (3, Step::Proposal, 9)] {
            let again = report(&mut chain, by, contradiction(seed, step, height));
            assert_eq!(again, Err(StakingError::Slashed(operator).into()));
        }
        let validator = chain.state().validator(&operator).unwrap().unwrap();
        assert!(validator.slashed && validator.stake == 0 && validator.unbonding.len() == 1);
        assert_eq!(chain.parent.next_validators.validators().len(), 3);
        // What is left returns after the period, and the key is nobody's any more.
        let poor = chain.state().balance(&operator).unwrap();
        while chain.state().validator(&operator).unwrap().is_some() {
            idle(&mut chain);
        }
        assert_eq!(chain.state().balance(&operator).unwrap() - poor, stake - stake / 20);
        assert_eq!(
            report(&mut chain, 2, contradiction(seed, Step::Precommit, 1)),
            Err(StakingError::Nobody.into())
        );
        let keys = Some(Box::new(validator_keys(&chain, &key(1), seed)));
        let rejoin = act(&mut chain, 1, Action::Bond { stake: 20 * NANO_PER_WEFT, keys });
        assert_eq!(rejoin, Err(StakingError::KeyTaken("consensus").into()));
        assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
        validator
    });
    assert_eq!(roots[0], roots[1]);
}

#[test]
fn stake_on_its_way_out_is_slashed_too_and_buys_no_new_place() {
    let mut chain = chain(|p| p.slash_percent = 33);
    let stake = 30 * NANO_PER_WEFT + 1;
    let keys = Some(Box::new(validator_keys(&chain, &key(1), 5)));
    act(&mut chain, 1, Action::Bond { stake, keys }).unwrap();
    act(&mut chain, 1, Action::Unbond { stake: 7 }).unwrap();
    act(&mut chain, 1, Action::Unbond { stake: stake - 7 }).unwrap();
    report(&mut chain, 2, contradiction(5, Step::Prevote, 4)).unwrap();
    let bond = Action::Bond { stake, keys: None };
    assert_eq!(act(&mut chain, 1, bond), Err(StakingError::Slashed(key(1).address()).into()));
    let poor = chain.state().balance(&key(1).address()).unwrap();
    while chain.state().validator(&key(1).address()).unwrap().is_some() {
        idle(&mut chain);
    }
    // Rounded against it, both times.
    let left = (7 - 3) + (stake - 7) - ((stake - 7) * 33).div_ceil(100);
    assert_eq!(chain.state().balance(&key(1).address()).unwrap() - poor, left);
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
}

#[test]
fn all_may_be_lost_but_the_last_validator_stays() {
    let mut chain = chain(|p| p.slash_percent = 100);
    for seed in 1..=3 {
        report(&mut chain, 2, contradiction(seed, Step::Precommit, 1)).unwrap();
    }
    let last = report(&mut chain, 2, contradiction(4, Step::Precommit, 1));
    assert_eq!(last, Err(StakingError::Last.into()));
    for _ in 0..12 {
        idle(&mut chain);
    }
    assert_eq!(chain.state().validator(&key(100).address()).unwrap(), None);
    assert_eq!(chain.parent.validators.validators().len(), 1);
    assert_eq!(chain.accounted(), chain.genesis.supply().unwrap());
}

#[test]
fn messages_that_contradict_nothing_are_refused() {
    let mut chain = chain(|_| {});
    let good = contradiction(1, Step::Precommit, 1);
    let mut refuse = |change: fn(&mut Equivocation)| {
        let mut evidence = good.clone();
        change(&mut evidence);
        report(&mut chain, 2, evidence).unwrap_err()
    };
    assert_eq!(refuse(|e| e.second = e.first.clone()), EvidenceError::SameBlock.into());
    assert_eq!(refuse(|e| e.second.signature[0] ^= 1), EvidenceError::Signature.into());
    assert_eq!(
        refuse(|e| std::mem::swap(&mut e.first.block, &mut e.second.block)),
        EvidenceError::Signature.into()
    );
    assert_eq!(refuse(|e| e.step = Step::Prevote), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.height = 2), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.round = 2), EvidenceError::Signature.into());
    assert_eq!(refuse(|e| e.first.pol_round = Some(0)), EvidenceError::Malformed.into());
    assert_eq!(refuse(|e| e.height = 0), EvidenceError::Malformed.into());
    let other = SigningKey::from([6; 32]).verification_key().to_bytes();
    assert_ne!(other, good.validator);
    assert_eq!(report(&mut chain, 2, contradiction(6, Step::Precommit, 1)), Err(StakingError::Nobody.into()));
    assert_eq!(contradiction(1, Step::Precommit, 1).check("weft-other"), Err(EvidenceError::Signature));
    contradiction(1, Step::Precommit, 1).check("weft-test").unwrap();

    let mut lenient = self::chain(|p| p.slash_percent = 0);
    assert_eq!(report(&mut lenient, 2, good), Err(StakingError::NoSlashing.into()));
}

/// Against tendermint-rs's own canonical bytes.
#[test]
fn the_signed_bytes_are_tendermints() {
    let time = Time::from_unix_timestamp(1_700_000_000, 5).unwrap();
    for step in [Step::Prevote, Step::Precommit, Step::Proposal] {
        for block in [None, Some(([2; 32], time))] {
            let message = SignedStep { block, pol_round: None, signature: [3; 64] };
            let evidence = Equivocation {
                validator: [1; 32],
                step,
                height: 1_234,
                round: 3,
                first: message.clone(),
                second: message.clone(),
            };
            let whole = Evidence::Equivocation(evidence.clone());
            assert_eq!(Evidence::decode(&whole.encode()), Ok(whole));
            let block_id = block.map(|(hash, _)| block::Id {
                hash: tendermint::Hash::Sha256(hash),
                part_set_header: block::parts::Header::new(
                    1,
                    tendermint::Hash::Sha256(erasure::sha256(&[b"weft/part-set/1", &hash[..]].concat())),
                )
                .unwrap(),
            });
            let timestamp = Some(if block.is_some() { time } else { Time::unix_epoch() });
            let (height, round) = (1_234u32.into(), 3u16.into());
            let chain_id: tendermint::chain::Id = "weft-test".parse().unwrap();
            let expected = if step == Step::Proposal {
                let proposal = tendermint::Proposal {
                    msg_type: tendermint::proposal::Type::Proposal,
                    height,
                    round,
                    pol_round: None,
                    block_id,
                    timestamp,
                    signature: None,
                };
                proposal.into_signable_vec(chain_id)
            } else {
                vote::Vote {
                    vote_type: if step == Step::Prevote {
                        vote::Type::Prevote
                    } else {
                        vote::Type::Precommit
                    },
                    height,
                    round,
                    block_id,
                    timestamp,
                    validator_address: account::Id::new([9; 20]),
                    validator_index: 0u32.try_into().unwrap(),
                    signature: None,
                    extension: vec![],
                    extension_signature: None,
                }
                .into_signable_vec(chain_id)
            };
            assert_eq!(evidence.sign_bytes(&message, "weft-test"), expected, "{step:?} {block:?}");
        }
    }
}
