//! A rollup on the embedded client: it derives the same ledger whoever serves it, or stops.

#[path = "../../examples/kv_rollup/ledger.rs"]
mod ledger;

use std::time::Duration;

use erasure::Namespace;
use light_client::{Config, Event, ReadError};

use crate::chain_of_blocks::{Chain, square_of};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};
use ledger::Ledger;

fn ours() -> Namespace {
    Namespace::from_user_id(*b"kv-ledger!")
}

fn other() -> Namespace {
    Namespace::from_user_id(*b"a-stranger")
}

/// Five blocks: some with our blobs, some with others', one with a blob of many shares.
fn blocks() -> Vec<Vec<(Namespace, Vec<u8>)>> {
    let long: String = (0..4_000).map(|i| format!("set key-{i} {}\n", i * i)).collect();
    vec![
        vec![(ours(), b"set colour green\nset size 3".to_vec())],
        vec![(other(), b"set colour red".to_vec())],
        vec![(ours(), long.into_bytes()), (other(), b"delete colour".to_vec())],
        vec![],
        vec![(ours(), b"delete size\nnonsense\nset colour blue".to_vec()), (ours(), b"set last 1".to_vec())],
    ]
}

fn chain() -> Chain {
    let mut chain = Chain::new();
    for blobs in blocks() {
        let blobs: Vec<_> = blobs.iter().map(|(namespace, bytes)| (*namespace, &bytes[..])).collect();
        chain.push(square_of(&blobs));
    }
    chain
}

/// What the ledger is, worked out from the blobs themselves.
fn expected() -> Ledger {
    let mut ledger = Ledger::default();
    for (height, blobs) in (1..).zip(blocks()) {
        let ours = blobs.iter().filter(|(namespace, _)| *namespace == ours());
        ledger.apply(height, ours.map(|(_, bytes)| &bytes[..]));
    }
    assert_eq!(ledger.entries.len(), 4_002);
    ledger
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ledger_is_the_same_though_a_node_lies_about_blobs() {
    let chain = shared(chain());
    let liar = Node::start(&chain, Behaviour::LiesAboutBlobs).await;
    let honest = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let mut running = Running::start(config_for(&chain, 1, &[&liar]), home.path(), impatient()).await;
    // All that it knows comes from a liar: it derives what it can prove, and waits for the rest.
    let mut follow = running.client.follow(ours(), 1);
    let mut ledger = Ledger::default();
    let step = async |follow: &mut light_client::Follow, ledger: &mut Ledger| {
        let block = within(follow.next()).await.unwrap();
        assert_eq!(block.height(), ledger.height + 1);
        assert!(block.confidence() > 0.999);
        ledger.apply(block.height(), block.blobs().iter().map(|blob| &blob.bytes()[..]));
    };
    step(&mut follow, &mut ledger).await;
    running.until_available(2..=5).await;
    let next = tokio::spawn(async move { (within(follow.next()).await.unwrap(), follow) });
    let dropped = running
        .until(|event| match event {
            Event::PeerDropped { peer, .. } => Some(*peer),
            _ => None,
        })
        .await;
    assert_eq!(dropped, liar.network.id());
    let client = running.client.clone();
    // Nobody is left to ask, until an honest node connects.
    assert!(!next.is_finished());
    next.abort();
    client.stop().await.unwrap();

    let network = config_for(&chain, 1, &[&liar, &honest]);
    let running = Running::start(network, home.path(), impatient()).await;
    let mut follow = running.client.follow(ours(), 2);
    for _ in 2..=5 {
        step(&mut follow, &mut ledger).await;
    }
    assert_eq!((ledger.root(), &ledger), (expected().root(), &expected()));
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withheld_block_is_waited_for_and_one_that_was_left_out_is_an_error() {
    let chain = shared(chain());
    let node = Node::start(&chain, Behaviour::Withholds(3)).await;
    let home = tempfile::tempdir().unwrap();
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), impatient()).await;
    running.until(|event| matches!(event, Event::Unavailable { height: 3, .. }).then_some(())).await;
    let mut follow = running.client.follow(ours(), 2);
    assert!(within(follow.next()).await.unwrap().blobs().is_empty());
    let waiting = tokio::time::timeout(Duration::from_secs(1), follow.next()).await;
    assert!(waiting.is_err(), "block 3 is withheld");
    node.behave(Behaviour::Honest);
    assert_eq!(within(follow.next()).await.unwrap().blobs().len(), 1);
    running.client.stop().await.unwrap();

    let other_home = home.path().join("other");
    let config = Config { catch_up: 1, keep: 3, ..impatient() };
    let running = Running::start(config_for(&chain, 1, &[&node]), &other_home, config).await;
    let error = within(running.client.follow(ours(), 3).next()).await.unwrap_err();
    assert!(matches!(error, ReadError::NotSampled { height: 3, .. }), "{error}");
    let error = within(running.client.follow(ours(), 2).next()).await.unwrap_err();
    assert!(matches!(error, ReadError::Lost { height: 2 }), "{error}");
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_block_is_an_error_and_no_fault_of_who_serves_it() {
    // Wider than its index needs: published, but invalid.
    let chain = shared(Chain::of(&[16]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let running = Running::start(config_for(&chain, 1, &[&node]), home.path(), impatient()).await;
    let error = within(running.client.follow(ours(), 1).next()).await.unwrap_err();
    assert!(matches!(error, ReadError::WrongIndex { height: 1, .. }), "{error}");
    assert_eq!(running.client.status().await.unwrap().peers, 1);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_window_is_waited_for() {
    let chain = shared(chain());
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = impatient();
    let clock = config.clock.clone();
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), config).await;
    running.until_available(1..=5).await;
    let day = Duration::from_secs(24 * 3_600);
    let mut follow = running.client.follow(ours(), 1).unchallenged_for(day);
    assert!(tokio::time::timeout(Duration::from_secs(1), follow.next()).await.is_err());
    // A machine that slept through the window heard nothing: the window begins anew.
    clock.jump(day);
    running.until(|event| matches!(event, Event::Slept { .. }).then_some(())).await;
    assert!(tokio::time::timeout(Duration::from_secs(1), follow.next()).await.is_err());
    let short = running.client.follow(ours(), 1).unchallenged_for(Duration::from_millis(100)).next().await;
    assert_eq!(short.unwrap().height(), 1);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_challenge_window_does_not_pass_while_the_machine_sleeps_even_if_asked_first_thing() {
    let chain = shared(chain());
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = impatient();
    let clock = config.clock.clone();
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), config).await;
    running.until_available(1..=5).await;
    let window = Duration::from_secs(600);
    for _ in 0..20 {
        clock.jump(window);
        let mut follow = running.client.follow(ours(), 1).unchallenged_for(window);
        let early = tokio::time::timeout(Duration::from_millis(100), follow.next()).await;
        assert!(early.is_err(), "{early:?}");
    }
    running.client.stop().await.unwrap();
}
