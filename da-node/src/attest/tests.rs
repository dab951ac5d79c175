//! Attestations that come before their block.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

use network::{Config, Keypair, PublishError};
use prometheus_client::registry::Registry;

use super::*;
use crate::{metrics::Metrics, serve::Serve, storage::Store, test_chain::TestChain};

const CHAIN: &str = "weft-attest";

fn secret(seed: u8) -> AttestationSecret {
    AttestationSecret::from_seed(&[seed; 32]).unwrap()
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(60), future).await.unwrap()
}

async fn start(node: &Arc<Node>) -> (Network, mpsc::Receiver<Gossip>) {
    let config = Config {
        listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()],
        topics: vec![Topic::Attestations],
        ..Config::new(CHAIN, Keypair::generate_ed25519())
    };
    Network::start(config, Arc::new(Serve(node.clone())), &mut Registry::default()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_an_attester_signed_waits_for_its_block() {
    let mut genesis = TestChain::new(CHAIN).genesis;
    for (validator, seed) in genesis.validators.iter_mut().zip(1..) {
        validator.attestation_key = Some(secret(seed).key());
    }
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path(), &genesis).unwrap();
    let node = Arc::new(Node::open(genesis, store, Metrics::default(), chain::RULES_VERSION).unwrap());
    let ((network, mut gossip), (peer, _heard)) = (start(&node).await, start(&node).await);
    peer.dial(network.listen_addrs()[0].clone()).await.unwrap();
    let mut attesting = Attesting::new(node.clone(), network, None);
    let (attesters, _) = attesting.attesters_after(0).unwrap();
    let place = |seed: u8| attesters.index_of(&secret(seed).key()).unwrap();
    let data = |height: Height, salt: u8| AttestationData {
        height,
        time: 0,
        header: [salt; 32],
        data_root: [0; 32],
        history_root: [0; 32],
        attesters: attesters.hash(),
        next_attesters: [0; 32],
    };
    let sign = |data, place, seed| Attestation::sign(data, place, &secret(seed), &node.domain);
    let unknown = AttestationData { attesters: [7; 32], ..data(1, 0) };
    let cases = [
        ("the next block's", sign(data(1, 0), place(1), 1), 1),
        ("the one's after it", sign(data(2, 0), place(1), 1), 2),
        ("too far ahead", sign(data(3, 0), place(1), 1), 2),
        ("another attester's", sign(data(1, 0), place(2), 2), 3),
        ("a contradiction", sign(data(1, 1), place(1), 1), 4),
        ("one contradiction more", sign(data(1, 2), place(1), 1), 4),
        ("of a set that nobody knows", sign(unknown, place(3), 3), 4),
        ("of a place that is not in the set", sign(data(1, 0), 4, 3), 4),
        ("a stranger's in an attester's place", sign(data(1, 0), place(3), 9), 4),
    ];
    for (what, attestation, waiting) in cases {
        let bytes = Bytes::from(attestation.encode());
        within(async {
            while let Err(error) = peer.publish(Topic::Attestations, bytes.clone()).await {
                assert!(matches!(error, PublishError::NoPeers { .. }), "{error}");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        let message = within(gossip.recv()).await.unwrap();
        assert_eq!(message.data, bytes);
        attesting.heard(message).await.unwrap();
        assert_eq!(attesting.waiting.len(), waiting, "{what}");
    }
}
