//! Quote, submit, follow.

use blob_api::{BlobShapeBody, ClientError, ErrorCode, NewBlob, QuoteRequest, SubmitOptions};
use chain::{TxStatus, fees::FeeRules};
use erasure::{ForeignCommitment, ForeignKind};

use crate::{
    chain_in_memory::{Chain, FUNDS, key, namespace},
    nodes::{Manner, Server, client, honest},
};

pub(crate) fn blob(id: u8, len: usize) -> NewBlob {
    let bytes = (0..len).map(|at| (at * 7 + usize::from(id)) as u8).collect();
    NewBlob { namespace: namespace(id), bytes, foreign: vec![ForeignKind::Sha256, ForeignKind::Keccak256] }
}

/// Field elements below the order.
fn eip4844_blob(chunks: usize) -> NewBlob {
    let mut bytes = vec![7; 131_072 * chunks];
    bytes.iter_mut().step_by(32).for_each(|byte| *byte = 0);
    NewBlob { namespace: namespace(4), bytes, foreign: vec![ForeignKind::Eip4844] }
}

#[tokio::test]
async fn a_quote_is_recomputed_from_its_excess_and_covers_the_charge() {
    let (chain, server, client) = honest().await;
    let price = client.price().await.unwrap();
    let rules = FeeRules::new(&chain.genesis.parameters);
    assert_eq!((price.base_fee, price.capacity), (rules.base_fee(price.excess), 64 * 64));

    let blobs = [blob(1, 5_000), blob(2, 300_000)];
    let shapes =
        blobs.iter().map(|b| BlobShapeBody { bytes: b.bytes.len() as u64, foreign: b.foreign.clone() });
    let quote = client.quote(&QuoteRequest::new(shapes.collect())).await.unwrap();
    assert_eq!(quote.fee_cap, rules.guaranteed_cap(quote.excess, 100));
    assert_eq!(quote.cost, quote.shares * quote.base_fee);

    let prepared = client.prepare(&key(1), blobs.to_vec(), SubmitOptions::default()).await.unwrap();
    assert!(prepared.shares() <= quote.shares && quote.shares <= prepared.shares() + 1);
    client.send(&prepared, None).await.unwrap();
    assert_eq!(client.account(key(1).address()).await.unwrap().pending, prepared.cost_limit());
    chain.decide();
    let charged = client.transaction(prepared.id()).await.unwrap().charged.unwrap();
    assert!(charged <= quote.cost_limit);
    let account = client.account(key(1).address()).await.unwrap();
    assert_eq!((account.balance, account.pending), (FUNDS - charged, 0));

    let got =
        reqwest::get(format!("{}/v1/quote?bytes=5000&blobs=3&foreign=keccak256,sha256", server.url)).await;
    let three: blob_api::QuoteBody = got.unwrap().json().await.unwrap();
    // ten shares and two of hashing each, two of the transaction's own bytes
    assert_eq!(three.shares, 3 * 12 + 2);
}

#[tokio::test]
async fn a_submission_is_pooled_included_final_and_verified() {
    let (chain, _server, client) = honest().await;
    let blobs = vec![blob(1, 700), blob(2, 40_000), blob(1, 1)];
    let prepared = client.prepare(&key(1), blobs, SubmitOptions::default()).await.unwrap();
    let sent = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let seen = sent.clone();
    let progress = std::sync::Arc::new(move |bytes| seen.store(bytes, std::sync::atomic::Ordering::Relaxed));
    let id = client.send(&prepared, Some(progress)).await.unwrap();
    assert_eq!(sent.load(std::sync::atomic::Ordering::Relaxed), prepared.wire_bytes());

    let (states, mut changes) = tokio::sync::mpsc::unbounded_channel();
    let following = tokio::spawn({
        let (client, prepared) = (client.clone(), prepared.clone());
        async move { client.confirm(&prepared, |seen| states.send(seen.status.clone()).unwrap()).await }
    });
    assert_eq!(changes.recv().await.unwrap(), TxStatus::Pooled);
    let proposed = chain.include();
    assert_eq!(changes.recv().await.unwrap(), TxStatus::Included { height: 2 });
    assert_eq!(chain.finish(proposed), 2);
    assert_eq!(changes.recv().await.unwrap(), TxStatus::Final { height: 2 });

    let receipt = following.await.unwrap().unwrap();
    assert_eq!(receipt.transaction.id, id);
    assert_eq!(receipt.header.height(), 2);
    let commitments: Vec<_> = receipt.entries.iter().map(|entry| entry.commitment).collect();
    assert_eq!(commitments, prepared.blobs().iter().map(|blob| blob.commitment).collect::<Vec<_>>());
    assert!(receipt.transaction.available_until.is_some());
}

