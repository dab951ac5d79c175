//! A snapshot is taken whole and under a trusted header, or not at all.

use std::time::Duration;

use chain::{
    Action, Checkpoint, DecodeError, HeaderError, LightBlock, MemoryState, Parameters, Parent, SnapshotError,
    SnapshotHead, State, StateChunk, StateKey, StateProof, StateRestore, StateUpdate, TrustOptions,
    VerifiedSnapshot,
};
use proptest::prelude::*;
use tendermint::Time;

use crate::support::{Chain, key};

const ALL: [usize; 4] = [0, 1, 2, 3];

const OPTIONS: TrustOptions = TrustOptions {
    trusting_period: Duration::from_secs(3_600),
    clock_drift: Duration::from_secs(5),
    newest_rules: chain::RULES_VERSION,
};

/// A chain of `blocks` blocks, each with a transfer; the last two light blocks.
fn chain(blocks: u8) -> (Chain, SnapshotHead) {
    let mut chain = Chain::new(Parameters::default());
    let mut light = Vec::new();
    for salt in 0..blocks {
        let to = key(200u8.wrapping_add(salt)).address();
        let transfer = chain.sign(&key(1), chain.payload(&key(1), salt, Action::Transfer { to, amount: 5 }));
        let candidate = chain.candidate(transfer, Vec::new());
        light.push(chain.decide(chain.propose(&[candidate]), &ALL));
    }
    let next = light.pop().unwrap();
    let last = light.pop().unwrap();
    (chain, SnapshotHead { last, next })
}

fn checkpoint(block: &LightBlock) -> Checkpoint {
    let header = &block.signed_header.header;
    Checkpoint { height: header.height.value(), hash: header.hash().as_bytes().try_into().unwrap() }
}

fn verify(
    chain: &Chain,
    head: SnapshotHead,
    trust: &Checkpoint,
    now: Time,
) -> Result<VerifiedSnapshot, SnapshotError> {
    let trusted = head.trusted(&chain.genesis.chain_id, trust, now, &OPTIONS)?;
    head.verify(&chain.genesis, &trusted, now, &OPTIONS)
}

fn restore(mut restore: StateRestore, chunks: Vec<StateChunk>) -> Result<MemoryState, SnapshotError> {
    let mut store = MemoryState::default();
    for chunk in chunks {
        store.apply(restore.add(chunk)?);
    }
    store.apply(restore.finish()?);
    Ok(store)
}

#[test]
fn a_restored_state_is_the_state_and_goes_on_like_it() {
    let (mut chain, head) = chain(6);
    let head = SnapshotHead::decode(&head.encode()).unwrap();
    let height = head.height();
    assert_eq!(height, chain.height() - 2);
    let (last, next) = (head.last.clone(), head.next.clone());
    for trust in [&next, &last] {
        verify(&chain, head.clone(), &checkpoint(trust), chain.now()).unwrap();
    }
    let snapshot = verify(&chain, head, &checkpoint(&next), chain.now()).unwrap();
    let chunks: Vec<_> = State::at(&chain.store, height).chunks().unwrap().map(Result::unwrap).collect();
    let chunks = chunks.iter().map(|chunk| StateChunk::decode(&chunk.encode()).unwrap()).collect();
    let mut restored = restore(snapshot.restore(), chunks).unwrap();
    for name in ["excess", "burned", "validators", "validators-next", "seen/51"] {
        let key: StateKey = name.parse().unwrap();
        let (value, proof) = State::at(&restored, height).prove(&key).unwrap();
        assert_eq!((value, proof), State::at(&chain.store, height).prove(&key).unwrap(), "{name}");
    }
    let same = |state: State<'_, MemoryState>| state.balance(&key(1).address()).unwrap();
    assert_eq!(same(State::at(&restored, height)), same(State::at(&chain.store, height)));

    // The chain goes on from the restored state alone.
    let whole = std::mem::take(&mut chain.store);
    chain.parent =
        Parent::new(State::at(&restored, height), Some(last.signed_header), chain::RULES_VERSION).unwrap();
    assert_eq!(chain.parent.state_root.as_slice(), next.signed_header.header.app_hash.as_bytes());
    chain.store = restored;
    for salt in 100..103 {
        let to = key(9).address();
        let transfer = chain.sign(&key(2), chain.payload(&key(2), salt, Action::Transfer { to, amount: 7 }));
        let candidate = chain.candidate(transfer, Vec::new());
        chain.decide(chain.propose(&[candidate]), &ALL);
    }
    assert_eq!(chain.state().balance(&key(9).address()).unwrap(), 21);
    restored = chain.store;
    assert!(State::at(&restored, 1).root().is_err() && State::at(&whole, 1).root().is_ok());
}

