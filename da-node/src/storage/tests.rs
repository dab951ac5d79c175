//! The database is what it was after any reopening, and says so when a record is not.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::{sync::Arc, time::Duration};

use blob_api::MarketBlock;
use chain::{Culprit, Equivocation, Evidence, SignedStep, State, Step};
use erasure::{ForeignCommitment, ForeignKind, OriginalSquare};
use tempfile::TempDir;

use super::*;
use crate::test_chain::{FUNDS, TestChain, blob, key};

const SECOND: Duration = Duration::from_secs(1);

/// A store with the block at height 1: two blobs in a square of width 8.
fn with_a_block() -> (TempDir, TestChain, Store, ValidBlock, Commit) {
    let dir = tempfile::tempdir().unwrap();
    let mut chain = TestChain::new("weft-storage");
    let store = Store::open(dir.path(), &chain.genesis).unwrap();
    let blobs = vec![blob(2, vec![2; 10_000]), blob(1, vec![1; 7])];
    let valid = chain.propose(&store, &[chain.transaction(1, 0, 50, blobs)], SECOND);
    store.put_candidate(&valid, valid.square.as_deref()).unwrap();
    let commit = chain.decide(&valid);
    store.commit_block(&valid, &commit).unwrap();
    (dir, chain, store, valid, commit)
}

fn put(store: &Store, family: &'static str, key: &[u8], value: &[u8]) {
    store.db.put_cf(store.family(family).unwrap(), key, value).unwrap();
}

fn keys(store: &Store, family: &'static str) -> usize {
    store.scan(family, b"").unwrap().map(Result::unwrap).count()
}

#[test]
fn a_committed_block_is_all_there_after_reopening() {
    let (dir, chain, store, valid, commit) = with_a_block();
    store.put_undecided(2, b"a proposal").unwrap();
    drop(store);
    let store = Store::open(dir.path(), &chain.genesis).unwrap();

    assert_eq!(store.tip().unwrap(), 1);
    assert_eq!(store.block(1).unwrap().unwrap(), valid.block);
    assert_eq!(store.block_bytes(1).unwrap().unwrap(), valid.block.encode());
    assert_eq!(store.commit(1).unwrap().unwrap(), commit);
    assert_eq!(store.undecided(2).unwrap(), [b"a proposal"]);
    assert_eq!(State::at(&store, 1).root().unwrap(), valid.update.root);
    let receipt = valid.receipts[0];
    let included = Included { height: 1, position: 0, charged: receipt.charged };
    assert_eq!(store.transaction(&receipt.id).unwrap(), Some(included));
    let (parts, index) = store.index(1).unwrap().unwrap();
    assert_eq!(parts, valid.square.as_ref().unwrap().parts());
    assert_eq!(index, valid.placement.index);
    for (position, entry) in index.entries().iter().enumerate().skip(1) {
        let place = Some((1, position as u32));
        assert_eq!(store.find(&entry.commitment.into()).unwrap(), place);
        let [foreign] = &entry.foreign[..] else { panic!("each blob of the test chain carries one") };
        assert_eq!(store.find(&foreign.clone().into()).unwrap(), place);
        let other = ForeignCommitment { kind: ForeignKind::Keccak256, ..foreign.clone() };
        assert_eq!(store.find(&other.into()).unwrap(), None);
    }
    assert_eq!(store.find(&[0; 32].into()).unwrap(), None);
    assert_eq!((store.block(2).unwrap(), store.commit(2).unwrap()), (None, None));
}

/// What a store with the block at height 1 holds, as far as it can be read.
fn read(store: &Store) -> Result<String, StoreError> {
    let (block, commit, index) = (store.block_bytes(1)?, store.commit(1)?, store.index(1)?);
    let squares: Vec<_> = store.scan("squares", b"")?.collect::<Result<_, _>>()?;
    let root = State::at(store, store.tip()?).root()?;
    Ok(format!("{:?}", (store.tip()?, block, commit, index, squares, root)))
}

