//! Signals, agreement, and what builds do that know the next rules or do not.

use std::{num::NonZeroUsize, time::Duration};

use chain::{
    Action, Block, BlockError, Candidate, Checkpoint, Genesis, GenesisError, HeaderError, Height, Ledger,
    LedgerError, LightBlock, NANO_PER_WEFT, Parameters, Proposal, Signals, TrustOptions, UPGRADE_HORIZON,
    UnknownRules, Upgrade, UpgradeError, VerifiedHeader,
};

use crate::support::{Chain, key};

const NOTICE: Height = 3;

/// Four validators of power 10, of the accounts 100 to 103, which own something; the next block is the second.
fn chain() -> Chain {
    let mut chain = Chain::new(Parameters { upgrade_notice_heights: NOTICE, ..Parameters::default() });
    let give = |operator: u8| {
        let to = key(operator).address();
        act(&chain, 1, operator, Action::Transfer { to, amount: 100 * NANO_PER_WEFT })
    };
    let gifts: Vec<_> = (100..104).map(give).collect();
    decide(&mut chain, &gifts);
    chain
}

fn act(chain: &Chain, from: u8, salt: u8, action: Action) -> Candidate {
    chain.candidate(chain.sign(&key(from), chain.payload(&key(from), salt, action)), vec![])
}

fn signal(chain: &Chain, operator: u8, signal: Option<Upgrade>) -> Candidate {
    // Two of one operator in one block differ.
    let salt = signal.map_or(0, |upgrade| upgrade.height as u8);
    act(chain, operator, salt, Action::Signal(signal))
}

fn decide(chain: &mut Chain, candidates: &[Candidate]) -> LightBlock {
    let valid = chain.propose(candidates);
    assert_eq!(valid.receipts.len(), candidates.len());
    chain.decide(valid, &[0, 1, 2, 3])
}

fn refuse(chain: &Chain, candidate: &Candidate) -> LedgerError {
    Ledger::new(chain.state(), &chain.genesis).unwrap().check(candidate.transaction()).unwrap_err()
}

fn all_signal(chain: &mut Chain, upgrade: Upgrade) {
    let signals: Vec<_> = (100..104).map(|operator| signal(chain, operator, Some(upgrade))).collect();
    decide(chain, &signals);
}

#[test]
fn five_sixths_of_the_power_agree_and_no_less() {
    let mut chain = chain();
    let upgrade = Upgrade { version: 2, height: 20 };
    let signals: Vec<_> = (100..103).map(|operator| signal(&chain, operator, Some(upgrade))).collect();
    decide(&mut chain, &signals);
    // 30 of 40.
    assert_eq!(chain.state().upgrade().unwrap(), Upgrade::GENESIS);
    assert_eq!(chain.state().signals().unwrap().0.len(), 3);
    let bond = |operator, weft| {
        let stake = weft * NANO_PER_WEFT;
        move |chain: &Chain| act(chain, operator, 9, Action::Bond { stake, keys: None })
    };
    // 49 of 59, then 50 of 60: the power that the block itself moved counts.
    let more = bond(100, 19)(&chain);
    decide(&mut chain, &[more]);
    assert_eq!(chain.state().upgrade().unwrap(), Upgrade::GENESIS);
    let more = bond(101, 1)(&chain);
    decide(&mut chain, &[more]);
    assert_eq!(chain.state().upgrade().unwrap(), upgrade);
    assert!(chain.state().signals().unwrap().0.is_empty());
}

#[test]
fn the_last_signal_counts_and_can_be_taken_back() {
    let mut chain = chain();
    let (early, late) = (Upgrade { version: 2, height: 20 }, Upgrade { version: 2, height: 30 });
    let first: Vec<_> = (100..103).map(|operator| signal(&chain, operator, Some(early))).collect();
    decide(&mut chain, &first);
    // One changes its mind: the fourth who agrees with the others is one too few.
    let second = [signal(&chain, 102, Some(late)), signal(&chain, 103, Some(early))];
    decide(&mut chain, &second);
    assert_eq!(chain.state().upgrade().unwrap(), Upgrade::GENESIS);
    let taken_back = [signal(&chain, 100, None), signal(&chain, 102, Some(early))];
    decide(&mut chain, &taken_back);
    assert_eq!(chain.state().upgrade().unwrap(), Upgrade::GENESIS);
    let powers =
        chain.state().signals().unwrap().powers(&chain.state().roster(chain::StateKey::Validators).unwrap());
    assert_eq!(powers, [(early, 30)].into());
    let again = signal(&chain, 100, Some(early));
    decide(&mut chain, &[again]);
    assert_eq!(chain.state().upgrade().unwrap(), early);
}

