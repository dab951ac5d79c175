//! Following a namespace: every height once, in order, proven, through disconnects and lies.

use std::{sync::Arc, time::Duration};

use blob_api::{Client, ClientError, NamespaceBody, ProofKind, SubmitOptions, VerifiedList};
use futures::{FutureExt, StreamExt, stream::BoxStream};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, honest},
    submitting::blob,
};

/// Blocks up to `height`; each even one holds two blobs of namespace 1, each third one a blob of namespace 2.
pub(crate) async fn grow(chain: &Arc<Chain>, client: &Client, height: u64) {
    while chain.height() < height {
        let next = chain.height() + 1;
        let mut blobs = Vec::new();
        if next.is_multiple_of(2) {
            blobs.extend([blob(1, 600 + next as usize), blob(1, next as usize)]);
        }
        if next.is_multiple_of(3) {
            blobs.push(blob(2, 50));
        }
        if !blobs.is_empty() {
            client.submit(&key(1), blobs, SubmitOptions::default()).await.unwrap();
        }
        chain.decide();
    }
}

type Heights = BoxStream<'static, Result<VerifiedList, ClientError>>;

/// Takes the heights of namespace 1 that are expected next.
async fn take(heights: &mut Heights, expected: impl IntoIterator<Item = u64>) {
    for height in expected {
        let list = tokio::time::timeout(Duration::from_secs(60), heights.next()).await.unwrap();
        let list = list.unwrap().unwrap();
        let entries = if height.is_multiple_of(2) { 2 } else { 0 };
        assert_eq!((list.height(), list.entries().len()), (height, entries));
    }
}

#[tokio::test]
async fn every_height_comes_once_with_its_proof_and_later_ones_as_they_are_decided() {
    let (chain, _server, client) = honest().await;
    grow(&chain, &client, 9).await;
    let mut heights = client.follow_namespace(namespace(1), 1);
    take(&mut heights, 1..=9).await;
    let (more, waiting) = (chain.clone(), client.clone());
    let growing = tokio::spawn(async move { grow(&more, &waiting, 14).await });
    take(&mut heights, 10..=14).await;
    growing.await.unwrap();
    take(&mut client.follow_namespace(namespace(1), 13), 13..=14).await;
    assert!(client.rejected_nodes().is_empty());
}

#[tokio::test]
async fn a_node_that_stops_is_followed_by_the_next_where_it_was() {
    let chain = Chain::new();
    let (first, second) =
        (Server::start(&chain, Manner::Honest).await, Server::start(&chain, Manner::Honest).await);
    let client = client(&chain, &[&first, &second]);
    grow(&chain, &client, 6).await;
    let mut heights = client.follow_namespace(namespace(1), 2);
    take(&mut heights, 2..=6).await;
    first.stop().await;
    grow(&chain, &client, 11).await;
    take(&mut heights, 7..=11).await;
    assert!(client.rejected_nodes().is_empty());
}

#[tokio::test]
async fn a_node_that_omits_a_blob_is_rejected_and_nothing_is_missing() {
    let chain = Chain::new();
    let (liar, honest) =
        (Server::start(&chain, Manner::OmitsAnEntry).await, Server::start(&chain, Manner::Honest).await);
    let client = client(&chain, &[&liar, &honest]);
    grow(&chain, &client, 6).await;
    take(&mut client.follow_namespace(namespace(1), 1), 1..=6).await;
    let rejected = client.rejected_nodes();
    assert_eq!((rejected.len(), rejected[0].proof), (1, ProofKind::Namespace));
    assert_eq!(rejected[0].url, liar.url);
}

/// Reads events off the wire until `count` of them are there: (id, body).
async fn events(url: &str, last: Option<u64>, count: usize) -> Vec<(u64, NamespaceBody)> {
    let mut request = reqwest::Client::new().get(url);
    if let Some(last) = last {
        request = request.header("last-event-id", last);
    }
    let mut response = request.send().await.unwrap();
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/event-stream".parse().unwrap())
    );
    let mut text = String::new();
    while text.matches("\n\n").count() < count {
        text += std::str::from_utf8(&response.chunk().await.unwrap().unwrap()).unwrap();
    }
    let field = |event: &str, name: &str| {
        event.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().to_owned()
    };
    let event = |event: &str| {
        assert_eq!(field(event, "event:"), "height");
        (field(event, "id:").parse().unwrap(), serde_json::from_str(&field(event, "data:")).unwrap())
    };
    text.split("\n\n").take(count).map(event).collect()
}

#[tokio::test]
async fn the_stream_resumes_after_the_last_event_seen() {
    let (chain, server, client) = honest().await;
    grow(&chain, &client, 8).await;
    let path = format!("{}/v1/namespaces/{}/follow", server.url, namespace(1));
    let seen = events(&format!("{path}?from=3"), None, 4).await;
    assert_eq!(
        seen.iter().map(|(id, body)| (*id, body.height)).collect::<Vec<_>>(),
        (3..7).map(|h| (h, h)).collect::<Vec<_>>()
    );
    let resumed = events(&format!("{path}?from=3"), Some(6), 2).await;
    assert_eq!(resumed.iter().map(|(id, _)| *id).collect::<Vec<_>>(), [7, 8]);
    assert_eq!((resumed[0].1.entries.len(), resumed[1].1.entries.len()), (0, 2));

    for (query, last) in [("?from=0", None), ("?from=x", None), ("?to=9", None), ("", Some("x"))] {
        let mut request = reqwest::Client::new().get(format!("{path}{query}"));
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        assert_eq!(request.send().await.unwrap().status(), 400, "{query}");
    }
}

#[tokio::test]
async fn with_every_node_rejected_the_stream_pauses_before_it_says_so_again() {
    let chain = Chain::new();
    chain.decide();
    let liar = Server::start(&chain, Manner::ForgesHeaders).await;
    let mut heights = client(&chain, &[&liar]).follow_namespace(namespace(1), 2);
    assert!(matches!(heights.next().await, Some(Err(ClientError::LyingNode(_)))));
    assert!(heights.next().now_or_never().is_none(), "whoever polls in a loop would keep a thread busy");
    assert!(matches!(heights.next().await, Some(Err(ClientError::LyingNode(_)))));
}
