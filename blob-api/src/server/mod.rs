//! The HTTP API over a [`Backend`].
//!
//! Reads are open; submissions are open and paid for by their signer. Every error has the shape of
//! [`crate::ErrorBody`]; the three outcomes of a read are mapped to HTTP in `outcome` and nowhere else. The OpenAPI
//! description at `/openapi.json` is generated from the handlers.

mod bodies;
mod certificate;
mod docs;
mod failure;
mod follow;
mod limits;
mod live;
mod node;
mod outcome;
mod params;
mod parts;
mod places;
mod price;
mod read;
mod state;
mod stream;
mod submit;
mod transaction;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::{Router, extract::DefaultBodyLimit, middleware};
use tokio::{net::TcpListener, sync::watch};
use tower_http::trace::TraceLayer;
use utoipa::{
    Modify, OpenApi,
    openapi::security::{Http, HttpAuthScheme, SecurityScheme},
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{Backend, ErrorCode, Rate};
use bodies::Uploads;
use failure::Failure;
pub(crate) use follow::HEIGHT_EVENT;
use limits::Limits;
pub(crate) use parts::shares_of;
use places::Places;
pub(crate) use read::{HEIGHT_HEADER, PROOF_HEADER};

/// Limits of the server, and what its operator set. One address, or IPv6 network of 64 bits, has a quarter at most of
/// what is limited at once.
#[derive(Clone)]
pub struct Config {
    /// Requests a second from one address, twice as many at once; 0 is no limit. Too low: a busy client sees 429.
    /// Default 1,000.
    pub requests_per_second: u32,
    /// Requests being answered at once, from all addresses. Too low: clients see 429. Default 1,024.
    pub concurrent_requests: usize,
    /// Submissions of the largest size being received or checked at once; each holds its body in memory, and one that
    /// is smaller takes so much less of a place, down to a 64th. Too low: clients see 429. Default 32.
    pub concurrent_submissions: usize,
    /// How long a submission's body may take to arrive. Too low: clients with a slow line cannot submit.
    /// Default 60 s.
    pub upload_timeout: Duration,
    /// Longest `wait_ms`. Too low: clients poll more often. Default 30 s.
    pub wait_limit: Duration,
    /// Streams of namespaces, states and prices at once. Too low: followers see 429. Default 1,024.
    pub concurrent_followers: usize,
    /// Bytes of unfinished uploads held in memory, 4,096 more for each. Too low: uploads in pieces see 503. Default
    /// 64 MiB.
    pub upload_bytes: u64,
    /// What `/v1/operator/…` asks for; without it, that is closed. Default none.
    pub operator_token: Option<String>,
    /// Origins that browsers may ask from, `*` for all. Default none: no CORS.
    pub origins: Vec<String>,
    /// Units that prices are shown in if asked. Default none.
    pub rates: Vec<Rate>,
}

/// Without the token.
impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("requests_per_second", &self.requests_per_second)
            .field("concurrent_requests", &self.concurrent_requests)
            .field("concurrent_followers", &self.concurrent_followers)
            .field("concurrent_submissions", &self.concurrent_submissions)
            .field("operator_token", &self.operator_token.is_some())
            .field("origins", &self.origins)
            .field("rates", &self.rates)
            .finish_non_exhaustive()
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            requests_per_second: 1_000,
            concurrent_requests: 1_024,
            concurrent_submissions: 32,
            upload_timeout: Duration::from_secs(60),
            wait_limit: Duration::from_secs(30),
            concurrent_followers: 1_024,
            upload_bytes: 64 << 20,
            operator_token: None,
            origins: Vec::new(),
            rates: Vec::new(),
        }
    }
}

/// Parts of a submission's place: the smallest one takes so much less of the memory that a place stands for.
const SUBMISSION_PARTS: u32 = 64;

/// What the handlers share.
#[derive(Clone)]
struct App {
    backend: Arc<dyn Backend>,
    config: Arc<Config>,
    limits: Arc<Limits>,
    submissions: Places,
    streams: Places,
    uploads: Arc<Uploads>,
    /// Turns true when the server is told to stop; waiting requests answer then.
    stopping: watch::Receiver<bool>,
}

