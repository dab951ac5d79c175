//! Bodies in pieces, and submissions that outlive nodes.

use std::time::Duration;

use blob_api::{Config, ErrorBody, ErrorCode, PROTOBUF, SubmitOptions, UploadBody};
use chain::{Action, BlobHeader, Payload, Submission, TxStatus};
use reqwest::{Client, Response, StatusCode};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, client_of, honest, serve_router},
    submitting::blob,
};

async fn put(server: &Server, commitment: [u8; 32], offset: u64, piece: &[u8]) -> Response {
    let url = format!("{}/v1/bodies/{}?offset={offset}", server.url, hex::encode(commitment));
    Client::new().put(url).body(piece.to_vec()).send().await.unwrap()
}

async fn post(server: &Server, submission: &Submission) -> Response {
    let request = Client::new().post(format!("{}/v1/tx", server.url)).header("content-type", PROTOBUF);
    request.body(submission.encode()).send().await.unwrap()
}

/// A transaction of account 1 with one blob.
fn signed(chain: &Chain, bytes: &[u8]) -> (Submission, [u8; 32]) {
    let header = BlobHeader::describe(namespace(1), bytes, &[], &[]);
    let commitment = header.commitment;
    let payload = Payload {
        sender: key(1).address(),
        salt: [7; 16],
        valid_until: chain.height() + 50,
        fee_cap: 3_000,
        tip: 0,
        action: Action::SubmitBlobs { blobs: vec![header], reservation: None },
    };
    let transaction = key(1).sign(payload, vec![], &chain.genesis.domain()).unwrap();
    (Submission { transaction, bodies: vec![vec![]] }, commitment)
}

#[tokio::test]
async fn a_body_uploaded_in_pieces_resumes_and_is_taken() {
    let (chain, server, _) = honest().await;
    let bytes: Vec<u8> = (0..5_000u32).map(|at| at as u8).collect();
    let (bare, commitment) = signed(&chain, &bytes);
    let received = async |response: Response| response.json::<UploadBody>().await.unwrap().received;
    assert_eq!(received(put(&server, commitment, 0, &bytes[..2_000]).await).await, 2_000);
    let skipped = put(&server, commitment, 3_000, &bytes[3_000..]).await;
    assert_eq!(skipped.status(), StatusCode::CONFLICT);
    let error = skipped.json::<ErrorBody>().await.unwrap().error;
    assert_eq!((error.code, error.limit), (ErrorCode::WrongOffset, Some(2_000.into())));
    let url = format!("{}/v1/bodies/{}", server.url, hex::encode(commitment));
    assert_eq!(received(reqwest::get(url).await.unwrap()).await, 2_000);
    assert_eq!(received(put(&server, commitment, 2_000, &bytes[2_000..]).await).await, 5_000);
    assert_eq!(post(&server, &bare).await.status(), StatusCode::OK);
    assert_eq!(chain.lock().pool[0].blobs()[0].bytes()[..], bytes[..]);
}

