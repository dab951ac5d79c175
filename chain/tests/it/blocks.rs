use std::{num::NonZeroUsize, sync::Arc};

use chain::{Block, BlockError, Candidate, Parameters, Proposal, ValidBlock};
use erasure::Namespace;
use tendermint::{Hash, Time};

use crate::support::{Chain, key, namespace};

fn chain_with_blobs() -> (Chain, Vec<Candidate>) {
    let mut chain = Chain::new(Parameters::default());
    let empty = chain.propose(&[]);
    chain.decide(empty, &[0, 1, 2, 3]);
    let candidates = vec![
        chain.submit(&key(1), 1, &[(namespace(9), vec![1; 3_000]), (namespace(2), vec![2; 100])]),
        chain.submit(&key(2), 2, &[(namespace(2), vec![3; 5_000])]),
    ];
    // As a block has them.
    let chosen = chain::select(&chain.genesis, chain.state(), &chain.proposer(), &candidates).unwrap().chosen;
    assert_eq!(chosen.len(), candidates.len());
    (chain, chosen)
}

fn judge(chain: &Chain, proposal: &Proposal, candidates: &[Candidate]) -> Result<ValidBlock, BlockError> {
    let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
    chain::validate(&chain.genesis, &chain.parent, chain.state(), proposal, candidates, &mut squares)
}

#[test]
fn a_proposed_block_is_valid_to_others_and_after_catching_up() {
    let (chain, candidates) = chain_with_blobs();
    let built = chain.propose(&candidates);
    assert_eq!(built.receipts.len(), 2);
    let proposal = built.proposal(&chain.genesis);
    let body = proposal.encode_body();
    let proposal = Proposal::decode(built.block.header.clone(), &body).unwrap();
    let judged = judge(&chain, &proposal, &candidates).unwrap();
    assert_eq!(judged.update, built.update);
    let block = Block::decode(&built.block.encode()).unwrap();
    assert_eq!(block, built.block);
    let caught_up = chain::validate_decided(&chain.genesis, &chain.parent, chain.state(), &block).unwrap();
    assert_eq!(caught_up.update, built.update);
    assert_eq!(caught_up.placement, built.placement);

    let order: Vec<Namespace> = built.placement.index.entries().iter().map(|e| e.namespace).collect();
    assert_eq!(order, [Namespace::TRANSACTIONS, namespace(2), namespace(2), namespace(9)]);
    let square = built.square.unwrap();
    let entry = &built.placement.index.entries()[3];
    assert_eq!(square.blob_bytes(entry).unwrap(), vec![1; 3_000]);
}

#[test]
fn every_header_field_is_checked() {
    let (chain, candidates) = chain_with_blobs();
    let good = chain.propose(&candidates).proposal(&chain.genesis);
    type Change = fn(&mut Proposal);
    let changes: [(&str, Change); 11] = [
        ("version", |p| p.header.version.app += 1),
        ("chain_id", |p| p.header.chain_id = "other".parse().unwrap()),
        ("height", |p| p.header.height = 7u32.into()),
        ("validators_hash", |p| p.header.validators_hash = Hash::Sha256([1; 32])),
        ("next_validators_hash", |p| p.header.next_validators_hash = Hash::Sha256([1; 32])),
        ("consensus_hash", |p| p.header.consensus_hash = Hash::Sha256([1; 32])),
        ("app_hash", |p| p.header.app_hash = vec![1; 32].try_into().unwrap()),
        ("last_results_hash", |p| p.header.last_results_hash = None),
        ("evidence_hash", |p| p.header.evidence_hash = None),
        ("last_commit_hash", |p| p.header.last_commit_hash = None),
        ("proposer_address", |p| p.header.proposer_address = tendermint::account::Id::new([1; 20])),
    ];
    for (field, change) in changes {
        let mut bad = good.clone();
        change(&mut bad);
        assert_eq!(judge(&chain, &bad, &candidates).unwrap_err(), BlockError::Header(field), "{field}");
    }
    let mut bad = good.clone();
    bad.header.data_hash = Some(Hash::Sha256([1; 32]));
    assert_eq!(judge(&chain, &bad, &candidates).unwrap_err(), BlockError::DataRoot);
    let mut bad = good.clone();
    bad.header.time = chain.genesis.time;
    assert_eq!(judge(&chain, &bad, &candidates).unwrap_err(), BlockError::Time);
    let mut bad = good.clone();
    bad.last_commit = None;
    assert!(matches!(judge(&chain, &bad, &candidates).unwrap_err(), BlockError::Header("last_commit_hash")));
    assert_eq!(judge(&chain, &good, &candidates[..1]).unwrap_err(), BlockError::Transactions);
    judge(&chain, &good, &candidates).unwrap();
}

