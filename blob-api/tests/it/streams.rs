//! States and prices as they come, by Server-Sent Events and by WebSocket.

use blob_api::{Config, PriceBody, SubmitOptions, TxBody};
use chain::{TxId, TxStatus};
use futures::{Stream, StreamExt, stream::BoxStream};
use reqwest::StatusCode;
use serde::de::DeserializeOwned;
use tokio_tungstenite::tungstenite::Message;

use crate::{
    chain_in_memory::{Chain, key},
    nodes::{Manner, Server, client, honest},
    submitting::blob,
};

/// The events of this name at `path`.
async fn events<T: DeserializeOwned + Send + 'static>(
    server: &Server,
    path: &str,
    name: &'static str,
) -> BoxStream<'static, T> {
    let response = reqwest::get(format!("{}{path}", server.url)).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let mut text = String::new();
    let found = response.bytes_stream().flat_map(move |chunk| {
        text += std::str::from_utf8(&chunk.unwrap()).unwrap();
        let mut found = Vec::new();
        while let Some(end) = text.find("\n\n") {
            let event: String = text.drain(..end + 2).collect();
            if event.starts_with(&format!("event: {name}\n")) {
                found.push(serde_json::from_str(event.split_once("data: ").unwrap().1.trim()).unwrap());
            }
        }
        futures::stream::iter(found)
    });
    Box::pin(found)
}

/// The messages of a WebSocket at `path`, until it is closed.
async fn messages<T: DeserializeOwned + 'static>(server: &Server, path: &str) -> BoxStream<'static, T> {
    let url = format!("{}{path}", server.url.replace("http", "ws"));
    let (socket, _) = tokio_tungstenite::connect_async(url).await.unwrap();
    let texts = socket.filter_map(async |message| match message.unwrap() {
        Message::Text(text) => Some(serde_json::from_str(text.as_str()).unwrap()),
        _ => None,
    });
    Box::pin(texts)
}

async fn sees_every_state(chain: &Chain, id: TxId, mut states: impl Stream<Item = TxBody> + Unpin) {
    let pooled = states.next().await.unwrap();
    assert_eq!((pooled.id, pooled.status), (id, TxStatus::Pooled));
    assert!(pooled.reason.contains("waits for the next block"), "{}", pooled.reason);
    let height = chain.height() + 1;
    let proposed = chain.include();
    assert_eq!(states.next().await.unwrap().status, TxStatus::Included { height });
    chain.finish(proposed);
    let last = states.next().await.unwrap();
    assert_eq!(last.status, TxStatus::Final { height });
    assert!(last.reason.contains(&format!("block {height}")) && last.available_until.is_some());
    assert!(states.next().await.is_none(), "a settled state is the last");
}

#[tokio::test]
async fn a_transactions_states_come_with_their_reasons() {
    let (chain, server, client) = honest().await;
    let submit = async || client.submit(&key(1), vec![blob(1, 10)], SubmitOptions::default()).await.unwrap();
    let id = submit().await;
    sees_every_state(&chain, id, events(&server, &format!("/v1/tx/{id}/events"), "state").await).await;
    let id = submit().await;
    sees_every_state(&chain, id, messages(&server, &format!("/v1/tx/{id}/events")).await).await;
    let over: Vec<TxBody> = events(&server, &format!("/v1/tx/{id}/events"), "state").await.collect().await;
    assert_eq!(over.len(), 1, "what is settled is told once");
}

#[tokio::test]
async fn the_price_of_each_block_comes_as_it_is_decided() {
    let (chain, server, _) = honest().await;
    let mut by_event = events::<PriceBody>(&server, "/v1/price/events", "price").await;
    let mut by_socket = messages::<PriceBody>(&server, "/v1/price/events?rate=2+usd").await;
    for height in 1..4 {
        let (event, message) = (by_event.next().await.unwrap(), by_socket.next().await.unwrap());
        assert_eq!((event.height, message.height), (height, height));
        assert_eq!(event.recent.last().unwrap().height, height);
        assert_eq!(message.converted.unwrap().base_fee.unwrap(), "0.000002");
        chain.decide();
    }
}

#[tokio::test]
async fn streams_end_with_the_server_and_one_too_many_is_refused() {
    let chain = Chain::new();
    let config = Config { concurrent_followers: 8, ..Config::default() };
    let server = Server::start_with(&chain, Manner::Honest, config).await;
    // An address has a quarter of the places: two.
    let mut event = events::<PriceBody>(&server, "/v1/price/events", "price").await;
    let mut socket = messages::<PriceBody>(&server, "/v1/price/events").await;
    event.next().await.unwrap();
    socket.next().await.unwrap();
    let refused = reqwest::get(format!("{}/v1/price/events", server.url)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
    let unknown = format!("{}/v1/tx/{}/events", server.url, TxId([9; 32]));
    drop(event);
    let mut status = StatusCode::TOO_MANY_REQUESTS;
    while status == StatusCode::TOO_MANY_REQUESTS {
        // The place is free once the server has noticed that the other stream was dropped.
        chain.tick();
        status = reqwest::get(&unknown).await.unwrap().status();
    }
    assert_eq!(status, StatusCode::NOT_FOUND);
    let ((), rest) = tokio::join!(server.stop(), socket.next());
    assert!(rest.is_none());
    assert!(client_is_told(&chain).await);
}

/// A stopped server is no reason for a client to hang.
async fn client_is_told(chain: &std::sync::Arc<Chain>) -> bool {
    let server = Server::start(chain, Manner::Behind).await;
    let client = client(chain, &[&server]);
    server.stop().await;
    client.status().await.is_err()
}
