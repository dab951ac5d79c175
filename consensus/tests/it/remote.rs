use std::time::Duration;

use consensus::{RemoteSigner, SignerConfig, ValidatorKey};
use tendermint::block::CommitSig;
use tendermint::{PublicKey, account};

use crate::app::CHAIN_ID;
use crate::network::{FAST, LIMIT, Network, Node};
use crate::signer::{Last, Signer};

/// The node whose key is elsewhere, and the seed of its key.
const REMOTE: usize = 3;
const SEED: [u8; 32] = [4; 32];

/// Four validators, the last of which has a remote signer and this name.
async fn network(name: &str) -> (Network, Signer, Last) {
    let mut network = Network::start(4, 0, FAST).await;
    network.reach(1).await;
    let mut node = network.nodes.remove(REMOTE);
    node.handle.stop().await.unwrap();
    let last = Last::default();
    let signer = Signer::start(node.home().join("signer"), SEED, last.clone());
    let config = SignerConfig {
        address: format!("unix://{}", node.home().join("signer").display()).parse().unwrap(),
        chain_id: CHAIN_ID.into(),
        identity_seed: [0; 32],
        public_key: None,
    };
    let remote = RemoteSigner::listen(config).await.unwrap();
    let others: Vec<_> = network.nodes.iter().collect();
    node.restart_as(name, ValidatorKey::Remote(remote), &others).await;
    network.nodes.push(node);
    (network, signer, last)
}

/// Waits for a block after `height` whose commit, as `node` has it, bears the remote signature.
async fn signs(node: &Node, height: u64) {
    let key = arc_malachitebft_signing_ed25519::PrivateKey::from(SEED).public_key();
    let address = account::Id::from(PublicKey::from_raw_ed25519(key.as_bytes()).unwrap());
    let signed = async {
        let mut next = height + 1;
        loop {
            node.reach(next).await;
            let commit = &node.app.signed_headers()[next as usize - 1].commit;
            let ours = |sig: &CommitSig| sig.is_commit() && sig.validator_address() == Some(address);
            if commit.signatures.iter().any(ours) {
                return;
            }
            next += 1;
        }
    };
    tokio::time::timeout(LIMIT, signed).await.unwrap();
}

/// Waits until the signer of the node with this name has missed more signatures than `before`; how many.
async fn missed(name: &str, before: u64) -> u64 {
    let count = || {
        let metric = format!("weft_consensus_signatures_missed_total{{moniker=\"{name}\"}} ");
        let text = consensus::metrics();
        let counts = text.lines().filter_map(|line| line.strip_prefix(&metric)?.parse::<u64>().ok());
        counts.sum::<u64>()
    };
    let missed = async {
        while count() <= before {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        count()
    };
    tokio::time::timeout(LIMIT, missed).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_validator_votes_by_a_signer_in_another_process_and_outlives_it() {
    let (network, signer, last) = network("outlives").await;
    signs(&network.nodes[0], network.nodes[0].tip()).await;

    drop(signer);
    let without = network.nodes[REMOTE].tip();
    network.reach(without + 8).await;

    let _signer = Signer::start(network.nodes[REMOTE].home().join("signer"), SEED, last);
    signs(&network.nodes[0], network.nodes[0].tip()).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_that_the_others_wait_for_is_signed_late() {
    let (mut network, mut signer, last) = network("late").await;
    signs(&network.nodes[1], network.nodes[1].tip()).await;
    // Three of four are more than two thirds only together.
    network.nodes.remove(0).handle.stop().await.unwrap();

    let mut before = 0;
    for _ in 0..3 {
        drop(signer);
        before = missed("late", before).await;
        let path = network.nodes[REMOTE - 1].home().join("signer");
        signer = Signer::start(path, SEED, last.clone());
        let tip = network.nodes[0].tip();
        network.reach(tip + 3).await;
    }
    drop(signer);
    network.stop().await;
}