impl App {
    fn new(backend: Arc<dyn Backend>, config: Config, stopping: watch::Receiver<bool>) -> Self {
        Self {
            backend,
            limits: Arc::new(Limits::new(&config)),
            submissions: Places::divided("submissions", config.concurrent_submissions, SUBMISSION_PARTS),
            streams: Places::new("streams", config.concurrent_followers),
            uploads: Arc::default(),
            config: Arc::new(config),
            stopping,
        }
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
    let app = routed(App::new(backend, config, stopping));
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>())
        .with_graceful_shutdown(async move {
            shutdown.await;
            stop.send_replace(true);
        })
        .await
}

/// The API as a router, to be mounted beside a node's other endpoints, and served with connect info of
/// [`SocketAddr`], from which each address' rate is counted. Waiting requests and streams end when `stopping` turns
/// true.
pub fn router(backend: Arc<dyn Backend>, config: Config, stopping: watch::Receiver<bool>) -> Router {
    routed(App::new(backend, config, stopping))
}

/// The OpenAPI 3.1 description.
pub fn openapi() -> utoipa::openapi::OpenApi {
    described().into_openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Weft blob API",
        description = "Price, submit, follow, read and prove blobs. Proofs verify against the data root of the header \
                       at their height, which /v1/header serves with its commit: nothing here has to be believed."
    ),
    tags(
        (name = "price", description = "What a share costs, and for how long a cap is sure to be enough."),
        (name = "transaction", description = "Hand in blobs, and follow what becomes of them."),
        (name = "read", description = "Blobs, parts of blobs and whole namespaces, with their proofs."),
        (name = "certificate", description = "What attesters signed of a block, for a contract on an L1."),
        (name = "account", description = "Balances, and a faucet on development networks."),
        (name = "state", description = "Entries of the ledger, with their proofs."),
        (name = "node", description = "The node itself, and this description."),
        (name = "operator", description = "For whoever runs the node, with the token of its settings.")
    ),
    modifiers(&OperatorToken)
)]
struct Description;

/// Adds what operators show.
struct OperatorToken;

impl Modify for OperatorToken {
    fn modify(&self, description: &mut utoipa::openapi::OpenApi) {
        let scheme = SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer));
        let components = description.components.get_or_insert_default();
        components.add_security_scheme("operator_token", scheme);
    }
}

fn described() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Description::openapi())
        .routes(routes!(docs::openapi_json))
        .routes(routes!(docs::docs))
        .routes(routes!(node::healthz))
        .routes(routes!(node::status))
        .routes(routes!(node::account))
        .routes(routes!(node::faucet))
        .routes(routes!(node::operator))
        .routes(routes!(price::price))
        .routes(routes!(price::price_events))
        .routes(routes!(price::price_history))
        .routes(routes!(price::quote, price::quote_exactly))
        .routes(routes!(submit::submit))
        .routes(routes!(bodies::upload_status, bodies::upload))
        .routes(routes!(transaction::transaction))
        .routes(routes!(transaction::transaction_events))
        .routes(routes!(state::single))
        .routes(routes!(state::one_of))
        .routes(routes!(state::reservation))
        .routes(routes!(read::header))
        .routes(routes!(certificate::certificate))
        .routes(routes!(certificate::attesters))
        .routes(routes!(read::blob))
        .routes(routes!(read::proof))
        .routes(routes!(read::foreign))
        .routes(routes!(read::foreign_proof))
        .routes(routes!(read::namespace))
        .routes(routes!(read::namespace_blobs))
        .routes(routes!(parts::range))
        .routes(routes!(parts::shares))
        .routes(routes!(parts::transaction_blobs))
        .routes(routes!(follow::follow))
}

fn routed(app: App) -> Router {
    let (router, _) = described().split_for_parts();
    let origins = limits::origins(&app.config);
    let router = router
        .fallback(|| async {
            Failure::new(ErrorCode::NoSuchPath, "no such path; /openapi.json lists those there are")
        })
        .method_not_allowed_fallback(|| async {
            Failure::new(ErrorCode::MethodNotAllowed, "this path knows another method; see /openapi.json")
        })
        .layer(DefaultBodyLimit::max(params::JSON_LIMIT_BYTES))
        .layer(middleware::from_fn_with_state(app.clone(), limits::admit));
    let router = match origins {
        Some(origins) => router.layer(origins),
        None => router,
    };
    // What is not here, or not yet, is an answer, not a failure; what failed is logged where it did.
    router.layer(TraceLayer::new_for_http().on_failure(())).with_state(app)
}
