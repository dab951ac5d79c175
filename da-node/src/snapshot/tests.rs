//! What is given out is one state, and what is not that state makes no database.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use std::{cell::Cell, fs, future::IntoFuture as _, time::Duration};

use chain::{Block, Checkpoint, Height, StateKey};
use tempfile::TempDir;
use tendermint::block::Commit;
use tokio::net::TcpListener;

use super::*;
use crate::{
    home::{Home, NodeConfig},
    metrics::Metrics,
    test_chain::{TestChain, blob, key},
};

/// A store that has every block of its chain.
struct Full {
    folder: TempDir,
    chain: TestChain,
    store: Store,
}

impl Full {
    fn new(blocks: Height) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut chain = TestChain::new("weft-snapshot");
        // Its blocks are some years old.
        chain.genesis.parameters.trusting_period_seconds = 1 << 32;
        chain.genesis.parameters.unbonding_seconds = 1 << 33;
        let store = Store::open(&folder.path().join("db"), &chain.genesis).unwrap();
        let mut full = Self { folder, chain, store };
        for _ in 0..blocks {
            full.extend();
        }
        full
    }

    fn extend(&mut self) -> (Block, Commit) {
        let height = self.store.tip().unwrap() + 1;
        let blobs = vec![blob(1, vec![height as u8; 900])];
        let transaction = self.chain.transaction(1, height as u8, height + 50, blobs);
        let valid = self.chain.propose(&self.store, &[transaction], Duration::from_secs(1));
        self.store.put_candidate(&valid, valid.square.as_deref()).unwrap();
        let commit = self.chain.decide(&valid);
        self.store.commit_block(&valid, &commit).unwrap();
        (valid.block, commit)
    }

    fn block(&self, height: Height) -> (Block, Commit) {
        (self.store.block(height).unwrap().unwrap(), self.store.commit(height).unwrap().unwrap())
    }

    fn save(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let head = self.store.snapshot_head().unwrap().unwrap();
        write(&self.store, &head, taking(&mut bytes)).unwrap();
        bytes
    }

    /// A file with these bytes.
    fn file(&self, bytes: &[u8]) -> Source {
        let path = self.folder.path().join("file");
        fs::write(&path, bytes).unwrap();
        Source::file(&path).unwrap()
    }

    fn checkpoint(&self, height: Height) -> Checkpoint {
        let hash = self.block(height).0.header.hash();
        Checkpoint { height, hash: hash.as_bytes().try_into().unwrap() }
    }

    /// The folder of a node that has not run.
    fn home(&self, name: &str) -> Home {
        let home = Home::new(self.folder.path().join(name));
        home.write(&NodeConfig::loopback(name), &self.chain.genesis).unwrap();
        home
    }
}

fn taking(bytes: &mut Vec<u8>) -> impl FnMut(Vec<u8>) -> Result<()> {
    |part| {
        bytes.extend(part);
        Ok(())
    }
}

fn root(store: &Store, height: Height) -> [u8; 32] {
    State::at(store, height).root().unwrap()
}

