//! The gateway's celestia-node door, used with Celestia's own Rust client over the chain in memory.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

#[allow(dead_code, reason = "blob-api's tests use more of it")]
#[path = "../../../blob-api/tests/it/chain_in_memory.rs"]
mod chain_in_memory;
#[allow(dead_code, reason = "blob-api's tests use more of it")]
#[path = "../../../blob-api/tests/it/nodes.rs"]
mod nodes;
#[allow(dead_code, reason = "blob-api's tests use more of it")]
#[path = "../../../blob-api/tests/it/sidecar.rs"]
mod sidecar;

use std::{sync::Arc, time::Duration};

use blob_api::Gateway;
use celestia_rpc::{BlobClient, Client, HeaderClient, TxConfig};
use celestia_types::{
    Blob, Commitment,
    nmt::{Namespace, NamespaceProof},
};
use futures::StreamExt;
use serde_json::json;
use tokio::{sync::watch, time::timeout};

use chain_in_memory::Chain;
use nodes::{Manner, Server};
use sidecar::{Deciding, Setup, Sidecar};

struct Scene {
    chain: Arc<Chain>,
    _node: Server,
    sidecar: Sidecar,
}

async fn scene() -> Scene {
    let chain = Chain::new();
    let node = Server::start(&chain, Manner::Honest).await;
    let sidecar = Sidecar::start(&chain, &[&node], Setup::default(), Gateway::celestia).await;
    Scene { chain, _node: node, sidecar }
}

impl Scene {
    async fn http(&self) -> Client {
        let token = self.sidecar.token.as_ref().unwrap().secret();
        Client::new(&self.sidecar.url, Some(token), None, None).await.unwrap()
    }

    async fn websocket(&self) -> Client {
        let token = self.sidecar.token.as_ref().unwrap().secret();
        Client::new(&self.sidecar.url.replace("http", "ws"), Some(token), None, None).await.unwrap()
    }
}

fn namespace(id: u8) -> Namespace {
    Namespace::new_v0(&[id; 10]).unwrap()
}

fn blob(id: u8, len: usize) -> Blob {
    let data = (0..len).map(|at| (at * 7 + usize::from(id)) as u8).collect();
    Blob::new(namespace(id), data, None).unwrap()
}

/// A blob as it comes back: with its place.
fn same(got: &Blob, sent: &Blob) {
    assert!(got.index.is_some());
    assert_eq!(&Blob { index: None, ..got.clone() }, sent);
    got.validate().unwrap();
}

async fn submits_and_reads(client: &Client, scene: &Scene) {
    let _deciding = Deciding::start(&scene.chain);
    let sent = [blob(1, 700), blob(2, 100_000), blob(1, 1)];
    let height = client.blob_submit(&sent, TxConfig::default()).await.unwrap();
    for blob in &sent {
        same(&client.blob_get(height, blob.namespace, blob.commitment).await.unwrap(), blob);
    }
    let all = client.blob_get_all(height, &[namespace(1), namespace(2)]).await.unwrap().unwrap();
    assert_eq!(all.len(), 3);
    all.iter().zip([&sent[0], &sent[2], &sent[1]]).for_each(|(got, sent)| same(got, sent));
    assert_eq!(client.blob_get_all(height, &[namespace(3)]).await.unwrap(), None);

    let included = async |commitment: Commitment| {
        // The client insists on one; the door verifies by itself.
        let proof =
            json!({ "start": 0, "end": 1, "nodes": [], "leaf_hash": "", "is_max_namespace_ignored": true });
        let proof: NamespaceProof = serde_json::from_value(proof).unwrap();
        client.blob_included(height, namespace(1), &proof, commitment).await.unwrap()
    };
    assert!(included(sent[0].commitment).await);
    assert!(!included(sent[1].commitment).await, "it is in another namespace");
    let missing = client.blob_get(height, namespace(1), blob(1, 5).commitment).await.unwrap_err();
    assert!(missing.to_string().contains("blob: not found"), "{missing}");
    let proof = client.blob_get_proof(height, namespace(1), sent[0].commitment).await.unwrap_err();
    assert!(proof.to_string().contains("not supported"), "{proof}");
    // The gateway looks for new headers by itself, a moment after the node has them.
    let synced = async {
        while client.header_sync_state().await.unwrap().height < height {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(20), synced).await.unwrap();
    assert_eq!(client.header_sync_state().await.unwrap().error, None);
}

#[tokio::test]
async fn celestias_client_submits_and_reads_over_http() {
    let scene = scene().await;
    submits_and_reads(&scene.http().await, &scene).await;
}

#[tokio::test]
async fn celestias_client_submits_and_reads_over_a_websocket() {
    let scene = scene().await;
    submits_and_reads(&scene.websocket().await, &scene).await;
}

#[tokio::test]
async fn celestias_client_is_refused_without_the_token() {
    let scene = scene().await;
    let client = Client::new(&scene.sidecar.url, None, None, None).await.unwrap();
    assert!(client.header_sync_state().await.is_err());
    assert!(Client::new(&scene.sidecar.url.replace("http", "ws"), None, None, None).await.is_err());
}

#[tokio::test]
async fn celestias_client_follows_a_namespace() {
    let scene = scene().await;
    let (following, http) = (scene.websocket().await, scene.http().await);
    let (started, mut seen) = watch::channel(0);
    let follow = async {
        let mut values = following.blob_subscribe(namespace(1));
        let mut previous = None;
        loop {
            let value = values.next().await.unwrap().unwrap();
            assert!(previous.is_none_or(|previous| value.height == previous + 1), "a gap before {value:?}");
            previous = Some(value.height);
            started.send_replace(value.height);
            if let Some(blobs) = value.blobs {
                break (value.height, blobs);
            }
        }
    };
    let sent = [blob(1, 700)];
    let submit = async {
        // The subscription sees no block from before it: blocks are made until one comes through it.
        while *seen.borrow_and_update() == 0 {
            scene.chain.decide();
            let _ = timeout(Duration::from_millis(100), seen.changed()).await;
        }
        scene.chain.decide();
        let _deciding = Deciding::start(&scene.chain);
        http.blob_submit(&sent, TxConfig::default()).await.unwrap()
    };
    let ((height, blobs), submitted) = tokio::join!(follow, submit);
    assert_eq!((height, blobs.len()), (submitted, 1));
    same(&blobs[0], &sent[0]);
}
