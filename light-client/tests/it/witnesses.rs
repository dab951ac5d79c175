//! Validators that sign two chains, and peers that only claim that they do.

use std::path::Path;
use std::time::Duration;

use chain::HeaderHint;
use light_client::{Client, Config, Event, Halt, HaltReason, ReadError, http, resume};
use tokio::net::TcpListener;

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

/// Settings of a client that asks witnesses often, or never.
fn asking(every: Duration) -> Config {
    Config { witness_every: every, poll_after: Duration::from_millis(200), ..impatient() }
}

const OFTEN: Duration = Duration::from_millis(100);
const NEVER: Duration = Duration::from_secs(24 * 3_600);

/// Two chains of the same validators that part after block 3.
fn forks() -> [Chain; 2] {
    let trunk = Chain::of(&[2, 4, 8]);
    [1, 2].map(|fill| {
        let mut fork = trunk.fork(3);
        for _ in 0..3 {
            fork.push(square(4, fill));
        }
        fork
    })
}

async fn halted(running: &mut Running) -> Halt {
    running
        .until(|event| match event {
            Event::Halted(halt) => Some(halt.clone()),
            _ => None,
        })
        .await
}

fn hash(value: &serde_json::Value) -> String {
    let block: chain::LightBlock = serde_json::from_value(value.clone()).unwrap();
    hex::encode(block.signed_header.header.hash().as_bytes())
}

async fn health(client: &Client) -> reqwest::Response {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/healthz", listener.local_addr().unwrap());
    tokio::spawn(http::serve(listener, client.clone()));
    reqwest::get(url).await.unwrap()
}

/// The evidence holds two blocks of one height, both signed.
fn check_evidence(path: &Path, height: u64) {
    let evidence: serde_json::Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let block = |name: &str| -> chain::LightBlock { serde_json::from_value(evidence[name].clone()).unwrap() };
    let (followed, other) = (block("followed"), block("other"));
    assert_eq!((followed.height(), other.height()), (height, height));
    assert_ne!(hash(&evidence["followed"]), hash(&evidence["other"]));
    for block in [followed, other] {
        assert_eq!(block.signed_header.commit.block_id.hash, block.signed_header.header.hash());
        assert_eq!(block.signed_header.commit.signatures.len(), 4);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_signed_chains_halt_the_client_until_its_operator_names_a_checkpoint() {
    let [left, right] = forks();
    let checkpoint = right.checkpoint(5);
    let (left, right) = (shared(left), shared(right));
    let (a, b) = (Node::start(&left, Behaviour::Honest).await, Node::start(&right, Behaviour::Honest).await);
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&left, 1, &[&a, &b]);
    let mut running = Running::start(network.clone(), home.path(), asking(OFTEN)).await;
    let halt = halted(&mut running).await;
    assert_eq!((halt.height, halt.from), (6, 2));
    assert!(
        matches!(&halt.reason, HaltReason::ConflictingHeaders { followed, other, .. } if followed != other)
    );
    check_evidence(&halt.evidence, 6);
    let status = running.client.status().await.unwrap();
    assert_eq!(status.halted.as_ref(), Some(&halt));
    let health = health(&running.client).await;
    assert_eq!(health.status(), 503);
    assert!(health.text().await.unwrap().contains("two signed headers at height 6"));
    let in_use = resume(home.path(), &network, &checkpoint).unwrap_err().to_string();
    assert!(in_use.contains("stop the light client"), "{in_use}");
    running.client.stop().await.unwrap();

    // It stays halted, whatever comes.
    let running = Running::start(network.clone(), home.path(), asking(OFTEN)).await;
    left.write().unwrap().push(square(4, 7));
    assert_eq!(running.client.status().await.unwrap().halted, Some(halt.clone()));
    running.client.stop().await.unwrap();

    // The operator finds that the right chain is the one.
    let resumed = resume(home.path(), &network, &checkpoint).unwrap();
    assert_eq!((resumed.halt, resumed.forgotten_from), (Some(halt.clone()), 2));
    assert!(halt.evidence.exists());
    let network = config_for(&right, 1, &[&b]);
    let mut running = Running::start(network, home.path(), asking(OFTEN)).await;
    running.until_available([5, 6]).await;
    let status = running.client.status().await.unwrap();
    assert_eq!((status.halted, status.height), (None, 6));
    // Forgotten, and below the new checkpoint: nothing will ever be known of it.
    let namespace = erasure::Namespace::from_user_id([1; 10]);
    let lost = within(running.client.follow(namespace, 3).next()).await.unwrap_err();
    assert!(matches!(lost, ReadError::Lost { height: 3 }), "{lost}");
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_at_another_header_is_looked_into_at_once() {
    let [left, right] = forks();
    let other = right.checkpoint(6).hash;
    let (left, right) = (shared(left), shared(right));
    let a = Node::start(&left, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    // The only peer when it started; the other one connects to it.
    let listen = vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()];
    let config = Config { listen, poll_after: NEVER, ..asking(NEVER) };
    let mut running = Running::start(config_for(&left, 1, &[&a]), home.path(), config).await;
    running.until_available(1..=6).await;
    let b = Node::start(&right, Behaviour::Honest).await;
    b.network.dial(running.client.listen_addrs()[0].clone()).await.unwrap();
    b.gossip(HeaderHint { height: 6, hash: other }.encode()).await;
    let halt = halted(&mut running).await;
    assert_eq!(halt.height, 6);
    check_evidence(&halt.evidence, 6);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_successor_of_another_chain_halts_the_client_without_any_witness() {
    let [left, mut right] = forks();
    right.push(square(4, 3));
    let chain = shared(left);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), asking(NEVER)).await;
    running.until_available(1..=6).await;
    *chain.write().unwrap() = right;
    let halt = halted(&mut running).await;
    assert_eq!(halt.height, 6);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_witness_with_headers_that_nobody_signed_is_dropped_and_an_agreeing_one_counts() {
    let real = Chain::of(&[2, 4, 8, 4]);
    // Signed by validators that the real chain does not know.
    let mut forged = Chain::rotating(40);
    for fill in 0..4 {
        forged.push(square(4, fill));
    }
    let (real, forged) = (shared(real), shared(forged));
    let honest = [Node::start(&real, Behaviour::Honest).await, Node::start(&real, Behaviour::Honest).await];
    let liar = Node::start(&forged, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&real, 1, &[&honest[0], &honest[1], &liar]);
    let mut running = Running::start(network, home.path(), asking(OFTEN)).await;
    let mut dropped = false;
    let mut height = 4;
    // A new block whenever the last was compared, until it was the liar's turn.
    while !dropped {
        height += 1;
        real.write().unwrap().push(square(4, height));
        running
            .until(|event| match event {
                Event::Halted(halt) => panic!("{halt}"),
                Event::PeerDropped { peer, .. } => {
                    assert_eq!(*peer, liar.network.id());
                    dropped = true;
                    Some(())
                }
                Event::HeaderVerified { height: at } => (*at == u64::from(height)).then_some(()),
                _ => None,
            })
            .await;
    }
    let agreed = async {
        while running.client.status().await.unwrap().witnessed_height.is_none() {
            tokio::task::yield_now().await;
        }
    };
    within(agreed).await;
    assert_eq!(running.client.status().await.unwrap().halted, None);
    running.client.stop().await.unwrap();
}
