//! A transaction is included once, however it is sent: in crowds, twice, by strangers, across restarts.

use std::time::Duration;

use blob_api::{ClientError, ErrorBody, ErrorCode, PROTOBUF, Prepared, SubmitOptions};
use chain::{Submission, TxStatus};
use da_node::devnet::dev_key;
use reqwest::StatusCode;
use tokio::{task::JoinSet, time::timeout};

use crate::support::{Network, blob, bytes};

/// Submissions at once, from one key, over two nodes.
const CROWD: u64 = 64;

/// How long a submission may take in this company.
const FINAL_WITHIN: Duration = Duration::from_secs(120);

async fn prepare(network: &Network, node: usize, seed: u64) -> Prepared {
    let blobs = vec![blob(5, bytes(seed, 3_000), &[])];
    network.client(node).prepare(&dev_key(1).unwrap(), blobs, SubmitOptions::default()).await.unwrap()
}

/// How often the transaction is in the chain, by the blocks of the full node.
async fn times_included(network: &Network, prepared: &Prepared) -> usize {
    let client = network.client(4);
    let mut times = 0;
    for height in 1..=network.height().await {
        let list = client.list(height, prepared.blobs()[0].namespace).await.unwrap();
        let is_it = |entry: &&erasure::IndexEntry| entry.commitment == prepared.blobs()[0].commitment;
        times += list.entries().iter().filter(is_it).count();
    }
    times
}

#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_is_included_once_however_it_is_sent_slow() {
    let mut network = Network::start().await;
    crowd(&network).await;
    stranger(&network).await;
    across_a_restart(&mut network).await;
    network.stop().await;
}

async fn crowd(network: &Network) {
    let mut tasks = JoinSet::new();
    for at in 0..CROWD {
        let client = network.client(if at % 2 == 0 { 0 } else { 4 });
        let prepared = prepare(network, at as usize % 4, 1_000 + at).await;
        tasks.spawn(async move {
            client.send(&prepared, None).await.unwrap();
            let receipt = timeout(FINAL_WITHIN, client.confirm(&prepared, |_| ())).await.unwrap().unwrap();
            (prepared, receipt)
        });
    }
    let done = tasks.join_all().await;
    assert_eq!(done.len() as u64, CROWD);
    for (prepared, receipt) in &done {
        assert_eq!(times_included(network, prepared).await, 1);
        assert!(receipt.transaction.available_until.is_some());
    }
}

/// Somebody else hands in the same payload under a signature of its own.
async fn stranger(network: &Network) {
    let signed = prepare(network, 0, 2_000).await;
    let mut copy = Submission::decode(signed.bytes()).unwrap();
    let own = dev_key(2).unwrap();
    let domain = network.devnet.network().unwrap().domain();
    let mut payload = copy.transaction.payload.clone();
    payload.sender = own.address();
    copy.transaction.signature = own.sign(payload, vec![], &domain).unwrap().signature;
    let refused = post(network.api(0), &copy).await;
    assert_eq!(refused.0, StatusCode::BAD_REQUEST);
    assert_eq!(refused.1.unwrap().error.field.as_deref(), Some("signature"));
    assert_eq!(times_included(network, &signed).await, 0);
}

async fn post(api: &str, submission: &Submission) -> (StatusCode, Option<ErrorBody>) {
    let request = reqwest::Client::new().post(format!("{api}/v1/tx")).header("content-type", PROTOBUF);
    let response = request.body(submission.encode()).send().await.unwrap();
    let status = response.status();
    (status, if status.is_success() { None } else { response.json().await.ok() })
}

/// Two validators are gone, so that nothing is decided; what the full node took survives its own sudden end.
async fn across_a_restart(network: &mut Network) {
    for node in [0, 1] {
        network.devnet.nodes[node].process.kill().await.unwrap();
    }
    let prepared = prepare(network, 4, 3_000).await;
    network.client(4).send(&prepared, None).await.unwrap();
    match network.client(3).send(&prepared, None).await {
        Ok(_) => {}
        Err(ClientError::Refused { detail, .. }) => assert_eq!(detail.code, ErrorCode::Duplicate),
        Err(error) => panic!("{error}"),
    }
    for node in [2, 3, 4] {
        network.devnet.nodes[node].process.kill().await.unwrap();
    }
    for node in [4, 2, 0] {
        network.devnet.restart(node).await.unwrap();
    }
    let kept = network.client(4).transaction(prepared.id()).await.unwrap();
    assert!(matches!(kept.status, TxStatus::Pooled | TxStatus::Included { .. }), "{kept:?}");
    for node in [1, 3] {
        network.devnet.restart(node).await.unwrap();
    }
    let client = network.client(1);
    let receipt = timeout(FINAL_WITHIN, client.confirm(&prepared, |_| ())).await.unwrap().unwrap();
    let again = network.client(2).send(&prepared, None).await;
    assert!(matches!(again, Err(ClientError::Refused { detail, .. }) if detail.code == ErrorCode::Duplicate));
    let another = prepare(network, 4, 3_001).await;
    client.send(&another, None).await.unwrap();
    let later = timeout(FINAL_WITHIN, client.confirm(&another, |_| ())).await.unwrap().unwrap();
    assert!(later.header.height() >= receipt.header.height());
    assert_eq!(times_included(network, &prepared).await, 1);
}
