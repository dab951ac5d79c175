//! Reading with proofs, and the shape of the API.

use blob_api::{Client, ClientError, ErrorBody, ErrorCode, Lookup, SubmitOptions};
use chain::NetworkConfig;

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, honest},
    submitting::blob,
};

#[tokio::test]
async fn a_blob_is_read_back_by_commitment_and_by_namespace() {
    let (chain, _server, client) = honest().await;
    let blobs = vec![blob(1, 700), blob(2, 40_000), blob(1, 1)];
    let prepared = client.prepare(&key(1), blobs.clone(), SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    chain.decide();

    for (header, blob) in prepared.blobs().iter().zip(&blobs) {
        let read = client.get(header.commitment).await.unwrap();
        assert_eq!((read.height(), &read.bytes()[..]), (2, &blob.bytes[..]));
        assert_eq!(read.entry().foreign, header.foreign);
        let proof = client.proof(header.commitment).await.unwrap();
        assert_eq!(proof.entry(), read.entry());
        proof.proof().clone().verify(&read.header().data_root()).unwrap();
    }
    for foreign in &prepared.blobs()[0].foreign {
        let read = client.get(foreign.clone()).await.unwrap();
        assert_eq!((read.height(), &read.bytes()[..]), (2, &blobs[0].bytes[..]));
        assert_eq!(client.proof(foreign.clone()).await.unwrap().entry(), read.entry());
    }
    let name = prepared.blobs()[2].commitment;
    let Ok(Lookup::Found(found)) = client.lookup(2, namespace(1), name).await else { panic!("is there") };
    assert_eq!(&found.bytes()[..], &blobs[2].bytes[..]);
    let Ok(Lookup::Absent(list)) = client.lookup(2, namespace(2), name).await else { panic!("is not") };
    assert_eq!(list.entries().len(), 1);
    let list = client.list(2, namespace(1)).await.unwrap();
    let read: Vec<_> =
        client.read(&list).await.unwrap().into_iter().map(|b| b.into_bytes().to_vec()).collect();
    assert_eq!(read, [blobs[0].bytes.clone(), blobs[2].bytes.clone()]);
    assert_eq!(client.list(2, namespace(3)).await.unwrap().entries(), []);
    assert_eq!(client.list(3, namespace(1)).await.unwrap().entries(), []);
    assert!(client.rejected_nodes().is_empty());
}

#[tokio::test]
async fn absent_is_404_with_a_proof_and_unreachable_is_503_with_retry_after() {
    let (_chain, server, client) = honest().await;
    let get = |path: String| reqwest::get(format!("{}{path}", server.url));
    let absent = get(format!("/v1/height/1/namespace/{}", namespace(1))).await.unwrap();
    assert_eq!(absent.status(), 404);
    let error = absent.json::<ErrorBody>().await.unwrap().error;
    assert_eq!((error.code, error.proof.unwrap().height), (ErrorCode::Absent, 1));

    let paths = [
        format!("/v1/height/9/namespace/{}", namespace(1)),
        "/v1/header/9".to_owned(),
        format!("/v1/blob/{}", "ab".repeat(32)),
        format!("/v1/blob/{}/proof", "ab".repeat(32)),
        format!("/v1/foreign/sha256/{}", "ab".repeat(32)),
        format!("/v1/foreign/celestia/{}/proof", "ab".repeat(32)),
    ];
    for path in paths {
        let unreachable = get(path).await.unwrap();
        assert_eq!(unreachable.status(), 503);
        assert!(unreachable.headers().contains_key("retry-after"));
        assert_eq!(unreachable.json::<ErrorBody>().await.unwrap().error.code, ErrorCode::Unreachable);
    }
    assert!(matches!(client.get([0xab; 32]).await, Err(ClientError::Unreachable { .. })));
    assert!(matches!(client.list(9, namespace(1)).await, Err(ClientError::Unreachable { .. })));
}

#[tokio::test]
async fn a_node_that_is_behind_or_down_is_passed_over_without_blame() {
    let chain = Chain::new();
    let (behind, down, honest) = (
        Server::start(&chain, Manner::Behind).await,
        Server::start(&chain, Manner::Honest).await,
        Server::start(&chain, Manner::Honest).await,
    );
    let client = client(&chain, &[&behind, &down, &honest]);
    down.stop().await;
    let prepared = client.prepare(&key(1), vec![blob(1, 9)], SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    assert_eq!(client.get(prepared.blobs()[0].commitment).await.unwrap().height(), 2);
    assert!(client.rejected_nodes().is_empty());
}

#[tokio::test]
async fn headers_verify_forwards_and_backwards_from_the_checkpoint() {
    let (chain, server, _) = honest().await;
    for _ in 0..8 {
        chain.decide();
    }
    let urls = [server.url.clone()];
    let network = NetworkConfig { checkpoint: chain.checkpoint(5), ..chain.network() };
    let client = Client::new(&urls, Some(network.clone())).unwrap();
    assert_eq!(client.header(2).await.unwrap().height(), 2);
    assert_eq!(client.latest().await.unwrap().height(), 9);
    for height in 1..=9 {
        let hash = client.header(height).await.unwrap().hash();
        assert_eq!(hash, chain.checkpoint(height).hash);
    }
    assert!(client.rejected_nodes().is_empty());

    let stale = NetworkConfig { trusting_period_seconds: 60, ..network };
    let client = Client::new(&urls, Some(stale)).unwrap();
    assert!(matches!(client.latest().await, Err(ClientError::StaleCheckpoint(_))));
}

#[tokio::test]
async fn headers_are_verified_across_a_change_of_all_validators() {
    let (chain, _server, client) = honest().await;
    for height in 2..=20 {
        if height == 12 {
            chain.replace_validators();
        }
        chain.decide();
    }
    let latest = client.latest().await.unwrap();
    assert_eq!(latest.hash(), chain.checkpoint(20).hash);
    assert_eq!(latest.light_block().validators, chain.lock().parent.validators);
    assert!(client.rejected_nodes().is_empty());
}

#[tokio::test]
async fn nothing_is_read_without_a_network_file() {
    let (_chain, server, _) = honest().await;
    let client = Client::new(std::slice::from_ref(&server.url), None).unwrap();
    assert_eq!(client.status().await.unwrap().height, 1);
    assert!(matches!(client.get([0; 32]).await, Err(ClientError::NoNetwork)));
    assert!(matches!(Client::new(&[], None), Err(ClientError::NoNode)));
    assert!(matches!(Client::new(&["localhost".into()], None), Err(ClientError::Url { .. })));
}

#[tokio::test]
async fn the_description_is_openapi_3_1_and_lists_every_path() {
    let (_chain, server, _) = honest().await;
    let text = reqwest::get(format!("{}/openapi.json", server.url)).await.unwrap().text().await.unwrap();
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(json["openapi"].as_str().unwrap().starts_with("3.1"));
    let paths: Vec<_> = json["paths"].as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = vec![
        "/healthz",
        "/v1/account/{address}",
        "/v1/blob/{commitment}",
        "/v1/blob/{commitment}/proof",
        "/v1/bodies/{commitment}",
        "/v1/faucet/{address}",
        "/v1/foreign/{kind}/{value}",
        "/v1/foreign/{kind}/{value}/proof",
        "/v1/header/{height}",
        "/v1/height/{height}/namespace/{namespace}",
        "/v1/namespaces/{namespace}/follow",
        "/v1/operator/status",
        "/v1/price",
        "/v1/price/events",
        "/v1/price/history",
        "/v1/quote",
        "/v1/reservations/{id}",
        "/v1/state/{kind}/{id}",
        "/v1/state/{name}",
        "/v1/status",
        "/v1/tx",
        "/v1/tx/{id}",
        "/v1/tx/{id}/events",
    ];
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert_eq!(serde_json::to_value(blob_api::openapi()).unwrap(), json);
    let healthy = reqwest::get(format!("{}/healthz", server.url)).await.unwrap().text().await.unwrap();
    assert_eq!(healthy, "ok\n");
}
