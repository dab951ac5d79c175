//! The HTTP API over a [`Backend`].
//!
//! Reads are open; submissions are open and paid for by their signer. Every error has the shape of
//! [`crate::ErrorBody`]; the three outcomes of a read are mapped to HTTP in `outcome` and nowhere else. The OpenAPI
//! description at `/openapi.json` is generated from the handlers.

mod failure;
mod follow;
mod node;
mod outcome;
mod params;
mod price;
mod read;
mod state;
mod submit;

use std::{io, sync::Arc, time::Duration};

use axum::{Json, Router};
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};
use tower_http::trace::TraceLayer;
use utoipa::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Backend, ErrorCode};
use failure::Failure;
pub(crate) use follow::HEIGHT_EVENT;
pub(crate) use read::{HEIGHT_HEADER, PROOF_HEADER};

/// Limits of the server.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Submissions being received or checked at once; each holds its body in memory. Too low: clients see 429.
    /// Default 32.
    pub concurrent_submissions: usize,
    /// How long a submission's body may take to arrive. Too low: clients with a slow line cannot submit.
    /// Default 60 s.
    pub upload_timeout: Duration,
    /// Longest `wait_ms`. Too low: clients poll more often. Default 30 s.
    pub wait_limit: Duration,
    /// Streams that follow a namespace at once. Too low: followers see 429. Default 1,024.
    pub concurrent_followers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            concurrent_submissions: 32,
            upload_timeout: Duration::from_secs(60),
            wait_limit: Duration::from_secs(30),
            concurrent_followers: 1_024,
        }
    }
}

/// What the handlers share.
#[derive(Clone)]
struct App {
    backend: Arc<dyn Backend>,
    config: Config,
    submissions: Arc<Semaphore>,
    followers: Arc<Semaphore>,
    /// Turns true when the server is told to stop; waiting requests answer then.
    stopping: watch::Receiver<bool>,
}

impl App {
    fn new(backend: Arc<dyn Backend>, config: Config, stopping: watch::Receiver<bool>) -> Self {
        let submissions = Arc::new(Semaphore::new(config.concurrent_submissions));
        let followers = Arc::new(Semaphore::new(config.concurrent_followers));
        Self { backend, config, submissions, followers, stopping }
    }

    /// Bytes that no submission exceeds: a full square of blobs, and its transaction.
    fn max_submission_bytes(&self) -> u64 {
        let parameters = &self.backend.info().parameters;
        let square = u64::from(parameters.k_max).pow(2) * erasure::SHARE_BYTES as u64;
        let blobs = u64::from(parameters.blobs_per_transaction).saturating_mul(parameters.max_blob_bytes);
        square.min(blobs).saturating_add(parameters.transaction_blob_bytes)
    }
}

/// Serves the API until `shutdown` completes; requests under way are answered first, waiting ones at once.
///
/// Cancel safe: dropping the future closes the listener and the connections.
pub async fn serve(
    listener: TcpListener,
    backend: Arc<dyn Backend>,
    config: Config,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, stopping) = watch::channel(false);
    axum::serve(listener, router(backend, config, stopping))
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.send_replace(true);
        })
        .await
}

/// The API as a router, to be mounted beside a node's other endpoints. Requests that wait are answered, and streams
/// end, once `stopping` turns true.
pub fn router(backend: Arc<dyn Backend>, config: Config, stopping: watch::Receiver<bool>) -> Router {
    routed(App::new(backend, config, stopping))
}

/// The OpenAPI 3.1 description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

#[derive(OpenApi)]
#[openapi(info(
    title = "Weft blob API",
    description = "Price, submit, follow, read and prove blobs. Proofs verify against the data root of the header \
                   at their height, which /v1/header serves with its commit: nothing here has to be believed."
))]
struct Description;

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(node::healthz))
        .routes(routes!(node::status))
        .routes(routes!(node::account))
        .routes(routes!(node::faucet))
        .routes(routes!(price::price))
        .routes(routes!(price::quote, price::quote_exactly))
        .routes(routes!(submit::submit))
        .routes(routes!(submit::transaction))
        .routes(routes!(state::single))
        .routes(routes!(state::one_of))
        .routes(routes!(state::reservation))
        .routes(routes!(read::header))
        .routes(routes!(read::blob))
        .routes(routes!(read::proof))
        .routes(routes!(read::foreign))
        .routes(routes!(read::foreign_proof))
        .routes(routes!(read::namespace))
        .routes(routes!(follow::follow))
}

fn routed(app: App) -> Router {
    let (router, description) = described().split_for_parts();
    let description = Arc::new(description);
    router
        .route("/openapi.json", axum::routing::get(move || std::future::ready(Json((*description).clone()))))
        .fallback(|| async {
            Failure::new(ErrorCode::NoSuchPath, "no such path; /openapi.json lists those there are")
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(ErrorCode::MethodNotAllowed, "this path knows another method; see /openapi.json")
        })
        .layer(TraceLayer::new_for_http())
        .with_state(app)
}