#[test]
fn a_last_commit_with_too_few_or_false_signatures_is_refused() {
    let (chain, _) = chain_with_blobs();
    let last = chain.parent.last.clone().unwrap();
    let verify = |commit| chain::verify_last_commit(&last.header, &commit, &chain.parent.validators);
    verify(chain.sign_commit(&last.header, &[0, 1, 2])).unwrap();
    assert!(verify(chain.sign_commit(&last.header, &[0, 1])).is_err());
    let mut other = last.header.clone();
    other.time = Time::from_unix_timestamp(1_800_000_000, 0).unwrap();
    assert!(verify(chain.sign_commit(&other, &[0, 1, 2, 3])).is_err());
    let mut forged = chain.sign_commit(&last.header, &[0, 1, 2]);
    forged.signatures = chain.sign_commit(&other, &[0, 1, 2]).signatures;
    assert!(verify(forged).is_err());
}

#[test]
fn a_proposal_far_ahead_of_the_clock_is_early_and_not_invalid() {
    let (chain, candidates) = chain_with_blobs();
    let valid = chain.propose(&candidates);
    let second = std::time::Duration::from_secs(1);
    let time = valid.block.header.time;
    assert!(!chain::is_early(&valid.block.header, time));
    assert!(!chain::is_early(&valid.block.header, (time - 2 * second).unwrap()));
    assert!(chain::is_early(&valid.block.header, (time - 3 * second).unwrap()));
}

#[test]
fn a_full_block_uses_the_widest_square_and_the_rest_waits() {
    let mut chain = Chain::new(Parameters::default());
    let mib = 1 << 20;
    let candidates: Vec<_> =
        (0..9).map(|at| chain.submit(&key(1), at, &[(namespace(at + 1), vec![at; mib - 20_000])])).collect();
    let valid = chain.propose(&candidates);
    assert_eq!(valid.placement.width.get(), 128);
    assert_eq!(valid.receipts.len(), 8);
    let included = |candidate: &&Candidate| {
        valid.receipts.iter().any(|receipt| receipt.id == candidate.transaction().id())
    };
    let rest: Vec<_> = candidates.iter().filter(|candidate| !included(candidate)).cloned().collect();
    chain.decide(valid, &[0, 1, 2]);
    assert_eq!(chain.propose(&rest).receipts.len(), 1);
}

#[test]
fn tips_order_a_block_then_expiry_then_the_id_whatever_came_first() {
    let chain = Chain::new(Parameters::default());
    let offered = |salt: u8, tip: u64, later: u64| {
        let bytes = vec![salt; 10];
        let blobs = vec![chain::BlobHeader::describe(namespace(1), &bytes, &[], &[])];
        let mut payload =
            chain.payload(&key(1), salt, chain::Action::SubmitBlobs { blobs, reservation: None });
        payload.tip = tip;
        payload.valid_until += later;
        chain.candidate(chain.sign(&key(1), payload), vec![bytes])
    };
    let mut alike = [offered(1, 5, 1), offered(2, 5, 1)];
    alike.sort_by_key(|candidate| candidate.transaction().id());
    let [first, second] = alike;
    let expected = [offered(3, 50, 1), offered(4, 5, 0), first, second];
    let ids = |candidates: &[Candidate]| -> Vec<_> {
        candidates.iter().map(|candidate| candidate.transaction().id()).collect()
    };
    for turn in 0..expected.len() {
        let mut arrived = expected.clone();
        arrived.rotate_left(turn);
        let chosen =
            chain::select(&chain.genesis, chain.state(), &chain.proposer(), &arrived).unwrap().chosen;
        assert_eq!(ids(&chosen), ids(&expected));
    }
}

