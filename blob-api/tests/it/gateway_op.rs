//! The OP Stack's door: its bytes, its statuses, and never a 404 that nothing proves.

use blob_api::Gateway;
use reqwest::{Method, header};

use crate::{
    chain_in_memory::{Chain, namespace},
    gateway::honest_op,
    nodes::{Manner, Server},
    sidecar::{Deciding, Setup, Sidecar, text},
};

fn door(gateway: &Gateway) -> axum::Router {
    gateway.op(namespace(9))
}

/// Puts a payload, and gives the commitment as it stands in the path of a GET.
async fn put(sidecar: &Sidecar, payload: &[u8]) -> String {
    let response = sidecar.put(payload.to_vec()).await;
    assert_eq!(response.status(), 200);
    format!("0x{}", hex::encode(response.bytes().await.unwrap()))
}

/// `commitment` with the byte at `at` replaced.
fn with(commitment: &str, at: usize, byte: u8) -> String {
    let mut bytes = hex::decode(&commitment[2..]).unwrap();
    bytes[at] = byte;
    format!("0x{}", hex::encode(bytes))
}

#[tokio::test]
async fn a_payload_is_put_and_got_back_byte_for_byte() {
    let (chain, _node, sidecar) = honest_op(Setup::default()).await;
    let _deciding = Deciding::start(&chain);
    let payload: Vec<u8> = (0..150_000u32).map(|at| (at % 251) as u8).collect();
    let commitment = put(&sidecar, &payload).await;
    assert_eq!(commitment.len(), 2 + 2 * 75);
    assert!(commitment.starts_with("0x0157000000000000000002"), "{commitment}");
    for path in
        [format!("/get/{commitment}"), format!("/get/{}?l1_inclusion_block_number=0", &commitment[2..])]
    {
        let response = sidecar.get(&path).await;
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/octet-stream");
        assert_eq!(response.bytes().await.unwrap(), payload);
    }
    for (method, path) in [(Method::PUT, "/put"), (Method::PUT, "/put/"), (Method::POST, "/put/")] {
        let response = sidecar.request(method, path).body(path).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.bytes().await.unwrap().len()), (200, 75));
    }
}

#[tokio::test]
async fn what_cannot_be_put_is_refused_with_the_reason() {
    let (chain, _node, sidecar) = honest_op(Setup::default()).await;
    let (code, message) = text(sidecar.put("").await).await;
    assert!(code == 400 && message.contains("empty"), "{message}");
    let (code, message) = text(sidecar.put(vec![1; (1 << 20) + 1]).await).await;
    assert!(code == 413 && message.contains("1048576"), "{message}");
    assert_eq!(sidecar.put(vec![1; 25 << 20]).await.status(), 413);
    let keccak = sidecar.request(Method::POST, &format!("/put/0x00{}", "ab".repeat(32))).body("x");
    let (code, message) = text(keccak.send().await.unwrap()).await;
    assert!(code == 400 && message.contains("GenericCommitment"), "{message}");
    assert_eq!(chain.lock().records.len(), 0);
}

