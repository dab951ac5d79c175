use std::time::Duration;

use chain::{
    Action, Checkpoint, HeaderError, LightBlock, NANO_PER_WEFT, Parameters, TrustOptions, VerifiedHeader,
};
use tendermint::{Time, validator::Set};

use crate::support::{Chain, key, validator_keys};

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: Duration::from_secs(3_600),
    clock_drift: Duration::from_secs(5),
    newest_rules: 1,
};

fn blocks(count: usize, signing: &[usize]) -> (Chain, Vec<LightBlock>) {
    let mut chain = Chain::new(Parameters::default());
    let blocks = (0..count)
        .map(|_| {
            let valid = chain.propose(&[]);
            chain.decide(valid, signing)
        })
        .collect();
    (chain, blocks)
}

fn checkpoint(block: &LightBlock) -> Checkpoint {
    let hash = block.signed_header.header.hash().as_bytes().try_into().unwrap();
    Checkpoint { height: block.height(), hash }
}

fn start(chain: &Chain, block: &LightBlock) -> VerifiedHeader {
    let checkpoint = checkpoint(block);
    VerifiedHeader::from_checkpoint(block.clone(), "weft-test", &checkpoint, chain.now(), &OPTIONS).unwrap()
}

#[test]
fn headers_verify_adjacent_skipping_and_backwards() {
    let (chain, blocks) = blocks(6, &[0, 1, 3]);
    let first = start(&chain, &blocks[0]);
    let mut adjacent = first.clone();
    for block in &blocks[1..] {
        adjacent = adjacent.advance(block.clone(), chain.now(), &OPTIONS).unwrap();
        let skipping = first.advance(block.clone(), chain.now(), &OPTIONS).unwrap();
        assert_eq!(skipping, adjacent);
    }
    let back = adjacent.step_back(blocks[4].clone()).unwrap();
    assert_eq!(back.height(), 5);
    assert_eq!(adjacent.step_back(blocks[3].clone()), Err(HeaderError::NotThePredecessor { height: 6 }));
    assert_eq!(LightBlock::decode(&blocks[5].encode()).unwrap(), blocks[5]);
    let json = serde_json::to_string(&blocks[5]).unwrap();
    assert_eq!(serde_json::from_str::<LightBlock>(&json).unwrap(), blocks[5]);
    let (before, signature) = json.split_once(r#""signature":""#).unwrap();
    let (_, after) = signature.split_once('"').unwrap();
    for padding in ["=", "==", "===", "====", "AAAA=", "AAAA====", "AAAA========", "AAAA=A==", "A==="] {
        let damaged = format!(r#"{before}"signature":"{padding}"{after}"#);
        assert!(serde_json::from_str::<LightBlock>(&damaged).is_err(), "{padding}");
    }
}

/// Somebody bonds ten times what all others have: from the third block on nobody else's votes decide.
#[test]
fn headers_verify_across_a_change_of_the_set_one_by_one_and_not_over_it() {
    let mut chain = Chain::new(Parameters::default());
    let keys = Some(Box::new(validator_keys(&chain, &key(1), 5)));
    let action = Action::Bond { stake: 400 * NANO_PER_WEFT, keys };
    let bond = chain.candidate(chain.sign(&key(1), chain.payload(&key(1), 1, action)), vec![]);
    let blocks: Vec<_> = (1..=5)
        .map(|height| {
            let valid = chain.propose(if height == 1 { std::slice::from_ref(&bond) } else { &[] });
            chain.decide(valid, if height < 3 { &[0, 1, 2] } else { &[4] })
        })
        .collect();
    let sizes =
        |block: &LightBlock| [&block.validators, &block.next_validators].map(|s| s.validators().len());
    assert_eq!(blocks.iter().map(sizes).collect::<Vec<_>>(), [[4, 4], [4, 5], [5, 5], [5, 5], [5, 5]]);
    let first = start(&chain, &blocks[0]);
    let mut adjacent = first.clone();
    for block in &blocks[1..] {
        adjacent = adjacent.advance(block.clone(), chain.now(), &OPTIONS).unwrap();
        assert_eq!(LightBlock::decode(&block.encode()).unwrap(), *block);
    }
    let over = first.advance(blocks[3].clone(), chain.now(), &OPTIONS).unwrap_err();
    assert!(matches!(over, HeaderError::NotEnoughTrust { .. }), "{over:?}");
    // The old set does not decide any more, nor the new one before its time.
    let mut old = blocks[1].clone();
    (old.next_validators, old.validators) = (old.validators.clone(), old.validators.clone());
    assert!(matches!(first.advance(old, chain.now(), &OPTIONS), Err(HeaderError::Invalid(_))));
    let mut early = blocks[1].clone();
    early.validators = early.next_validators.clone();
    assert!(matches!(first.advance(early, chain.now(), &OPTIONS), Err(HeaderError::Invalid(_))));
}

#[test]
fn a_reader_that_has_the_validators_is_not_sent_them() {
    let (chain, blocks) = blocks(3, &[0, 1, 2]);
    let first = start(&chain, &blocks[0]);
    let known = &blocks[0].next_validators;
    let hash = known.hash().as_bytes().try_into().unwrap();
    let short = blocks[2].encode_for(&hash);
    assert!(short.len() + 4 * 40 < blocks[2].encode().len(), "{} bytes", short.len());
    assert_eq!(LightBlock::decode_for(&short, known).unwrap(), blocks[2]);
    assert!(LightBlock::decode(&short).is_err());
    // Another set is sent, whatever the reader has.
    assert_eq!(blocks[2].encode_for(&[7; 32]), blocks[2].encode());
    assert_eq!(LightBlock::decode_for(&blocks[2].encode(), known).unwrap(), blocks[2]);
    // Whoever leaves out a set that the reader does not have gains nothing.
    let mut others = known.validators().clone();
    others.pop();
    let wrong = LightBlock::decode_for(&short, &Set::without_proposer(others)).unwrap();
    let refused = first.advance(wrong, chain.now(), &OPTIONS);
    assert!(matches!(refused, Err(HeaderError::Invalid(_))), "{refused:?}");
}

#[test]
fn tampered_headers_and_thin_commits_are_refused() {
    let (chain, good) = blocks(3, &[0, 1, 2, 3]);
    let first = start(&chain, &good[0]);
    let refuse = |block: LightBlock| first.advance(block, chain.now(), &OPTIONS).unwrap_err();

    let mut time = good[2].clone();
    time.signed_header.header.time = (time.signed_header.header.time + Duration::from_nanos(1)).unwrap();
    assert!(matches!(refuse(time), HeaderError::Invalid(_)));
    let mut data = good[2].clone();
    data.signed_header.header.data_hash = good[1].signed_header.header.last_commit_hash;
    assert!(matches!(refuse(data), HeaderError::Invalid(_)));
    let mut set = good[2].clone();
    set.next_validators = Set::without_proposer(vec![]);
    assert!(matches!(refuse(set), HeaderError::Invalid(_)));
    let (_, thin) = blocks(3, &[0, 1]);
    let mut swapped = good[2].clone();
    swapped.signed_header.commit = thin[2].signed_header.commit.clone();
    assert!(matches!(refuse(swapped), HeaderError::Invalid(_) | HeaderError::NotEnoughTrust { .. }));
}

#[test]
fn a_checkpoint_of_another_chain_hash_or_age_is_refused() {
    let (chain, blocks) = blocks(2, &[0, 1, 2]);
    let point = checkpoint(&blocks[0]);
    let from = |block: &LightBlock, chain_id, now: Time| {
        VerifiedHeader::from_checkpoint(block.clone(), chain_id, &point, now, &OPTIONS).unwrap_err()
    };
    assert!(matches!(from(&blocks[0], "other", chain.now()), HeaderError::Chain { .. }));
    assert!(matches!(
        from(&blocks[1], "weft-test", chain.now()),
        HeaderError::NotTheCheckpoint { height: 1, .. }
    ));
    let later = (chain.now() + Duration::from_secs(4_000)).unwrap();
    assert!(matches!(from(&blocks[0], "weft-test", later), HeaderError::TooOld { limit_seconds: 3_600, .. }));
    let stale = start(&chain, &blocks[0]).advance(blocks[1].clone(), later, &OPTIONS);
    assert!(matches!(stale, Err(HeaderError::TooOld { .. })));
}
