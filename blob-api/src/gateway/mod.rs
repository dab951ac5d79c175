//! The gateway: doors through which existing rollup stacks use Weft without a change.
//!
//! ```text
//!  op-batcher, op-node ── alt-DA HTTP ──▶ op ────────┐
//!                                                    ├─▶ submit (key, cap) ─▶ Client ─▶ nodes
//!  ev-node ── celestia-node JSON-RPC ──▶ celestia ───┘    read (verified)
//! ```
//!
//! It runs beside the rollup, which trusts it as it trusts its own process. What it reads was verified down to a
//! header that follows from the checkpoint; what it submits is signed with a key that it holds, under a
//! [`SpendingCap`]. The three outcomes of a read stay three in every door's own words, and absent is said only where
//! it is proven.

mod access;
mod doors;
mod head;
mod spending;
mod submit;

use std::{io, sync::Arc, time::Duration};

use axum::{Router, middleware, routing::get};
use chain::{Height, SecretKey, VerifiedHeader};
use erasure::Namespace;
use tokio::{net::TcpListener, sync::watch};
use tower_http::trace::TraceLayer;

use crate::{Client, ClientError, SubmitOptions, VerifiedList};
pub use access::{Token, TokenError};
use head::Head;
pub use spending::{Spending, SpendingCap, SpendingError};
use submit::Submitter;

/// Bytes of a request's body at most: sixteen megabytes of blobs, half as much again as base64, and their JSON.
const BODY_LIMIT_BYTES: usize = 24 << 20;

/// How a gateway works, whatever its doors.
#[derive(Clone, Copy, Debug)]
pub struct GatewayConfig {
    /// What a submission offers.
    pub submit: SubmitOptions,
    /// Submissions under way at once; each holds its blobs in memory. Too low: clients are told to come later.
    /// Default 16.
    pub concurrent_submissions: usize,
    /// Time between two looks for a new block. Too long: subscriptions and waits for a height lag. Default 500 ms.
    pub look_every: Duration,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            submit: SubmitOptions::default(),
            concurrent_submissions: 16,
            look_every: Duration::from_millis(500),
        }
    }
}

/// What all doors share. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    client: Client,
    submitter: Arc<Submitter>,
    head: Head,
    /// Turns true when the gateway is told to stop; what waits ends then.
    stopping: watch::Receiver<bool>,
    stop: Arc<watch::Sender<bool>>,
}

/// Why a read has no answer. None of these says that anything is absent.
#[derive(Clone, Debug, thiserror::Error)]
enum ReadFailure {
    /// The chain is not there yet.
    #[error("given height is from the future: the latest block is {head}, asked for {height}")]
    Future { height: Height, head: Height },
    /// No node could answer, or none without a lie.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Gateway {
    /// A gateway over a verifying client that signs with `key` within `spending`. Must be called on a Tokio runtime.
    pub fn start(client: Client, key: SecretKey, spending: Spending, config: GatewayConfig) -> Self {
        let limit = config.concurrent_submissions;
        let head = Head::follow(client.clone(), config.look_every);
        let submitter = Submitter::new(client.clone(), head.clone(), key, config.submit, spending, limit);
        let (stop, stopping) = watch::channel(false);
        Self { client, submitter: Arc::new(submitter), head, stopping, stop: Arc::new(stop) }
    }

    /// The door for the OP Stack's alt-DA mode, reading and writing one namespace.
    pub fn op(&self, namespace: Namespace) -> Router {
        doors::op::router(self.clone(), namespace)
    }

    /// The door that speaks celestia-node's JSON-RPC.
    pub fn celestia(&self) -> Router {
        doors::celestia::router(self.clone())
    }

    /// Ends what waits for blocks to come; submissions under way are answered.
    pub fn stop(&self) {
        self.stop.send_replace(true);
    }

    async fn stopped(&self) {
        let mut stopping = self.stopping.clone();
        if stopping.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// The latest verified header.
    async fn latest(&self) -> Result<VerifiedHeader, ClientError> {
        match self.head.latest() {
            Some(header) => Ok(header),
            None => self.client.latest().await,
        }
    }

    /// Fails unless the chain is at `height`.
    async fn check_height(&self, height: Height) -> Result<(), ReadFailure> {
        if self.head.latest().is_some_and(|head| head.height() >= height) {
            return Ok(());
        }
        let head = self.client.latest().await?.height();
        if head < height { Err(ReadFailure::Future { height, head }) } else { Ok(()) }
    }

    /// All entries of a namespace in a block, verified to be all.
    async fn list(&self, height: Height, namespace: Namespace) -> Result<VerifiedList, ReadFailure> {
        self.check_height(height).await?;
        Ok(self.client.list(height, namespace).await?)
    }
}

/// Serves a door to whoever has the token, or to every program of this machine where there is none, until `shutdown`
/// completes; requests under way are answered first. `GET /health` is open to all.
///
/// Cancel safe: dropping the future closes the listener and the connections.
pub async fn serve_door(
    listener: TcpListener,
    door: Router,
    token: Option<Token>,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    // The token goes before the path is looked at, or written to a log, since it may be in front of it.
    let guarded = Router::new()
        .fallback_service(door)
        .layer(TraceLayer::new_for_http())
        .layer(middleware::from_fn_with_state(token, access::admit));
    let open = Router::new().route("/health", get(|| std::future::ready("ok\n")));
    axum::serve(listener, open.fallback_service(guarded)).with_graceful_shutdown(shutdown).await
}