#[tokio::test]
async fn only_a_proof_of_absence_is_404_and_418_for_clients_that_drop() {
    let (chain, _node, sidecar) = honest_op(Setup::default()).await;
    let _deciding = Deciding::start(&chain);
    let commitment = put(&sidecar, b"payload").await;
    let get = async |commitment: &str, query: &str| {
        let response = sidecar.get(&format!("/get/{commitment}{query}")).await;
        let later = response.headers().contains_key(header::RETRY_AFTER);
        let (code, message) = text(response).await;
        (code, later, message)
    };
    let extension = "?l1_inclusion_block_number=7";
    // Another data root, and another blob: no block is, or will be, so.
    for wrong in [with(&commitment, 20, 0), with(&commitment, 50, 0)] {
        let (code, _, message) = get(&wrong, "").await;
        assert!(code == 404 && message.contains("proven absent"), "{code} {message}");
        let (code, _, message) = get(&wrong, extension).await;
        let body: serde_json::Value = serde_json::from_str(&message).unwrap();
        assert_eq!((code, body["StatusCode"].as_u64()), (418, Some(3)));
        assert!(body["Msg"].as_str().unwrap().contains("proven absent"));
    }
    // A height to come may hold anything.
    for query in ["", extension] {
        let (code, later, message) = get(&with(&commitment, 10, 99), query).await;
        assert!(code == 503 && later && message.contains("given height is from the future"), "{message}");
    }
    // What is not understood is not dropped, unless it is ours and broken.
    let cut = &commitment[..commitment.len() - 2];
    assert_eq!(get(cut, "").await.0, 400);
    let (code, _, message) = get(cut, extension).await;
    assert!(code == 418 && message.contains("\"StatusCode\":1"), "{message}");
    for (at, byte, expected) in [(0, 0, 400), (1, 0x0c, 400), (2, 9, 501)] {
        assert_eq!(get(&with(&commitment, at, byte), extension).await.0, expected);
    }
    assert_eq!(get(&commitment, "?l1_inclusion_block_number=x").await.0, 400);
    assert_eq!(get("0xzz", "").await.0, 400);
    // What no node has any more was there: nothing proves it absent.
    chain.lock().pruned = u64::MAX;
    for query in ["", extension] {
        let (code, later, message) = get(&commitment, query).await;
        assert!(code == 503 && later && message.contains("archive"), "{code} {message}");
    }
    // No path is absent.
    assert_eq!(sidecar.get("/elsewhere").await.status(), 400);
    assert_eq!(sidecar.get("/get/").await.status(), 400);
}

#[tokio::test]
async fn a_door_with_the_wrong_namespace_says_so_instead_of_404() {
    let (chain, node, sidecar) = honest_op(Setup::default()).await;
    let _deciding = Deciding::start(&chain);
    let commitment = put(&sidecar, b"payload").await;
    let other = Sidecar::start(&chain, &[&node], Setup::default(), |gateway| gateway.op(namespace(8))).await;
    let (code, message) = text(other.get(&format!("/get/{commitment}")).await).await;
    assert!(code == 500 && message.contains(&namespace(9).to_string()), "{code} {message}");
    // Nodes name the first block that holds a blob, which need not be the commitment's.
    let again = put(&sidecar, b"payload").await;
    assert_ne!(again, commitment);
    let (code, message) = text(other.get(&format!("/get/{again}")).await).await;
    assert!(code == 500 && message.contains(&namespace(9).to_string()), "{code} {message}");
}

#[tokio::test]
async fn a_lying_node_and_one_that_is_down_are_passed_over() {
    let chain = Chain::new();
    let honest = Server::start(&chain, Manner::Honest).await;
    let _deciding = Deciding::start(&chain);
    let payload = b"payload".as_slice();
    let writer = Sidecar::start(&chain, &[&honest], Setup::default(), door).await;
    let path = format!("/get/{}", put(&writer, payload).await);
    for manner in [Manner::FlipsAByte, Manner::DeniesANamespace, Manner::ForgesHeaders, Manner::Behind] {
        let bad = Server::start(&chain, manner).await;
        let alone = Sidecar::start(&chain, &[&bad], Setup::default(), door).await;
        let (code, message) = text(alone.get(&path).await).await;
        assert_eq!(code, 503, "{manner:?}: {message}");
        let down = Server::start(&chain, Manner::Honest).await;
        let all = Sidecar::start(&chain, &[&bad, &down, &honest], Setup::default(), door).await;
        down.stop().await;
        assert_eq!(all.get(&path).await.bytes().await.unwrap(), payload, "{manner:?}");
        assert_eq!(all.put(format!("{manner:?}")).await.status(), 200, "{manner:?}");
    }
}

#[tokio::test]
async fn a_false_claim_of_finality_is_not_a_commitment() {
    let chain = Chain::new();
    let (liar, honest) =
        (Server::start(&chain, Manner::ClaimsFinality).await, Server::start(&chain, Manner::Honest).await);
    let _deciding = Deciding::start(&chain);
    let alone = Sidecar::start(&chain, &[&liar], Setup::default(), door).await;
    let (code, message) = text(alone.put("payload").await).await;
    assert!(code == 503 && message.contains("false inclusion proof"), "{message}");
    let both = Sidecar::start(&chain, &[&liar, &honest], Setup::default(), door).await;
    let commitment = put(&both, b"another").await;
    assert_eq!(both.get(&format!("/get/{commitment}")).await.status(), 200);
}