#[test]
fn a_byte_that_the_disk_changed_is_found_and_takes_no_block_away() {
    let (dir, chain, store, ..) = with_a_block();
    let whole = read(&store).unwrap();
    drop(store);
    // The records of the first opening are in the log; the second moves them to tables.
    for tables in [false, true] {
        if tables {
            drop(Store::open(dir.path(), &chain.genesis).unwrap());
        }
        let mut found = 0;
        for file in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
            let bytes = std::fs::read(dir.path().join(&file)).unwrap();
            for at in (0..4).map(|part| bytes.len() * part / 4).filter(|at| *at < bytes.len()) {
                let copy = tempfile::tempdir().unwrap();
                for other in std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()) {
                    std::fs::copy(dir.path().join(&other), copy.path().join(&other)).unwrap();
                }
                let mut changed = bytes.clone();
                changed[at] ^= 1;
                std::fs::write(copy.path().join(&file), changed).unwrap();
                match Store::open(copy.path(), &chain.genesis).and_then(|store| read(&store)) {
                    Ok(seen) => assert!(seen == whole, "byte {at} of {file:?} took something away"),
                    Err(_) => found += 1,
                }
            }
        }
        assert!(found > 4, "{found}");
    }
}

#[test]
fn evidence_is_kept_until_it_is_dropped() {
    let (dir, chain, store, ..) = with_a_block();
    let message = |byte| SignedStep { block: None, pol_round: None, signature: [byte; 64] };
    let evidence = |validator, height| {
        Evidence::Equivocation(Equivocation {
            validator: [validator; 32],
            step: Step::Prevote,
            height,
            round: 0,
            first: message(1),
            second: message(2),
        })
    };
    store.put_evidence(&[evidence(1, 1), evidence(2, 1)]).unwrap();
    let later = evidence(2, 2);
    store.put_evidence(std::slice::from_ref(&later)).unwrap();
    drop(store);
    let store = Store::open(dir.path(), &chain.genesis).unwrap();
    assert_eq!(store.evidence().unwrap(), [evidence(1, 1), later.clone()], "one of each validator");
    store.drop_evidence(&Culprit::Consensus([1; 32])).unwrap();
    assert_eq!(store.evidence().unwrap(), [later]);
}

#[test]
fn a_write_that_was_torn_off_takes_nothing_else_away() {
    let (dir, chain, store, ..) = with_a_block();
    let whole = read(&store).unwrap();
    store.put_undecided(2, &[7; 1_000]).unwrap();
    drop(store);
    let is_log = |name: &std::ffi::OsString| name.to_string_lossy().ends_with(".log");
    let names = || std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let log = names().find(is_log).unwrap();
    let bytes = std::fs::read(dir.path().join(&log)).unwrap();
    for torn in [1, 500, 900, 1_100] {
        let copy = tempfile::tempdir().unwrap();
        for name in names() {
            std::fs::copy(dir.path().join(&name), copy.path().join(&name)).unwrap();
        }
        std::fs::write(copy.path().join(&log), &bytes[..bytes.len() - torn]).unwrap();
        let store = Store::open(copy.path(), &chain.genesis).unwrap();
        assert!(store.undecided(2).unwrap().is_empty(), "{torn} bytes less are not all of it");
        if torn < 1_000 {
            assert_eq!(read(&store).unwrap(), whole);
        } else {
            // Into the block before: none of it is there.
            assert_eq!(
                (store.tip().unwrap(), store.block_bytes(1).unwrap(), store.commit(1).unwrap()),
                (0, None, None)
            );
        }
    }
}

#[test]
fn the_database_of_another_chain_is_refused() {
    let (dir, chain, store, ..) = with_a_block();
    drop(store);
    let other = TestChain::new("weft-other").genesis;
    let Err(StoreError::OtherGenesis { expected, found }) = Store::open(dir.path(), &other) else {
        panic!("opened with another genesis");
    };
    assert_eq!((expected, found), (hex::encode(other.hash()), hex::encode(chain.genesis.hash())));
}

#[test]
fn shares_are_those_of_the_square_wherever_a_range_begins_and_ends() {
    let (_dir, _chain, store, valid, _) = with_a_block();
    let square = valid.square.unwrap();
    let (width, root, bytes) = (square.width(), square.data_root(), square.original().into_bytes());
    assert_eq!(width.get(), 8);
    assert!(keys(&store, "squares") < 8, "rows of zeros are left out");
    for start in 0..=64 {
        for count in 0..=64 - start {
            let range = start as usize * SHARE_BYTES..(start + count) as usize * SHARE_BYTES;
            let shares = store.shares(1, &root, width, start, count).unwrap().unwrap();
            assert_eq!(shares, bytes[range], "{start}+{count}");
        }
    }
}