#[test]
fn a_signal_that_counts_for_nothing_is_refused_and_says_what_would() {
    let mut chain = chain();
    let height = chain.height();
    let of = |version, height| Some(Upgrade { version, height });
    let why = |candidate: Candidate| match refuse(&chain, &candidate) {
        LedgerError::Upgrade(error) => error,
        error => panic!("{error}"),
    };
    let stranger = key(2).address();
    assert_eq!(why(act(&chain, 2, 1, Action::Signal(of(2, 20)))), UpgradeError::NoValidator(stranger));
    assert_eq!(why(act(&chain, 2, 1, Action::Signal(None))), UpgradeError::NoValidator(stranger));
    for got in [1, 3, u64::MAX] {
        assert_eq!(why(signal(&chain, 100, of(got, 20))), UpgradeError::Version { next: 2, got });
    }
    let (earliest, latest) = (height + NOTICE, height + UPGRADE_HORIZON);
    for got in [0, earliest - 1, latest + 1] {
        assert_eq!(why(signal(&chain, 100, of(2, got))), UpgradeError::Height { earliest, latest, got });
    }
    for allowed in [earliest, latest] {
        let allowed = signal(&chain, 100, of(2, allowed));
        Ledger::new(chain.state(), &chain.genesis).unwrap().check(allowed.transaction()).unwrap();
    }
    let agreed = Upgrade { version: 2, height: earliest };
    all_signal(&mut chain, agreed);
    for signal in [signal(&chain, 100, of(2, 30)), signal(&chain, 100, of(3, 30)), signal(&chain, 100, None)]
    {
        assert_eq!(refuse(&chain, &signal), UpgradeError::Agreed(agreed).into());
    }
}

/// What is agreed on is agreed on in time, and by those who still have their stake.
#[test]
fn a_signal_is_dropped_when_it_is_too_late_for_it_or_its_operator_has_no_vote() {
    let mut chain = chain();
    let upgrade = Upgrade { version: 2, height: chain.height() + NOTICE };
    let signals: Vec<_> = (100..103).map(|operator| signal(&chain, operator, Some(upgrade))).collect();
    decide(&mut chain, &signals);
    let late = signal(&chain, 103, Some(upgrade));
    assert!(matches!(refuse(&chain, &late), LedgerError::Upgrade(UpgradeError::Height { .. })));
    decide(&mut chain, &[]);
    assert!(chain.state().signals().unwrap().0.is_empty());
    // A state without signals is as it was: nothing is left of them.
    let (value, _) = chain.state().prove(&chain::StateKey::Signals).unwrap();
    assert_eq!(value, None);

    let upgrade = Upgrade { version: 2, height: 40 };
    let signals: Vec<_> = (100..102).map(|operator| signal(&chain, operator, Some(upgrade))).collect();
    decide(&mut chain, &signals);
    let leaves = act(&chain, 101, 1, Action::Unbond { stake: 10 * NANO_PER_WEFT });
    decide(&mut chain, &[leaves]);
    assert_eq!(chain.state().signals().unwrap().0.keys().collect::<Vec<_>>(), [&key(100).address()]);
}

#[test]
fn headers_carry_the_new_version_from_its_height_on_and_the_next_follows() {
    let mut chain = chain();
    chain.parent.newest_rules = 3;
    let first = Upgrade { version: 2, height: chain.height() + NOTICE };
    all_signal(&mut chain, first);
    while chain.height() < first.height {
        assert_eq!(chain.parent.rules(), Ok(1));
        assert_eq!(decide(&mut chain, &[]).signed_header.header.version.app, 1);
    }
    assert_eq!(decide(&mut chain, &[]).signed_header.header.version.app, 2);
    let second = Upgrade { version: 3, height: chain.height() + NOTICE };
    all_signal(&mut chain, second);
    assert_eq!(chain.state().upgrade().unwrap(), second);
    let mut versions = vec![];
    while chain.height() <= second.height {
        versions.push(decide(&mut chain, &[]).signed_header.header.version.app);
    }
    assert_eq!(versions, [2, 2, 3]);
}