#[test]
fn a_head_that_the_checkpoint_does_not_lead_to_is_refused() {
    let (chain, head) = chain(5);
    let (now, trust) = (chain.now(), checkpoint(&head.next));
    let other = Checkpoint { hash: [7; 32], ..trust };
    assert!(matches!(
        verify(&chain, head.clone(), &other, now),
        Err(SnapshotError::Header(HeaderError::NotTheCheckpoint { .. }))
    ));
    let elsewhere = Checkpoint { height: 1, ..trust };
    assert_eq!(
        verify(&chain, head.clone(), &elsewhere, now),
        Err(SnapshotError::OtherHeight { height: head.height(), got: 1 })
    );
    let late = (now + Duration::from_secs(7_200)).unwrap();
    assert!(matches!(
        verify(&chain, head.clone(), &trust, late),
        Err(SnapshotError::Header(HeaderError::TooOld { .. }))
    ));

    // A header that is trusted, and another than the snapshot's.
    let trusted = head.trusted(&chain.genesis.chain_id, &trust, now, &OPTIONS).unwrap();
    let mut changed = head.clone();
    changed.next.signed_header.header.app_hash = vec![9; 32].try_into().unwrap();
    assert!(matches!(
        changed.verify(&chain.genesis, &trusted, now, &OPTIONS),
        Err(SnapshotError::OtherHeader { .. })
    ));
    let mut changed = head.clone();
    changed.last.signed_header.header.app_hash = vec![9; 32].try_into().unwrap();
    assert!(matches!(
        changed.verify(&chain.genesis, &trusted, now, &OPTIONS),
        Err(SnapshotError::Header(HeaderError::NotThePredecessor { .. }))
    ));
    // The hash of the header says nothing about the commit beside it.
    let mut changed = head.clone();
    for signature in &mut changed.last.signed_header.commit.signatures[..2] {
        *signature = tendermint::block::CommitSig::BlockIdFlagAbsent;
    }
    assert!(matches!(
        changed.verify(&chain.genesis, &trusted, now, &OPTIONS),
        Err(SnapshotError::Commit { .. })
    ));
    let mut genesis = chain.genesis.clone();
    genesis.parameters.retention_seconds += 1;
    assert_eq!(head.clone().verify(&genesis, &trusted, now, &OPTIONS), Err(SnapshotError::OtherParameters));
    // An old header that a young one leads to by hash is still too old: its validators may have left.
    assert!(matches!(
        head.verify(&chain.genesis, &trusted, late, &OPTIONS),
        Err(SnapshotError::Header(HeaderError::TooOld { .. }))
    ));
}

/// One value of a chunk as it is encoded.
type Value = ([u8; 32], Vec<u8>);

/// A state of `count` values beside those of genesis: as large as one asks for.
fn large(count: u32, len: usize) -> (MemoryState, [u8; 32]) {
    let mut chain = Chain::new(Parameters::default());
    let mut accounts = chain.genesis.accounts.clone();
    for at in 0..count {
        let hash: [u8; 32] = erasure::sha256(&at.to_be_bytes());
        let address = chain::Address::from_bytes(hash[..20].try_into().unwrap());
        accounts.push(chain::GenesisAccount { address, balance: u64::from(at) + len as u64 });
    }
    chain.genesis.accounts = accounts;
    let update = StateUpdate::genesis(&chain.genesis).unwrap();
    let root = update.root;
    let mut store = MemoryState::default();
    store.apply(update);
    (store, root)
}

fn chunks_of(store: &MemoryState) -> Vec<StateChunk> {
    State::at(store, 0).chunks().unwrap().map(Result::unwrap).collect()
}

/// The values of a chunk, and the bytes behind them.
fn taken_apart(chunk: &StateChunk) -> (Vec<Value>, Vec<u8>) {
    let bytes = chunk.encode();
    let mut rest = &bytes[4..];
    let mut values = Vec::new();
    for _ in 0..chunk.count() {
        let len = u32::from_be_bytes(rest[32..36].try_into().unwrap()) as usize;
        values.push((rest[..32].try_into().unwrap(), rest[36..36 + len].to_vec()));
        rest = &rest[36 + len..];
    }
    (values, rest.to_vec())
}