#[test]
fn what_lost_is_dropped_once_a_block_is_decided() {
    let (_dir, mut chain, store, ..) = with_a_block();
    let blobs = |id| vec![blob(id, vec![id; 2_000])];
    let lost = chain.propose(&store, &[chain.transaction(1, 1, 50, blobs(5))], SECOND);
    let won = chain.propose(&store, &[chain.transaction(1, 2, 50, blobs(6))], SECOND * 2);
    for valid in [&lost, &won] {
        store.put_candidate(valid, valid.square.as_deref()).unwrap();
        store.put_undecided(2, &valid.block.encode()).unwrap();
        let hash = valid.block.header.hash();
        assert_eq!(store.candidate(2, hash.as_bytes()).unwrap().as_ref(), Some(&valid.block));
    }
    let before = keys(&store, "squares");
    let commit = chain.decide(&won);
    store.commit_block(&won, &commit).unwrap();
    assert_eq!((keys(&store, "candidates"), keys(&store, "undecided")), (0, 0));
    // What is still being written when its height is decided is not kept either.
    let square = lost.square.as_deref();
    let squares = keys(&store, "squares");
    store.put_candidate(&lost, square).unwrap();
    store.put_undecided(2, &lost.block.encode()).unwrap();
    store.put_undecided_square(2, square.unwrap()).unwrap();
    assert_eq!(
        (keys(&store, "candidates"), keys(&store, "undecided"), keys(&store, "squares")),
        (0, 0, squares)
    );
    assert!(keys(&store, "squares") < before);
    let bytes = |square: &CommittedSquare| {
        store
            .shares(2, &square.data_root(), square.width(), 0, square.width().shares() as u32)
            .unwrap()
            .unwrap()
    };
    let (lost, won) = (lost.square.unwrap(), won.square.unwrap());
    assert_eq!(bytes(&won), won.original().into_bytes());
    assert!(bytes(&lost).iter().all(|byte| *byte == 0));
    assert_eq!(store.block(1).unwrap().unwrap().header.height.value(), 1, "earlier heights are left alone");
}

#[test]
fn a_block_committed_without_its_square_gets_it_later() {
    let (_dir, mut chain, store, ..) = with_a_block();
    let mut valid =
        chain.propose(&store, &[chain.transaction(1, 1, 50, vec![blob(5, vec![5; 2_000])])], SECOND);
    let square = valid.square.take().unwrap();
    let commit = chain.decide(&valid);
    store.commit_block(&valid, &commit).unwrap();
    assert_eq!(store.index(2).unwrap(), None);
    assert!(store.find(&valid.placement.index.entries()[1].commitment.into()).unwrap().is_some());
    store.backfill(2, &square).unwrap();
    assert_eq!(store.index(2).unwrap(), Some((square.parts(), square.index().clone())));
    let shares = store
        .shares(2, &square.data_root(), square.width(), 0, square.width().shares() as u32)
        .unwrap()
        .unwrap();
    let rebuilt = OriginalSquare::from_shares(square.width(), &shares).unwrap();
    assert_eq!(rebuilt.commit(square.index().clone()).data_root(), square.data_root());
}

#[test]
fn a_value_is_the_newest_of_its_version_or_before() {
    let (_dir, _chain, store, valid, _) = with_a_block();
    let balance = |version| State::at(&store, version).balance(&key(1).address()).unwrap();
    assert_eq!(balance(0), FUNDS);
    assert_eq!(balance(1), FUNDS - valid.receipts[0].charged);
    let (hash, value) = valid.update.values.iter().find(|(_, value)| value.is_some()).unwrap();
    assert_eq!(&store.value(hash, 1).unwrap(), value);
    assert_eq!(store.value(hash, 99).unwrap(), store.value(hash, 1).unwrap());
    assert_eq!(store.value(&[0xff; 32], 99).unwrap(), None);

    let update = |version, value: Option<&[u8]>| StateUpdate {
        version,
        root: [0; 32],
        nodes: Vec::new(),
        values: vec![([7; 32], value.map(Vec::from))],
        stale: Vec::new(),
    };
    for (version, value) in [(3, Some(&b"three"[..])), (5, None), (300, Some(b"much later"))] {
        let mut batch = WriteBatch::default();
        store.put_state(&mut batch, &update(version, value)).unwrap();
        store.write(batch).unwrap();
    }
    let at = |version| store.value(&[7; 32], version).unwrap();
    assert_eq!((at(2), at(3), at(4)), (None, Some(b"three".to_vec()), Some(b"three".to_vec())));
    assert_eq!((at(5), at(299), at(300)), (None, None, Some(b"much later".to_vec())));
}

