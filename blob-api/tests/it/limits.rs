//! Who may ask, and how much.

use std::time::Duration;

use blob_api::{Config, ErrorBody, ErrorCode, SubmitOptions};
use reqwest::{Client, StatusCode};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    nodes::{Manner, Server, client, honest},
    submitting::blob,
};

async fn start(config: Config) -> Server {
    Server::start_with(&Chain::new(), Manner::Honest, config).await
}

#[tokio::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let server = start(Config { requests_per_second: 2, ..Config::default() }).await;
    let mut answered = 0;
    let refused = loop {
        let response = reqwest::get(format!("{}/v1/price", server.url)).await.unwrap();
        if response.status() != StatusCode::OK {
            break response;
        }
        answered += 1;
    };
    assert!(answered >= 4, "a burst of two seconds' worth is fine, got {answered}");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.headers()["retry-after"], "1");
    let body: ErrorBody = refused.json().await.unwrap();
    assert_eq!((body.error.code, body.error.limit), (ErrorCode::TooManyRequests, Some(2.into())));
}

#[tokio::test]
async fn no_more_requests_at_once_than_configured() {
    let server = start(Config { concurrent_requests: 0, ..Config::default() }).await;
    let refused = reqwest::get(format!("{}/v1/price", server.url)).await.unwrap();
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(refused.headers().contains_key("retry-after"));
}

/// A client with this address of the machine's own.
fn at(address: &str) -> Client {
    Client::builder().local_address(address.parse::<std::net::IpAddr>().unwrap()).build().unwrap()
}

#[tokio::test]
async fn one_address_leaves_places_to_others_for_requests_and_streams() {
    let chain = Chain::new();
    let config = Config { concurrent_requests: 4, concurrent_followers: 4, ..Config::default() };
    let server = Server::start_with(&chain, Manner::Stalls, config).await;
    let client = client(&chain, &[&server]);
    client.submit(&key(1), vec![blob(1, 1 << 20)], SubmitOptions::default()).await.unwrap();
    chain.decide();

    let (one, two) = (at("127.0.0.1"), at("127.0.0.2"));
    let status = async |client: &Client, path: &str| {
        client.get(format!("{}{path}", server.url)).send().await.unwrap().status()
    };
    // A blob's bytes hold a place until the last one is sent.
    let blobs = format!("{}/v1/height/2/namespace/{}/blobs", server.url, namespace(1));
    let slow = one.get(blobs).send().await.unwrap();
    assert_eq!(slow.status(), StatusCode::OK);
    assert_eq!(status(&one, "/v1/price").await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(status(&two, "/v1/price").await, StatusCode::OK);
    drop(slow);
    while status(&one, "/v1/price").await != StatusCode::OK {}

    let stream = one.get(format!("{}/v1/price/events", server.url)).send().await.unwrap();
    assert_eq!(stream.status(), StatusCode::OK);
    let refused = one.get(format!("{}/v1/price/events", server.url)).send().await.unwrap();
    let error = refused.json::<ErrorBody>().await.unwrap().error;
    assert_eq!((error.code, error.limit), (ErrorCode::TooManyRequests, Some(1.into())));
    assert_eq!(status(&one, "/v1/price").await, StatusCode::OK, "a stream holds no request's place");
    assert_eq!(status(&two, "/v1/price/events").await, StatusCode::OK);
}

#[tokio::test]
async fn nobody_waits_for_a_transaction_that_the_node_has_not_heard_of() {
    let server = start(Config::default()).await;
    let url = format!("{}/v1/tx/{}?wait_ms=30000", server.url, "ab".repeat(32));
    let answer = tokio::time::timeout(Duration::from_secs(20), reqwest::get(url)).await.unwrap().unwrap();
    assert_eq!(answer.json::<ErrorBody>().await.unwrap().error.code, ErrorCode::UnknownTransaction);
}

#[tokio::test]
async fn a_json_body_has_a_limit() {
    let (_chain, server, _) = honest().await;
    let request = Client::new().post(format!("{}/v1/quote", server.url));
    let request = request.header("content-type", "application/json").body(vec![b' '; 65 * 1024]);
    let refused = request.send().await.unwrap();
    assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    let body: ErrorBody = refused.json().await.unwrap();
    assert_eq!((body.error.code, body.error.limit), (ErrorCode::TooLarge, Some(65_536.into())));
}

#[tokio::test]
async fn operators_need_the_token() {
    let ask = async |server: &Server, token: Option<&str>| {
        let request = Client::new().get(format!("{}/v1/operator/status", server.url));
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        request.send().await.unwrap()
    };
    let closed = start(Config::default()).await;
    assert_eq!(ask(&closed, Some("secret")).await.status(), StatusCode::UNAUTHORIZED);
    let server = start(Config { operator_token: Some("secret".into()), ..Config::default() }).await;
    for token in [None, Some(""), Some("Secret"), Some("secrets")] {
        let refused = ask(&server, token).await;
        assert_eq!(refused.status(), StatusCode::UNAUTHORIZED, "{token:?}");
        assert_eq!(refused.headers()["www-authenticate"], "Bearer");
        assert_eq!(refused.json::<ErrorBody>().await.unwrap().error.code, ErrorCode::Unauthorized);
    }
    assert_eq!(ask(&server, Some("secret")).await.status(), StatusCode::OK);
    let other = Client::new().post(format!("{}/v1/operator/status", server.url)).send().await.unwrap();
    assert_eq!(other.status(), StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn browsers_ask_from_configured_origins_only() {
    let origin = async |server: &Server, origin: &str| {
        let request = Client::new().get(format!("{}/v1/price", server.url)).header("origin", origin);
        let response = request.send().await.unwrap();
        response.headers().get("access-control-allow-origin").map(|value| value.to_str().unwrap().to_owned())
    };
    let closed = start(Config::default()).await;
    assert_eq!(origin(&closed, "https://a.example").await, None);
    let one = start(Config { origins: vec!["https://a.example".into()], ..Config::default() }).await;
    assert_eq!(origin(&one, "https://a.example").await.as_deref(), Some("https://a.example"));
    assert_eq!(origin(&one, "https://b.example").await, None);
    let all = start(Config { origins: vec!["*".into()], ..Config::default() }).await;
    assert_eq!(origin(&all, "https://b.example").await.as_deref(), Some("*"));
}
