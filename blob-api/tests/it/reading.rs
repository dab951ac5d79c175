//! Reading with proofs, and the shape of the API.

use blob_api::{Client, ClientError, ErrorBody, ErrorCode, Lookup, SharesBody, SubmitOptions, UpgradeBody};
use chain::{NetworkConfig, Upgrade};
use erasure::RangeProof;

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
async fn thirty_two_bytes_of_a_large_blob_cost_a_share_and_a_proof() {
    let (chain, server, client) = honest().await;
    let sent = blob(2, 1_000_000);
    let prepared =
        client.prepare(&key(1), vec![blob(1, 5), sent.clone()], SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    let commitment = prepared.blobs()[1].commitment;
    for range in [0..1, 500..532, 511..513, 777_777..777_809, 999_968..1_000_000, 0..40_000] {
        let part = client.read_part(commitment, range.clone()).await.unwrap();
        assert_eq!(&part.bytes()[..], &sent.bytes[range.start as usize..range.end as usize], "{range:?}");
        assert_eq!((part.offset(), part.entry().commitment), (range.start, commitment));
    }
    let url = format!("{}/v1/blob/{}/range", server.url, hex::encode(commitment));
    let answer = reqwest::get(format!("{url}?offset=777777&len=32")).await.unwrap().bytes().await.unwrap();
    assert!(answer.len() < 6_000, "{} bytes for 32", answer.len());
    for query in ["?offset=0&len=0", "?offset=999999&len=2", "?len=1048577", "?offset=1", "?len=1&to=2"] {
        assert_eq!(reqwest::get(format!("{url}{query}")).await.unwrap().status(), 400, "{query}");
    }
    assert!(matches!(client.read_part(commitment, 5..5).await, Err(ClientError::Refused { .. })));
    let shares = format!("{}/v1/height/2/shares", server.url);
    let body: SharesBody =
        reqwest::get(format!("{shares}?start=1&count=3")).await.unwrap().json().await.unwrap();
    let root = client.header(2).await.unwrap().data_root();
    RangeProof::decode(&body.proof.0).unwrap().verify(&root, 1..4).unwrap();
    for query in ["?start=4095&count=2", "?count=0", "?count=2049", "?start=1"] {
        assert_eq!(reqwest::get(format!("{shares}{query}")).await.unwrap().status(), 400, "{query}");
    }
}

#[tokio::test]
async fn the_blobs_of_a_transaction_are_found_by_its_id() {
    let (chain, _server, client) = honest().await;
    let blobs = vec![blob(3, 700), blob(1, 9)];
    let prepared = client.prepare(&key(1), blobs, SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    assert!(matches!(client.transaction_blobs(prepared.id()).await, Err(ClientError::Unreachable { .. })));
    chain.decide();
    let found = client.transaction_blobs(prepared.id()).await.unwrap();
    let commitments: Vec<_> = found.iter().map(|at| at.entry().commitment).collect();
    assert_eq!(commitments, prepared.blobs().iter().map(|blob| blob.commitment).collect::<Vec<_>>());
    assert!(found.iter().all(|at| at.header().height() == 2));
}

#[tokio::test]
async fn pruned_blobs_are_unreachable_while_lists_and_proofs_stay() {
    let (chain, server, client) = honest().await;
    let prepared = client.prepare(&key(1), vec![blob(1, 700)], SubmitOptions::default()).await.unwrap();
    client.send(&prepared, None).await.unwrap();
    chain.decide();
    chain.lock().pruned = 2;
    let commitment = prepared.blobs()[0].commitment;
    let response = reqwest::get(format!("{}/v1/blob/{}", server.url, hex::encode(commitment))).await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["retry-after"]),
        (503, &"3600".parse().unwrap())
    );
    assert!(response.json::<ErrorBody>().await.unwrap().error.message.contains("archive"));
    assert!(matches!(client.get(commitment).await, Err(ClientError::Unreachable { .. })));
    let list = client.list(2, namespace(1)).await.unwrap();
    assert_eq!(list.entries().len(), 1);
    assert!(matches!(client.read(&list).await, Err(ClientError::Unreachable { .. })));
    client.proof(commitment).await.unwrap();
}

#[tokio::test]
async fn headers_far_below_the_checkpoint_are_reached_by_hash_and_read_forward() {
    let (chain, server, _) = honest().await;
    for _ in 2..=40 {
        chain.decide();
    }
    // The block at 35 is younger than the trusting period, those before the first minutes are not.
    let network = NetworkConfig {
        checkpoint: chain.checkpoint(40),
        trusting_period_seconds: 3_600 - 20,
        ..chain.network()
    };
    let client = Client::new(std::slice::from_ref(&server.url), Some(network)).unwrap();
    for height in (2..=39).chain([1, 40, 7]) {
        assert_eq!(client.header(height).await.unwrap().hash(), chain.checkpoint(height).hash);
    }
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
async fn what_follows_rules_that_a_program_does_not_know_is_not_read() {
    let (chain, server, client) = honest().await;
    chain.decide();
    let upgrade = Upgrade { version: 2, height: 4 };
    {
        let parent = &mut chain.lock().parent;
        (parent.upgrade, parent.newest_rules) = (upgrade, 2);
    }
    let rules = client.status().await.unwrap().rules;
    assert_eq!((rules.version, rules.newest_known), (1, 1));
    assert_eq!(rules.upgrade, Some(UpgradeBody { version: 2, height: 4 }));
    for _ in 3..=6 {
        chain.decide();
    }
    let rules = client.status().await.unwrap().rules;
    assert_eq!((rules.version, rules.upgrade), (2, None));

    assert_eq!(client.header(3).await.unwrap().height(), 3);
    for height in 4..=6 {
        let refused = client.list(height, namespace(1)).await.unwrap_err();
        let ClientError::UnknownRules(unknown) = refused else { panic!("{refused}") };
        assert_eq!((unknown.version, unknown.height, unknown.newest), (2, height, 1));
    }
    assert!(matches!(client.latest().await, Err(ClientError::UnknownRules(_))));
    // The node said nothing wrong.
    assert!(client.rejected_nodes().is_empty());
    let knowing = Client::knowing(2, std::slice::from_ref(&server.url), Some(chain.network())).unwrap();
    assert_eq!(knowing.latest().await.unwrap().height(), 6);
    assert_eq!(knowing.header(2).await.unwrap().height(), 2);
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
        "/docs",
        "/healthz",
        "/openapi.json",
        "/v1/account/{address}",
        "/v1/attesters/{hash}",
        "/v1/certificate/{height}",
        "/v1/blob/{commitment}",
        "/v1/blob/{commitment}/proof",
        "/v1/bodies/{commitment}",
        "/v1/blob/{commitment}/range",
        "/v1/faucet/{address}",
        "/v1/foreign/{kind}/{value}",
        "/v1/foreign/{kind}/{value}/proof",
        "/v1/header/{height}",
        "/v1/height/{height}/namespace/{namespace}",
        "/v1/height/{height}/namespace/{namespace}/blobs",
        "/v1/height/{height}/shares",
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
        "/v1/tx/{id}/blobs",
    ];
    expected.sort_unstable();
    assert_eq!(paths, expected);
    assert_eq!(serde_json::to_value(blob_api::openapi()).unwrap(), json);
    let healthy = reqwest::get(format!("{}/healthz", server.url)).await.unwrap().text().await.unwrap();
    assert_eq!(healthy, "ok\n");
}