#[test]
fn corrupt_records_are_named_and_never_panic() {
    let (dir, chain, store, valid, _) = with_a_block();
    let id = valid.receipts[0].id;
    let square = Arc::unwrap_or_clone(valid.square.unwrap());
    let (height, root) = (1u64.to_be_bytes(), square.data_root());
    let named = |result: Result<(), StoreError>, name: &str| match result {
        Err(StoreError::Corrupt(found)) => assert_eq!(found, name),
        other => panic!("{name}: {other:?}"),
    };
    for garbage in [&b""[..], b"\x07", &[0xff; 100]] {
        put(&store, "blocks", &height, garbage);
        named(store.block(1).map(|_| ()), "block");
        put(&store, "candidates", &super::key(9, &[9; 32]), garbage);
        named(store.candidate(9, &[9; 32]).map(|_| ()), "candidate");
        put(&store, "commits", &height, garbage);
        named(store.commit(1).map(|_| ()), "commit");
        put(&store, "indexes", &height, garbage);
        named(store.index(1).map(|_| ()), "index");
        put(&store, "squares", &row_key(1, &root, 0), garbage);
        named(store.shares(1, &root, square.width(), 3, 1).map(|_| ()), "square");
    }
    for garbage in [&b""[..], b"\x07", &[0xff; 19]] {
        put(&store, "transactions", &id.0, garbage);
        named(store.transaction(&id).map(|_| ()), "transaction");
        put(&store, "commitments", &[&[9; 32], garbage].concat(), b"");
    }
    named(store.find(&[9; 32].into()).map(|_| ()), "commitments");
    for record in store.scan("nodes", b"").unwrap().map(Result::unwrap) {
        put(&store, "nodes", &record.0, b"\xff\xff");
    }
    assert!(matches!(State::at(&store, 1).root(), Err(StateError::Store(_))));
    for record in [b"tip", &b"pruned"[..]] {
        put(&store, "meta", record, &[0xff; 8]);
        store.load_pruned().unwrap();
        assert_eq!(store.find(&[8; 32].into()).unwrap(), None);
        let newest = store.last_before(tendermint::Time::unix_epoch());
        assert!(matches!(newest, Ok(u64::MAX) | Err(StoreError::Corrupt("block"))), "{newest:?}");
    }
    put(&store, "meta", b"tip", b"short");
    named(store.tip().map(|_| ()), "tip");
    put(&store, "meta", b"genesis", b"?");
    drop(store);
    assert!(matches!(Store::open(dir.path(), &chain.genesis), Err(StoreError::OtherGenesis { .. })));
}

#[test]
fn the_pool_comes_back_in_order_and_without_what_left() {
    let (dir, chain, store, ..) = with_a_block();
    let id = |n: u8| TxId([n; 32]);
    let pooled = |n: u8, arrival| Pooled { id: id(n), arrival, submission: vec![n; 3] };
    for (n, arrival) in [(9, 0), (1, 1), (5, 2)] {
        store.change_pool(Some(&pooled(n, arrival)), &[]).unwrap();
    }
    store.change_pool(Some(&pooled(4, 3)), &[id(1), id(7)]).unwrap();
    drop(store);
    let store = Store::open(dir.path(), &chain.genesis).unwrap();
    assert_eq!(store.pooled().unwrap(), [pooled(9, 0), pooled(5, 2), pooled(4, 3)]);
}

#[test]
fn the_market_remembers_what_blocks_charged() {
    let (_dir, chain, store, ..) = with_a_block();
    let block = |height| MarketBlock {
        height,
        time: (chain.genesis.time + Duration::new(height, 7)).unwrap(),
        excess: 10 * height,
        used: 11 * height,
        transactions: 2,
        blob_bytes: u64::MAX,
    };
    for height in 1..=5 {
        store.put_market(&block(height)).unwrap();
    }
    assert_eq!(store.market(4, 2).unwrap(), [block(3), block(4)]);
    assert_eq!(store.market(2, 100).unwrap(), [block(1), block(2)]);
}