#[tokio::test]
async fn a_database_made_of_a_snapshot_goes_on_and_has_nothing_of_before() {
    let mut full = Full::new(6);
    let home = full.home("late");
    let bytes = full.save();
    let (loaded, size) = load(&home, full.file(&bytes), full.checkpoint(6), None).await.unwrap();
    assert_eq!((loaded.last().height(), loaded.next_hash()), (5, full.checkpoint(6).hash));
    assert!(size.values > 10 && size.bytes < bytes.len(), "{size:?}");
    assert!(!home.path(UNFINISHED).exists());

    let genesis = full.chain.genesis.clone();
    let open = || Store::open(&home.path("db"), &genesis).unwrap();
    let store = open();
    assert_eq!((store.tip().unwrap(), store.base(), store.pruned()), (5, 5, 5));
    assert_eq!(root(&store, 5), root(&full.store, 5));
    assert_eq!(store.light_block(5).unwrap(), full.store.light_block(5).unwrap());
    for height in 0..=5 {
        assert_eq!(store.block(height).unwrap(), None);
        assert!(height == 5 || store.light_block(height).unwrap().is_none());
    }
    // The state after the block before its latest is not here, nor is the header that names its own.
    assert_eq!(store.snapshot_head().unwrap(), None);
    drop(store);

    let node = Node::open(genesis.clone(), open(), Metrics::default(), chain::RULES_VERSION).unwrap();
    for height in 6..=9 {
        let (block, commit) = if height == 6 { full.block(6) } else { full.extend() };
        node.accept_decided(&block).unwrap();
        node.commit(height, block.header.hash(), commit).unwrap();
        assert_eq!(root(&node.store, height), root(&full.store, height));
        // Old states go, those of the latest blocks stay.
        node.store.prune_state(height - 1).unwrap();
    }
    assert_eq!(node.store.last_before(node.head().last.as_ref().unwrap().header.time).unwrap(), 8);
    let proven = State::at(&node.store, 8).prove(&StateKey::Account(key(1).address())).unwrap();
    assert_eq!(proven, State::at(&full.store, 8).prove(&StateKey::Account(key(1).address())).unwrap());
    drop(node);
    let node = Node::open(genesis.clone(), open(), Metrics::default(), chain::RULES_VERSION).unwrap();
    assert_eq!((node.tip(), node.store.base()), (9, 5));

    // What it gives out is what the other one does, and a node may start from it.
    let head = node.store.snapshot_head().unwrap().unwrap();
    let mut again = Vec::new();
    write(&node.store, &head, taking(&mut again)).unwrap();
    assert_eq!(again, full.save());
    let home = full.home("later");
    // A checkpoint at the snapshot's own height serves as well.
    load(&home, full.file(&again), full.checkpoint(8), None).await.unwrap();
}

#[tokio::test]
async fn what_is_torn_or_changed_makes_no_database() {
    let full = Full::new(5);
    let bytes = full.save();
    let mut loaded = 0;
    for (at, home) in (0..120).map(|at| (at, full.home(&format!("node-{at}")))) {
        let mut damaged = bytes.clone();
        let place = at / 2 * bytes.len() / 60;
        if at % 2 == 0 {
            damaged.truncate(place);
        } else {
            damaged[place] ^= 1;
        }
        match load(&home, full.file(&damaged), full.checkpoint(5), None).await {
            Err(error) => assert!(!home.path("db").exists(), "{error:#}"),
            // A signature that is not needed: the state and the headers are the same.
            Ok(_) => {
                let store = Store::open(&home.path("db"), &full.chain.genesis).unwrap();
                assert_eq!(root(&store, 4), root(&full.store, 4));
                loaded += 1;
            }
        }
    }
    assert!(loaded < 60, "{loaded} of the 60 that were changed");

    let home = full.home("last");
    let failed = async |bytes: &[u8], checkpoint| {
        let outcome = load(&home, full.file(bytes), checkpoint, None).await;
        format!("{:#}", outcome.unwrap_err())
    };
    let said = failed(b"weft/archive/1 and more", full.checkpoint(5)).await;
    assert!(said.contains("no snapshot of this version"), "{said}");
    let said = failed(&bytes[..bytes.len() - 4], full.checkpoint(5)).await;
    assert!(said.contains("ends before the state is whole"), "{said}");
    let said = failed(&bytes, full.checkpoint(2)).await;
    assert!(said.contains("--node") && said.contains("height 4 or 5"), "{said}");
    let other = Checkpoint { hash: [1; 32], ..full.checkpoint(5) };
    let said = failed(&bytes, other).await;
    assert!(said.contains("the checkpoint says 0101"), "{said}");
    assert!(home.path(UNFINISHED).exists(), "the torn one is left for the next to remove");
    load(&home, full.file(&bytes), full.checkpoint(5), None).await.unwrap();
    let said = failed(&bytes, full.checkpoint(5)).await;
    assert!(said.contains("exists"), "{said}");
}

