//! Power cuts: one validator, then all nodes at once.

use std::time::Duration;

use blob_api::{Client, ClientError, Receipt, SubmitOptions};
use chain::Height;
use da_node::devnet::{dev_key, height_of};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use crate::support::{Network, blob, bytes, eventually, light_block};

/// How long a validator may take to catch up.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(30);

/// How long the next blob may take.
const GOES_ON_WITHIN: Duration = Duration::from_secs(40);

#[tokio::test(flavor = "multi_thread")]
async fn nodes_killed_in_mid_height_catch_up_and_the_chain_never_forks() {
    let mut network = Network::start().await;
    let (mut submitted, load) = keep_submitting(network.client(4));
    let mut receipts = Vec::new();
    let mut last = next(&mut submitted, &mut receipts, 2).await;

    // The next transaction is on its way to a block.
    network.devnet.nodes[0].process.kill().await.unwrap();
    let killed_at = network.height().await;
    while last <= killed_at + 3 {
        last = next(&mut submitted, &mut receipts, 1).await;
    }
    network.devnet.restart(0).await.unwrap();
    next(&mut submitted, &mut receipts, 1).await;
    load.abort();

    let tip = network.height().await;
    eventually(CATCHES_UP_WITHIN, "validator-0 to catch up", async || {
        (height_of(network.api(0)).await.unwrap() >= tip).then_some(())
    })
    .await;
    let away = receipts.iter().filter(|receipt| receipt.header.height() > killed_at);
    assert!(away.clone().count() >= 3);
    for receipt in away {
        backfilled(&network, 0, receipt).await;
    }
    let before = hashes(&mut network, tip).await;

    // All at once, a transaction on its way.
    let (key, client) = (dev_key(1).unwrap(), network.client(4));
    client.submit(&key, vec![blob(7, bytes(7, 5_000), &[])], SubmitOptions::default()).await.unwrap();
    for node in &mut network.devnet.nodes {
        node.process.kill().await.unwrap();
    }
    for node in 0..5 {
        network.devnet.restart(node).await.unwrap();
    }
    let more = vec![blob(8, bytes(8, 5_000), &[])];
    let receipt = client.submit_and_wait(&key, more, SubmitOptions::default());
    let receipt = timeout(GOES_ON_WITHIN, receipt).await.expect("the chain goes on").unwrap();
    assert!(receipt.header.height() > tip);
    receipts.push(receipt);
    let tip = network.height().await;
    assert_eq!(hashes(&mut network, tip).await[..before.len()], before);
    for node in 0..5 {
        for receipt in &receipts {
            backfilled(&network, node, receipt).await;
        }
    }
    network.stop().await;
}

/// One blob after the other, each when the one before is final.
fn keep_submitting(client: Client) -> (mpsc::Receiver<Receipt>, JoinHandle<()>) {
    let (sender, receiver) = mpsc::channel(100);
    let task = tokio::spawn(async move {
        let key = dev_key(1).unwrap();
        for at in 0.. {
            let blobs = vec![blob(1 + at as u8 % 3, bytes(100 + at, 200_000 + at as usize), &[])];
            let receipt = client.submit_and_wait(&key, blobs, SubmitOptions::default()).await.unwrap();
            if sender.send(receipt).await.is_err() {
                return;
            }
        }
    });
    (receiver, task)
}

/// Waits for `count` more receipts; gives the last one's height.
async fn next(submitted: &mut mpsc::Receiver<Receipt>, receipts: &mut Vec<Receipt>, count: usize) -> Height {
    for _ in 0..count {
        let receipt = timeout(GOES_ON_WITHIN, submitted.recv()).await;
        receipts.push(receipt.expect("the chain goes on").expect("submissions go on"));
    }
    receipts.last().map_or(0, |receipt| receipt.header.height())
}

/// The node serves the blob itself, and the same proof of its namespace as the full node.
async fn backfilled(network: &Network, node: usize, receipt: &Receipt) {
    let (entry, height) = (&receipt.entries[0], receipt.header.height());
    let client = network.client(node);
    let blob =
        eventually(CATCHES_UP_WITHIN, &format!("block {height} at node {node}"), async || {
            match client.get(entry.commitment).await {
                Ok(blob) => Some(blob),
                Err(ClientError::Unreachable { .. }) => None,
                Err(error) => panic!("{error}"),
            }
        })
        .await;
    assert_eq!((blob.height(), blob.entry()), (height, entry));
    let path = format!("v1/height/{height}/namespace/{}", entry.namespace);
    let proof = async |node| {
        let answer = reqwest::get(format!("{}/{path}", network.api(node))).await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    };
    assert_eq!(proof(node).await, proof(4).await);
}

/// The header hashes up to `tip`, the same on every node.
async fn hashes(network: &mut Network, tip: Height) -> Vec<tendermint::Hash> {
    network.devnet.wait_for_height(tip).await.unwrap();
    let mut hashes = Vec::new();
    for height in 1..=tip {
        let mut served = Vec::new();
        for api in network.apis() {
            served.push(light_block(&api, height).await.signed_header.header.hash());
        }
        assert!(served.iter().all(|hash| *hash == served[0]), "fork at {height}: {served:?}");
        hashes.push(served[0]);
    }
    hashes
}