/// Bytes that no compression makes shorter.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// Bytes on disk once everything is written out and compacted.
fn settled_bytes(store: &Store) -> u64 {
    for name in FAMILIES {
        let family = store.family(name).unwrap();
        store.db.flush_cf(family).unwrap();
        store.db.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>);
    }
    store.disk_bytes().unwrap()
}

#[test]
fn with_pruning_the_disk_stays_bounded_and_only_squares_and_old_states_go() {
    const BLOB_BYTES: usize = 100_000;
    const KEPT: Height = 20;
    let dir = tempfile::tempdir().unwrap();
    let mut chain = TestChain::new("weft-pruned");
    let store = Store::open(dir.path(), &chain.genesis).unwrap();
    let (mut commitments, mut measured) = (Vec::new(), Vec::new());
    // What is remembered of transactions is as much as it gets after a hundred heights.
    for height in 1..=180u64 {
        let blobs = vec![blob(1, noise(height, BLOB_BYTES)), blob(2, vec![7; 9])];
        commitments.push(blobs[0].header().commitment);
        let valid = chain.propose(&store, &[chain.transaction(1, height as u8, height + 20, blobs)], SECOND);
        store.put_candidate(&valid, valid.square.as_deref()).unwrap();
        let commit = chain.decide(&valid);
        store.commit_block(&valid, &commit).unwrap();
        if height.is_multiple_of(10) {
            let oldest = (valid.block.header.time - Duration::from_secs(KEPT)).unwrap();
            let up_to = store.last_before(oldest).unwrap();
            assert_eq!(up_to, height.saturating_sub(KEPT + 1));
            store.prune_squares(up_to).unwrap();
            store.prune_state(height.saturating_sub(5)).unwrap();
        }
        if height == 120 || height == 180 {
            measured.push((settled_bytes(&store), keys(&store, "nodes"), keys(&store, "values")));
        }
    }
    let [(bytes, nodes, values), (later_bytes, later_nodes, later_values)] = measured[..] else { panic!() };
    println!("at 120: {bytes} bytes, {nodes} nodes, {values} values; at 180: {measured:?}");
    let squares = KEPT * BLOB_BYTES as u64;
    assert!(bytes > squares && later_bytes < bytes + squares / 4, "{bytes}, then {later_bytes}");
    assert!(later_nodes <= nodes + nodes / 10 && later_values <= values + 2, "{measured:?}");

    let shares = |store: &Store, height| {
        let (parts, index) = store.index(height).unwrap().unwrap();
        let range = index.namespace(crate::test_chain::namespace(1))[0].range();
        store.shares(height, &parts.data_root(), parts.width, range.start, range.end - range.start).unwrap()
    };
    drop(store);
    let store = Store::open(dir.path(), &chain.genesis).unwrap();
    assert_eq!(store.pruned(), 159);
    for height in [1, 50, 159] {
        assert!(store.block(height).unwrap().is_some() && store.commit(height).unwrap().is_some());
        assert_eq!(shares(&store, height), None);
        assert_eq!(store.find(&commitments[height as usize - 1].into()).unwrap().unwrap().0, height);
    }
    for height in [160, 180] {
        assert_eq!(shares(&store, height).unwrap()[..BLOB_BYTES], noise(height, BLOB_BYTES)[..]);
    }
    // Nine bytes that are in every block are found where they can still be read.
    let everywhere = blob(2, vec![7; 9]).header().commitment;
    assert_eq!(store.find(&everywhere.into()).unwrap().unwrap().0, 160);
    let charged = |height| State::at(&store, height).balance(&key(1).address()).unwrap();
    assert!(charged(175) > charged(180));
    assert!(
        State::at(&store, 60).root().is_err() || State::at(&store, 60).balance(&key(1).address()).is_err()
    );
}

#[test]
fn squares_that_age_before_they_were_fetched_are_given_up() {
    let (_dir, mut chain, store, ..) = with_a_block();
    let mut valid =
        chain.propose(&store, &[chain.transaction(2, 1, 50, vec![blob(4, vec![4; 900])])], SECOND);
    valid.square = None;
    let commit = chain.decide(&valid);
    store.commit_block(&valid, &commit).unwrap();
    assert_eq!(store.missing().unwrap(), BTreeSet::from([2]));
    store.prune_squares(1).unwrap();
    assert_eq!(store.missing().unwrap(), BTreeSet::from([2]));
    store.prune_squares(2).unwrap();
    assert_eq!(store.missing().unwrap(), BTreeSet::new());
}