#[test]
fn a_build_neither_makes_nor_accepts_a_block_of_rules_that_it_does_not_know() {
    let mut chain = chain();
    chain.parent.newest_rules = 2;
    let upgrade = Upgrade { version: 2, height: chain.height() + NOTICE };
    all_signal(&mut chain, upgrade);
    while chain.height() < upgrade.height {
        decide(&mut chain, &[]);
    }
    let good = chain.propose(&[]);
    let unknown = UnknownRules { version: 2, height: upgrade.height, newest: 1 };
    assert_eq!(
        unknown.to_string(),
        format!(
            "rules version 2 hold at height {}, and this build knows versions up to 1: install a newer build",
            upgrade.height
        )
    );

    let judge = |chain: &Chain, proposal: &Proposal| {
        let (genesis, parent) = (&chain.genesis, &chain.parent);
        let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
        chain::validate(genesis, parent, chain.state(), proposal, &[], &mut squares)
    };
    let proposal = good.proposal(&chain.genesis);
    judge(&chain, &proposal).unwrap();
    // Who knows the new rules takes no block of the old ones.
    let mut old_rules = proposal.clone();
    old_rules.header.version.app = 1;
    assert_eq!(judge(&chain, &old_rules).unwrap_err(), BlockError::Header("version"));

    chain.parent.newest_rules = 1;
    assert_eq!(chain.parent.rules(), Err(unknown));
    for proposal in [&proposal, &old_rules] {
        assert_eq!(judge(&chain, proposal).unwrap_err(), BlockError::UnknownRules(unknown));
    }
    let block = |proposal: &Proposal| Block {
        header: proposal.header.clone(),
        transactions: vec![],
        last_commit: proposal.last_commit.clone(),
    };
    for proposal in [&proposal, &old_rules] {
        let refused = chain::validate_decided(&chain.genesis, &chain.parent, chain.state(), &block(proposal));
        assert_eq!(refused.unwrap_err(), BlockError::UnknownRules(unknown));
    }
    let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
    let (genesis, parent) = (&chain.genesis, &chain.parent);
    let built = chain::draft(genesis, parent, chain.state(), &[], chain.proposer(), &mut squares);
    assert_eq!(built.unwrap_err(), BlockError::UnknownRules(unknown));
}

/// However good its signatures: what an old build would make of such a block may be wrong.
#[test]
fn a_reader_verifies_no_header_of_rules_that_it_does_not_know() {
    let mut chain = chain();
    chain.parent.newest_rules = 2;
    let upgrade = Upgrade { version: 2, height: chain.height() + NOTICE };
    all_signal(&mut chain, upgrade);
    let mut blocks: Vec<_> = (0..3).map(|_| decide(&mut chain, &[])).collect();
    let heights = || blocks.iter().map(|block| (block.height(), block.signed_header.header.version.app));
    let last = upgrade.height;
    assert_eq!(heights().collect::<Vec<_>>(), [(last - 2, 1), (last - 1, 1), (last, 2)]);

    let now = chain.now();
    let options = |newest_rules| TrustOptions {
        trusting_period: Duration::from_secs(3_600),
        clock_drift: Duration::from_secs(5),
        newest_rules,
    };
    let trust = |block: &LightBlock, newest_rules| {
        let hash = block.signed_header.header.hash().as_bytes().try_into().unwrap();
        let checkpoint = Checkpoint { height: block.height(), hash };
        VerifiedHeader::from_checkpoint(block.clone(), "weft-test", &checkpoint, now, &options(newest_rules))
    };
    let unknown = UnknownRules { version: 2, height: last, newest: 1 };
    let first = trust(&blocks[0], 1).unwrap();
    assert_eq!(first.advance(blocks[2].clone(), now, &options(1)), Err(unknown.into()));
    let newest = first.advance(blocks[2].clone(), now, &options(2)).unwrap();
    assert_eq!(newest.step_back(blocks[1].clone()).unwrap().height(), last - 1);
    assert_eq!(trust(&blocks[2], 1), Err(unknown.into()));
    trust(&blocks[2], 2).unwrap();
    // A version proves nothing without the signatures.
    blocks[1].signed_header.header.version.app = 2;
    let forged = first.advance(blocks[1].clone(), now, &options(1));
    assert!(matches!(forged, Err(HeaderError::Invalid(_))), "{forged:?}");
}

#[test]
fn genesis_asks_for_a_notice_that_can_be_kept() {
    for (notice, allowed) in [(1, false), (2, true), (UPGRADE_HORIZON / 2, true), (UPGRADE_HORIZON, false)] {
        let genesis = Genesis {
            parameters: Parameters { upgrade_notice_heights: notice, ..Parameters::default() },
            ..chain().genesis
        };
        match genesis.check() {
            Ok(()) => assert!(allowed, "{notice}"),
            Err(GenesisError::Field { field, .. }) => {
                assert_eq!((field, allowed), ("parameters.upgrade_notice_heights", false));
            }
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn signals_have_one_encoding() {
    let signal = |operator: u8| (key(operator).address(), Upgrade { version: 2, height: 9 });
    let bytes = Signals([signal(1), signal(2)].into()).encode();
    assert_eq!(Signals::decode(&bytes).unwrap().encode(), bytes);
    let (first, second) = bytes.split_at(36);
    for other in [[second, first].concat(), [first, first].concat(), bytes[1..].to_vec()] {
        assert!(Signals::decode(&other).is_err());
    }
}
