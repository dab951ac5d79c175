//! A gateway over nodes of the chain in memory.

use std::{sync::Arc, time::Duration};

use axum::Router;
use blob_api::{Client, Gateway, GatewayConfig, Spending, SpendingCap, Token, serve_door};
use reqwest::{Method, RequestBuilder, Response};
use tempfile::TempDir;
use tokio::{net::TcpListener, sync::oneshot, task::JoinHandle};

use crate::{
    chain_in_memory::{Chain, FUNDS, key},
    nodes::{Server, client},
};

/// What a test says of its gateway.
pub(crate) struct Setup {
    pub(crate) limit: u64,
    pub(crate) concurrent: usize,
    pub(crate) token: bool,
}

impl Default for Setup {
    fn default() -> Self {
        Self { limit: FUNDS, concurrent: 16, token: true }
    }
}

/// A running gateway with one door.
pub(crate) struct Sidecar {
    pub(crate) url: String,
    pub(crate) token: Option<Token>,
    http: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<std::io::Result<()>>,
    _state: TempDir,
}

impl Sidecar {
    pub(crate) async fn start(
        chain: &Chain,
        nodes: &[&Server],
        setup: Setup,
        door: impl FnOnce(&Gateway) -> Router,
    ) -> Self {
        Self::start_over(client(chain, nodes), setup, door).await
    }

    pub(crate) async fn start_over(
        client: Client,
        setup: Setup,
        door: impl FnOnce(&Gateway) -> Router,
    ) -> Self {
        let state = tempfile::tempdir().unwrap();
        let cap = SpendingCap { limit: setup.limit, window: Duration::from_secs(3600) };
        let spending = Spending::open(&state.path().join("spending.json"), cap).unwrap();
        let token = setup.token.then(|| Token::load_or_create(&state.path().join("token")).unwrap());
        let config = GatewayConfig {
            concurrent_submissions: setup.concurrent,
            look_every: Duration::from_millis(20),
            ..GatewayConfig::default()
        };
        let gateway = Gateway::start(client, key(1), spending, config);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let (stopping, door) = (gateway.clone(), door(&gateway));
        let shutdown = async move {
            let _ = stopped.await;
            stopping.stop();
        };
        let task = tokio::spawn(serve_door(listener, door, token.clone(), shutdown));
        Self { url, token, http: reqwest::Client::new(), stop: Some(stop), task, _state: state }
    }

    /// A request with the token.
    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.token {
            Some(token) => request.bearer_auth(token.secret()),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> Response {
        self.request(Method::GET, path).send().await.unwrap()
    }

    pub(crate) async fn put(&self, body: impl Into<reqwest::Body>) -> Response {
        self.request(Method::POST, "/put").body(body).send().await.unwrap()
    }

    pub(crate) async fn stop(mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.task.await.unwrap().unwrap();
    }
}

/// Makes blocks of whatever is pooled, as long as it is held.
pub(crate) struct Deciding(JoinHandle<()>);

impl Deciding {
    pub(crate) fn start(chain: &Arc<Chain>) -> Self {
        let chain = chain.clone();
        Self(tokio::spawn(async move {
            loop {
                chain.pooled(1).await;
                chain.decide();
            }
        }))
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        self.0.abort();
    }
}

pub(crate) async fn text(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}
