//! Following headers: skipping, bisecting, stepping back, gossip, and what is too old.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use chain::HeaderHint;
use light_client::sampler::SkipReason;
use light_client::{Args, Client, Config, Event, StartError};
use network::{Answer, Keypair, Kind, Network, PeerId, Provider, Request, Topic};
use prometheus_client::registry::Registry;
use tokio::task::JoinSet;

use crate::chain_of_blocks::{AGE, CHAIN, Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_latest_block_comes_first_and_the_window_behind_it_follows() {
    let chain = shared(Chain::of(&[2; 20]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = Config { catch_up: 5, keep: 10, ..impatient() };
    let network = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(network, home.path(), config).await;
    let first = running
        .until(|event| match event {
            Event::HeaderVerified { height } => Some(*height),
            _ => None,
        })
        .await;
    assert_eq!(first, 20);
    running.until_available(16..=20).await;
    let status = running.client.status().await.unwrap();
    let states: Vec<_> = status.heights.iter().map(|r| (r.height, r.state.word())).collect();
    let expected = (11..=20).rev().map(|h| (h, if h > 15 { "available" } else { "skipped" }));
    assert_eq!(states, expected.collect::<Vec<_>>());
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_are_bisected_where_the_validators_changed() {
    let mut blocks = Chain::rotating(1);
    for height in 1..=20 {
        blocks.push(square(2, height));
    }
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    let mut skipped = false;
    let mut open: Vec<u64> = (1..=20).collect();
    running
        .until(|event| {
            match event {
                Event::Available { height, .. } => open.retain(|open| open != height),
                Event::Skipped { reason, .. } => skipped |= *reason == SkipReason::OutsideWindow,
                Event::PeerDropped { reason, .. } => panic!("{reason}"),
                _ => {}
            }
            open.is_empty().then_some(())
        })
        .await;
    assert!(!skipped);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gossip_brings_new_headers_without_polling() {
    let chain = shared(Chain::of(&[2, 4]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = Config { poll_after: Duration::from_secs(24 * 3_600), ..impatient() };
    let network = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(network, home.path(), config).await;
    running.until_available(1..=2).await;
    for height in 3..=5 {
        chain.write().unwrap().push(square(4, height as u8));
        node.gossip_latest().await;
        running.until_available([height]).await;
    }
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_checkpoint_older_than_the_trusting_period_ends_the_client_and_says_why() {
    let chain = shared(Chain::of(&[2, 4]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let mut network = config_for(&chain, 1, &[&node]);
    network.trusting_period_seconds = AGE.as_secs() / 2;
    let running = Running::start(network, home.path(), impatient()).await;
    let error = within(running.client.join()).await.unwrap_err().to_string();
    assert!(error.contains("newer checkpoint"), "{error}");
    assert!(error.contains("trusting period is 1800 s"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_settings_are_refused_with_the_field() {
    let chain = shared(Chain::of(&[2]));
    let home = tempfile::tempdir().unwrap();
    let start = async |network| {
        let args = Args { network, home: home.path().to_owned(), config: impatient() };
        Client::start(args).await.map(|_| ()).unwrap_err()
    };
    let mut network = config_for(&chain, 1, &[]);
    network.bootstrap = vec!["nowhere".to_owned()];
    let error = start(network).await;
    assert!(matches!(&error, StartError::Bootstrap { address, .. } if address == "nowhere"));

    let mut network = config_for(&chain, 1, &[]);
    network.genesis_hash = [8; 32];
    let error = start(network).await.to_string();
    assert!(error.contains("use another --home"), "{error}");
}

/// Serves headers, it says, and never answers.
struct Silent;

#[async_trait]
impl Provider for Silent {
    async fn serve(&self, _: PeerId, _: Request) -> Answer {
        std::future::pending().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_that_hint_at_headers_and_do_not_answer_keep_the_client_from_nothing() {
    let chain = shared(Chain::of(&[2]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = Config { listen, ..impatient() };
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), config).await;
    running.until_available([1]).await;
    let mut strangers = JoinSet::new();
    for at in 1..=4 {
        let target = running.client.listen_addrs()[0].clone();
        let config = network::Config {
            serves: vec![Kind::Header],
            topics: vec![Topic::Headers],
            ..network::Config::new(CHAIN, Keypair::generate_ed25519())
        };
        strangers.spawn(async move {
            let (network, _) =
                Network::start(config, Arc::new(Silent), &mut Registry::default()).await.unwrap();
            within(network.dial(target)).await.unwrap();
            // Ever higher, so that each is news.
            for height in 1.. {
                let hint = HeaderHint { height: 1_000_000 * height + at, hash: [7; 32] };
                network.publish(Topic::Headers, hint.encode().into()).await.ok();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
    }
    within(async {
        while running.client.status().await.unwrap().peers < 5 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let began = Instant::now();
    for height in 2..=6 {
        chain.write().unwrap().push(square(2, height as u8));
        node.gossip_latest().await;
        running.until_available([height]).await;
    }
    // One question to a stranger takes longer.
    let limit = network::Limits::default().small_deadline;
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
    running.client.stop().await.unwrap();
}