#[test]
fn what_stands_back_behind_a_chosen_transaction_is_not_refused() {
    let chain = Chain::new(Parameters::default());
    let transfer = |from: u8, salt, amount| {
        let action = chain::Action::Transfer { to: key(9).address(), amount };
        chain.candidate(chain.sign(&key(from), chain.payload(&key(from), salt, action)), vec![])
    };
    let funds = chain.state().balance(&key(1).address()).unwrap();
    let most = funds / 3 * 2;
    let candidates = [transfer(1, 1, most), transfer(1, 2, most), transfer(1, 3, 2 * funds)];
    let selected = chain::select(&chain.genesis, chain.state(), &chain.proposer(), &candidates).unwrap();
    assert_eq!(selected.chosen.len(), 1, "either leaves too little for the other");
    let refused: Vec<_> = selected.refused.iter().map(|(id, _)| *id).collect();
    assert_eq!(refused, [candidates[2].transaction().id()]);
}

#[test]
fn who_chose_the_same_holds_the_square_before_the_proposal_comes() {
    let (chain, candidates) = chain_with_blobs();
    let valid = chain.propose(&candidates);
    let (genesis, parent, state) = (&chain.genesis, &chain.parent, chain.state());
    let proposal = valid.proposal(genesis);
    let square_beside = |prepared: &[Candidate]| {
        let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
        let draft = chain::draft(genesis, parent, state, prepared, chain.proposer(), &mut squares).unwrap();
        let judged = chain::validate(genesis, parent, state, &proposal, &candidates, &mut squares).unwrap();
        (draft.square().clone(), judged.square.unwrap())
    };
    let (prepared, judged) = square_beside(&candidates);
    assert!(Arc::ptr_eq(&prepared, &judged));
    let (prepared, judged) = square_beside(&candidates[..1]);
    assert_ne!(prepared, judged);
    assert_eq!(Some(Hash::Sha256(judged.data_root())), proposal.header.data_hash);
}

#[test]
fn a_candidate_needs_exactly_its_own_bodies() {
    let chain = Chain::new(Parameters::default());
    let one = chain.submit(&key(1), 1, &[(namespace(1), vec![1])]);
    let two = chain.submit(&key(1), 2, &[(namespace(1), vec![2])]);
    assert!(Candidate::new(one.transaction().clone(), two.blobs().to_vec()).is_none());
    assert!(Candidate::new(Arc::clone(one.transaction()), vec![]).is_none());
}

#[test]
fn a_draft_is_sealed_on_the_block_it_was_made_for_only() {
    let mut chain = Chain::new(Parameters::default());
    let candidate = chain.submit(&key(1), 1, &[(namespace(1), vec![1; 100])]);
    let mut squares = chain::SquareBuilder::new(NonZeroUsize::MIN);
    let mut draft = || {
        chain::draft(
            &chain.genesis,
            &chain.parent,
            chain.state(),
            std::slice::from_ref(&candidate),
            chain.proposer(),
            &mut squares,
        )
    };
    let (in_time, late) = (draft().unwrap(), draft().unwrap());
    let valid = in_time.seal(&chain.genesis, &chain.parent, chain.now()).unwrap();
    chain.decide(valid, &[0, 1, 2]);
    let refused = late.seal(&chain.genesis, &chain.parent, chain.now()).unwrap_err();
    assert_eq!(refused, BlockError::Header("height"));
}
