//! The demo in miniature: blobs go in at a full node and come out proven, sampled by light clients on their way.

use std::time::{Duration, Instant};

use blob_api::{NewBlob, Receipt, SubmitOptions};
use da_node::devnet::dev_key;
use erasure::ForeignKind;
use tokio::task::JoinSet;

use crate::{
    headers,
    support::{Network, blob, bytes, field_elements, namespace},
};

const LIGHTS: usize = 2;

/// From the start of light clients to their first confident block.
const CONFIDENT_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn blobs_become_final_sampled_and_provable_and_no_process_is_left() {
    let mut network = Network::start().await;
    let began = Instant::now();
    network.devnet.start_lights(LIGHTS).await.unwrap();
    assert_eq!(network.processes().len(), 5 + LIGHTS);
    network.confident().await;
    let took = began.elapsed();
    println!("{LIGHTS} light clients were confident of a block {took:?} after the start of the first");
    assert!(took < CONFIDENT_WITHIN, "{took:?}, at most {CONFIDENT_WITHIN:?}");

    let blobs = vec![
        blob(1, bytes(1, 200_000), &[ForeignKind::Keccak256, ForeignKind::Sha256]),
        blob(2, field_elements(2), &[ForeignKind::Eip4844]),
        blob(1, bytes(3, 3), &[ForeignKind::Sha256]),
    ];
    let receipts = submit_at_once(&network, &blobs).await;
    for receipt in &receipts {
        let reports = network.sampled(receipt.header.height()).await;
        assert!(reports.iter().all(|(confidence, _)| *confidence >= 0.999), "{reports:?}");
    }

    for (blob, receipt) in blobs.iter().zip(&receipts) {
        read_back(&network, blob, receipt).await;
    }
    let height = receipts[0].header.height();
    let none = network.client(4).list(height, namespace(99)).await.unwrap();
    assert!(none.entries().is_empty(), "a namespace that nobody used is proven absent");

    // All blobs may be in one block; headers are skipped from three on.
    let tip = network.height().await.max(3);
    network.devnet.wait_for_height(tip).await.unwrap();
    headers::check(&network.apis(), tip).await;
    network.stop().await;
}

/// Each blob in a transaction of its own, all at the same time, to the full node.
async fn submit_at_once(network: &Network, blobs: &[NewBlob]) -> Vec<Receipt> {
    let mut tasks = JoinSet::new();
    for (at, blob) in blobs.iter().cloned().enumerate() {
        let client = network.client(4);
        tasks.spawn(async move {
            let key = dev_key(1).unwrap();
            let receipt = client.submit_and_wait(&key, vec![blob], SubmitOptions::default()).await;
            (at, receipt.unwrap())
        });
    }
    let mut receipts = tasks.join_all().await;
    receipts.sort_by_key(|(at, _)| *at);
    receipts.into_iter().map(|(_, receipt)| receipt).collect()
}

/// By commitment and as a part of its complete namespace, from the full node and from a validator.
async fn read_back(network: &Network, blob: &NewBlob, receipt: &Receipt) {
    let [entry] = &receipt.entries[..] else { panic!("{:?}", receipt.entries) };
    assert_eq!(entry.foreign.len(), blob.foreign.len());
    for node in [4, 0] {
        let client = network.client(node);
        let read = client.get(entry.commitment).await.unwrap();
        assert_eq!((read.height(), &read.bytes()[..]), (receipt.header.height(), &blob.bytes[..]));
        let list = client.list(read.height(), blob.namespace).await.unwrap();
        let listed = client.read(&list).await.unwrap();
        assert!(listed.iter().any(|listed| listed.bytes() == read.bytes()));
        assert_eq!(client.rejected_nodes(), []);
    }
}