#[tokio::test]
async fn an_eip4844_blob_is_opened_by_the_client_and_checked_by_the_node() {
    let (chain, _server, client) = honest().await;
    let (key, new) = (key(2), eip4844_blob(2));
    let submitting = {
        let client = client.clone();
        tokio::spawn(async move { client.submit_and_wait(&key, vec![new], SubmitOptions::default()).await })
    };
    chain.pooled(1).await;
    chain.decide();
    let receipt = submitting.await.unwrap().unwrap();
    let kinds: Vec<_> =
        receipt.entries[0].foreign.iter().map(|ForeignCommitment { kind, .. }| *kind).collect();
    assert_eq!(kinds, [ForeignKind::Eip4844; 2]);
}

#[tokio::test]
async fn bytes_that_are_no_eip4844_blob_are_refused_before_they_are_sent() {
    let (_chain, _server, client) = honest().await;
    let fields = |new| {
        let client = client.clone();
        async move {
            match client.prepare(&key(1), vec![new], SubmitOptions::default()).await {
                Err(ClientError::Blob { blob: 0, field, .. }) => field,
                other => panic!("{other:?}"),
            }
        }
    };
    let mut short = eip4844_blob(1);
    short.bytes.pop();
    assert_eq!(fields(short).await, "len");
    let mut high = eip4844_blob(1);
    high.bytes[32] = 0xff;
    assert_eq!(fields(high).await, "bytes");
}

#[tokio::test]
async fn an_answer_lost_on_the_way_is_no_second_submission() {
    let chain = Chain::new();
    let (lossy, honest) =
        (Server::start(&chain, Manner::LosesAnswers).await, Server::start(&chain, Manner::Honest).await);
    let client = client(&chain, &[&lossy, &honest]);
    let prepared = client.prepare(&key(1), vec![blob(1, 10)], SubmitOptions::default()).await.unwrap();
    assert_eq!(client.send(&prepared, None).await.unwrap(), prepared.id());
    assert_eq!(chain.lock().pool.len(), 1);
    match client.send(&prepared, None).await {
        Err(ClientError::Refused { detail, .. }) => assert_eq!(detail.code, ErrorCode::Duplicate),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unknown_transaction_is_unknown_and_not_absent() {
    let (_chain, _server, client) = honest().await;
    match client.transaction(chain::TxId([9; 32])).await {
        Err(ClientError::Refused { detail, .. }) => assert_eq!(detail.code, ErrorCode::UnknownTransaction),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_waiting_request_ends_when_the_server_stops() {
    let (_chain, server, client) = honest().await;
    let id = client.submit(&key(1), vec![blob(1, 10)], SubmitOptions::default()).await.unwrap();
    let url = format!("{}/v1/tx/{id}?wait_ms=30000&from=pooled", server.url);
    let waiting = reqwest::Client::new().get(url).send();
    let ((), answer) = tokio::join!(
        async {
            // Another request answered means that the connection of the first is open too, or will be refused.
            client.status().await.unwrap();
            server.stop().await;
        },
        waiting
    );
    if let Ok(answer) = answer {
        let body: blob_api::TxBody = answer.json().await.unwrap();
        assert_eq!(body.status, TxStatus::Pooled);
    }
}

#[tokio::test]
async fn the_faucet_funds_a_new_account() {
    let (chain, _server, client) = honest().await;
    let new = key(50).address();
    let id = client.faucet(new).await.unwrap();
    chain.decide();
    assert_eq!(client.wait(id, |_| ()).await.unwrap().status, TxStatus::Final { height: 2 });
    assert_eq!(client.account(new).await.unwrap().balance, 5_000_000_000);
}

#[tokio::test]
async fn confirming_waits_for_a_node_that_still_fetches_the_block() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::FetchesSlowly).await;
    let client = client(&chain, &[&server]);
    let prepared = client.prepare(&key(1), vec![blob(1, 10)], SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    assert_eq!(client.confirm(&prepared, |_| ()).await.unwrap().header.height(), 2);
}