fn put_together(values: &[Value], proof: &[u8]) -> StateChunk {
    let mut bytes = (values.len() as u32).to_be_bytes().to_vec();
    for (key, value) in values {
        bytes.extend([&key[..], &(value.len() as u32).to_be_bytes(), value].concat());
    }
    StateChunk::decode(&[&bytes, proof].concat()).unwrap()
}

#[test]
fn a_large_state_comes_in_chunks_of_which_none_may_be_missing_or_moved() {
    let (store, root) = large(60_000, 0);
    let chunks = chunks_of(&store);
    assert!(chunks.len() > 2, "{}", chunks.len());
    assert!(chunks.iter().all(|chunk| chunk.encode().len() < 1_100_000));
    let restored = restore(StateRestore::new(0, root), chunks.clone()).unwrap();
    assert_eq!(chunks_of(&restored), chunks);

    let mut swapped = chunks.clone();
    swapped.swap(0, 1);
    let twice = [&chunks[..1], &chunks[..]].concat();
    for wrong in [chunks[1..].to_vec(), swapped, twice] {
        assert!(matches!(restore(StateRestore::new(0, root), wrong).unwrap_err(), SnapshotError::Values(_)));
    }
    let torn = chunks[..chunks.len() - 1].to_vec();
    assert_eq!(restore(StateRestore::new(0, root), torn).unwrap_err(), SnapshotError::Incomplete);
    assert_eq!(restore(StateRestore::new(0, root), Vec::new()).unwrap_err(), SnapshotError::Incomplete);
}

#[test]
fn every_value_changed_left_out_or_added_is_found_in_its_chunk() {
    let (store, root) = large(40, 0);
    let [chunk] = &chunks_of(&store)[..] else { panic!("one chunk holds it") };
    let (values, proof) = taken_apart(chunk);
    assert_eq!(&put_together(&values, &proof), chunk);
    let refused = |values: &[Value]| {
        let mut restore = StateRestore::new(0, root);
        let outcome = restore.add(put_together(values, &proof));
        assert!(matches!(outcome, Err(SnapshotError::Values(_))), "{outcome:?}");
    };
    for at in 0..values.len() {
        let mut changed = values.clone();
        changed[at].1[0] ^= 1;
        refused(&changed);
        let mut moved = values.clone();
        moved[at].0[31] ^= 1;
        refused(&moved);
        let mut without = values.clone();
        without.remove(at);
        refused(&without);
        let mut more = values.clone();
        let mut added = values[at].clone();
        added.0[31] ^= 1;
        more.insert(if added.0 > values[at].0 { at + 1 } else { at }, added);
        refused(&more);
        let mut twice = values.clone();
        twice.insert(at, values[at].clone());
        refused(&twice);
    }
    refused(&[]);
}

#[test]
fn what_is_no_head_and_no_chunk_is_refused() {
    let (store, _) = large(3, 0);
    let bytes = chunks_of(&store)[0].encode();
    for len in 0..bytes.len() {
        assert!(StateChunk::decode(&bytes[..len]).is_err(), "{len}");
    }
    assert!(StateChunk::decode(&[&bytes[..], &[0]].concat()).is_err());
    assert!(matches!(StateChunk::decode(&[0xff; 40]), Err(DecodeError::Length { .. })));
    // A sibling may take one byte, and takes 65 once it is read.
    let siblings = [&257u32.to_le_bytes()[..], &[0; 257]].concat();
    let too_many = |field| DecodeError::TooMany { field, limit: 256, got: 257 };
    let chunk = [&[0; 4][..], &siblings].concat();
    assert_eq!(StateChunk::decode(&chunk), Err(too_many("chunk.proof")));
    for leaf in [vec![0], vec![1; 65]] {
        let proof = StateProof::decode(&[&leaf[..], &siblings].concat());
        assert_eq!(proof, Err(too_many("state_proof.siblings")));
    }
    assert!(SnapshotHead::decode(&[]).is_err() && SnapshotHead::decode(&[0xff; 9]).is_err());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Whatever is done to the bytes of a chunk, restoring neither panics nor ends in another state.
    #[test]
    fn damaged_chunks_are_refused_and_never_panic(
        count in 0u32..60, at in any::<prop::sample::Index>(), with in any::<u8>(), cut in any::<bool>(),
    ) {
        let (store, root) = large(count, 0);
        let whole = chunks_of(&store);
        let mut bytes = whole[0].encode();
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= with }
        if let Ok(chunk) = StateChunk::decode(&bytes) {
            let outcome = restore(StateRestore::new(0, root), vec![chunk]);
            if let Ok(restored) = outcome {
                prop_assert_eq!(chunks_of(&restored), whole);
            }
        }
    }
}