#[tokio::test]
async fn what_is_written_and_dropped_meanwhile_changes_nothing() {
    let mut full = Full::new(4);
    let (whole, checkpoint) = (full.save(), full.checkpoint(4));
    let head = full.store.snapshot_head().unwrap().unwrap();
    // The blocks that come meanwhile, made on a copy.
    let mut copy = Full::new(4);
    let blocks: Vec<_> = (0..4).map(|_| copy.extend()).collect();
    let node =
        Node::open(full.chain.genesis.clone(), full.store, Metrics::default(), chain::RULES_VERSION).unwrap();
    let (mut bytes, begun) = (Vec::new(), Cell::new(false));
    write(&node.store, &head, |part| {
        bytes.extend(part);
        if !begun.replace(true) {
            for (block, commit) in &blocks {
                let height = block.header.height.value();
                node.accept_decided(block).unwrap();
                node.commit(height, block.header.hash(), commit.clone()).unwrap();
                node.store.prune_state(height).unwrap();
            }
            assert!(State::at(&node.store, 3).chunks().is_err(), "the state is not there any more");
        }
        Ok(())
    })
    .unwrap();
    assert_eq!(bytes, whole);
    full.store = Store::open(&full.folder.path().join("other"), &full.chain.genesis).unwrap();
    load(&full.home("late"), full.file(&bytes), checkpoint, None).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_gives_it_out_to_as_many_as_its_operator_lets() {
    let mut full = Full::new(5);
    let (whole, checkpoint) = (full.save(), full.checkpoint(5));
    let elsewhere = Store::open(&full.folder.path().join("other"), &full.chain.genesis).unwrap();
    let store = std::mem::replace(&mut full.store, elsewhere);
    let node = Arc::new(
        Node::open(full.chain.genesis.clone(), store, Metrics::default(), chain::RULES_VERSION).unwrap(),
    );
    let serve = async |router: Router| {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, router).into_future());
        url
    };
    let places = Arc::new(Semaphore::new(1));
    let url = serve(routed(node.clone(), places.clone(), 1)).await;
    let mut source = Source::node(&url).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(more) = source.more().await.unwrap() {
        bytes.extend(more);
    }
    assert_eq!(bytes, whole);
    let place = places.acquire().await.unwrap();
    let refused = reqwest::get(format!("{url}{PATH}")).await.unwrap();
    assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "60"));
    let said = format!("{:#}", Source::node(&url).await.unwrap_err());
    assert!(said.contains("at most 1 snapshots are given out at once"), "{said}");
    drop(place);
    load(&full.home("late"), Source::node(&url).await.unwrap(), checkpoint, None).await.unwrap();

    let url = serve(route(node, 0)).await;
    let said = format!("{:#}", Source::node(&url).await.unwrap_err());
    assert!(said.contains("snapshots = 0"), "{said}");
}

#[tokio::test]
async fn a_reader_that_takes_nothing_loses_its_place() {
    let (parts, mut taken) = mpsc::channel(1);
    let offering = move || {
        let (soon, late) = (Duration::from_millis(20), Duration::from_secs(60));
        let offer = |part, within| offer(&parts, Bytes::from_static(part), Instant::now() + within);
        offer(b"1", soon).unwrap();
        let slow = offer(b"2", soon).unwrap_err();
        assert!(slow.to_string().contains("too slow"), "{slow}");
        std::thread::scope(|threads| {
            threads.spawn(|| taken.blocking_recv().unwrap());
            offer(b"3", late).unwrap();
        });
        assert_eq!(taken.blocking_recv().unwrap(), "3");
        drop(taken);
        let gone = offer(b"4", late).unwrap_err();
        assert!(gone.to_string().contains("went away"), "{gone}");
    };
    tokio::task::spawn_blocking(offering).await.unwrap();
}

#[tokio::test]
async fn a_folder_that_is_in_use_is_left_alone() {
    let full = Full::new(5);
    let (bytes, home) = (full.save(), full.home("busy"));
    let held = home.lock("da-node run").unwrap();
    let said = format!("{:#}", load(&home, full.file(&bytes), full.checkpoint(5), None).await.unwrap_err());
    let holder = format!("in use by da-node run, process {}", std::process::id());
    assert!(said.contains(&holder) && said.contains("stop it"), "{said}");
    assert!(!home.path(UNFINISHED).exists() && !home.path("db").exists());
    drop(held);
    load(&home, full.file(&bytes), full.checkpoint(5), None).await.unwrap();
    home.lock("da-node run").unwrap();
}
