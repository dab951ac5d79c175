//! Who may ask, and how much.

use blob_api::{Config, ErrorBody, ErrorCode};
use reqwest::{Client, StatusCode};

use crate::{
    chain_in_memory::Chain,
    nodes::{Manner, Server, honest},
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