#[tokio::test]
async fn a_false_body_is_refused_and_forgotten() {
    let (chain, server, _) = honest().await;
    let (bare, commitment) = signed(&chain, &[1; 100]);
    put(&server, commitment, 0, &[2; 100]).await;
    let refused = post(&server, &bare).await.json::<ErrorBody>().await.unwrap().error;
    assert_eq!(refused.field.as_deref(), Some("blobs[0].commitment"));
    put(&server, commitment, 0, &[1; 60]).await;
    put(&server, commitment, 60, &[1; 40]).await;
    assert_eq!(post(&server, &bare).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn uploads_are_bounded_each_and_together() {
    let chain = Chain::new();
    let config = Config { upload_bytes: 2 * 4_096 + 1_500, ..Config::default() };
    let server = Server::start_with(&chain, Manner::Honest, config).await;
    let limit = chain.genesis.parameters.max_blob_bytes as usize;
    assert_eq!(put(&server, [1; 32], 0, &vec![0; limit + 1]).await.status(), StatusCode::PAYLOAD_TOO_LARGE);
    assert_eq!(put(&server, [1; 32], 0, &[0; 1_000]).await.status(), StatusCode::OK);
    let full = put(&server, [2; 32], 0, &[0; 501]).await;
    assert_eq!(full.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(full.headers().contains_key("retry-after"));
    assert_eq!(put(&server, [1; 32], 0, &[0; 100]).await.status(), StatusCode::OK, "begun anew");
    assert_eq!(put(&server, [2; 32], 0, &[0; 501]).await.status(), StatusCode::OK);
}

#[tokio::test]
async fn the_number_of_uploads_is_bounded_too() {
    let config = Config { upload_bytes: 3 * 4_097, ..Config::default() };
    let server = Server::start_with(&Chain::new(), Manner::Honest, config).await;
    let empty = put(&server, [9; 32], 0, &[]).await;
    assert_eq!(empty.status(), StatusCode::BAD_REQUEST);
    assert_eq!(empty.json::<ErrorBody>().await.unwrap().error.field.as_deref(), Some("body"));
    for at in 1..=3 {
        assert_eq!(put(&server, [at; 32], 0, &[0]).await.status(), StatusCode::OK);
    }
    assert_eq!(put(&server, [4; 32], 0, &[0]).await.status(), StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_node_that_takes_pieces_and_has_none_is_passed_over() {
    let (chain, honest, writer) = honest().await;
    let prepared = writer.prepare(&key(1), vec![blob(1, 1_000)], SubmitOptions::default()).await.unwrap();
    let nothing = axum::Router::new().fallback(async || axum::Json(UploadBody { received: 0 }));
    let client = client_of(&chain, &[serve_router(nothing).await, honest.url.clone()]);
    let sent = tokio::time::timeout(Duration::from_secs(60), client.send_in_pieces(&prepared, None)).await;
    assert_eq!(sent.unwrap().unwrap(), prepared.id());
}

#[tokio::test]
async fn the_client_sends_in_pieces() {
    let (chain, _server, client) = honest().await;
    let blobs = vec![blob(1, 700_000), blob(2, 10)];
    let prepared = client.prepare(&key(1), blobs, SubmitOptions::default()).await.unwrap();
    assert_eq!(client.send_in_pieces(&prepared, None).await.unwrap(), prepared.id());
    chain.decide();
    assert_eq!(client.confirm(&prepared, |_| ()).await.unwrap().entries.len(), 2);
}

#[tokio::test]
async fn a_submission_survives_a_nodes_restart_that_loses_it() {
    let chain = Chain::new();
    let server = Server::start(&chain, Manner::Honest).await;
    let url = server.url.clone();
    let client = client(&chain, &[&server]);
    let submitting =
        tokio::spawn(
            async move { client.submit_and_wait(&key(1), vec![blob(1, 900)], Default::default()).await },
        );
    chain.pooled(1).await;
    server.stop().await;
    let lost = {
        let mut inner = chain.lock();
        inner.records.clear();
        inner.pool.pop().unwrap().transaction().id()
    };
    let _server = Server::restart(&chain, &url).await;
    chain.pooled(1).await;
    chain.decide();
    let receipt = submitting.await.unwrap().unwrap();
    assert_eq!(receipt.transaction.id, lost, "the same transaction, sent again");
    assert!(matches!(receipt.transaction.status, TxStatus::Final { .. }));
}

#[tokio::test]
async fn a_submission_goes_on_at_another_node_when_its_own_is_gone() {
    let chain = Chain::new();
    let (first, second) =
        (Server::start(&chain, Manner::Honest).await, Server::start(&chain, Manner::Honest).await);
    let client = client(&chain, &[&first, &second]);
    let submitting =
        tokio::spawn(
            async move { client.submit_and_wait(&key(1), vec![blob(1, 900)], Default::default()).await },
        );
    chain.pooled(1).await;
    first.stop().await;
    chain.decide();
    assert_eq!(submitting.await.unwrap().unwrap().header.height(), 2);
    assert_eq!(chain.lock().records.len(), 1);
}
