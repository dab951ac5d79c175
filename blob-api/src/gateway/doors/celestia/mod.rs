//! celestia-node's JSON-RPC, as ev-node speaks it: HTTP for calls, WebSocket for subscriptions too.
//!
//! ```text
//!  blob.Submit ─▶ one transaction with all blobs, each with its Celestia commitment (foreign kind 4) ─▶ height
//!  blob.Get, GetAll, Included, Subscribe ─▶ all entries of the namespace, verified ─▶ found by that commitment
//!  header.* ─▶ verified headers in celestia-node's JSON; their roots are Weft's
//! ```
//!
//! Shapes are celestia-node's (v0.28) and ev-node's `pkg/da/jsonrpc`; errors hold the substrings that ev-node looks
//! for, word for word. Roots and proofs of Celestia's namespaced Merkle trees do not exist here: what needs them is
//! answered with an error that says so.

mod blob;
mod channel;
mod header;

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse};
use chain::Height;
use jsonrpsee::{
    Methods,
    server::{Server, ServerConfig, middleware::rpc::RpcServiceBuilder, stop_channel},
    types::{ErrorObjectOwned, Params},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use tower::ServiceExt;

use super::super::{
    BODY_LIMIT_BYTES, Gateway, ReadFailure,
    submit::{Kind, SubmitFailure},
};

/// Code of every error of an application, as go-jsonrpc's servers send it. Clients look at the text.
const APPLICATION_ERROR: i32 = 1;

/// Code of parameters that are wrong, as JSON-RPC 2.0 has it.
const INVALID_PARAMETERS: i32 = -32602;

/// A block of blobs as base64 in JSON.
const RESPONSE_LIMIT_BYTES: u32 = 256 << 20;

/// Connections at once.
const CONNECTIONS: u32 = 256;

/// Subscriptions of one connection.
const SUBSCRIPTIONS: u32 = 32;

/// Answers and notices that wait for one connection's reader; each may hold a block of blobs.
const WAITING_MESSAGES: u32 = 8;

/// How a call ends.
type Answer = Result<Value, ErrorObjectOwned>;

pub(in super::super) fn router(gateway: Gateway) -> Router {
    let mut methods = Methods::new();
    blob::register(&mut methods, &gateway);
    header::register(&mut methods, &gateway);
    let (stop, handle) = stop_channel();
    tokio::spawn(async move {
        gateway.stopped().await;
        // It may have stopped by itself.
        let _ = handle.stop();
    });
    let config = ServerConfig::builder()
        .max_request_body_size(u32::try_from(BODY_LIMIT_BYTES).unwrap_or(u32::MAX))
        .max_response_body_size(RESPONSE_LIMIT_BYTES)
        .max_connections(CONNECTIONS)
        .max_subscriptions_per_connection(SUBSCRIPTIONS)
        .set_message_buffer_capacity(WAITING_MESSAGES)
        .build();
    let service = Server::builder()
        .set_config(config)
        .set_rpc_middleware(RpcServiceBuilder::new().layer_fn(channel::Cancelling))
        .to_service_builder();
    let serve = move |mut request: Request| {
        request.extensions_mut().insert(channel::Channels::default());
        let service = service.clone().build(methods.clone(), stop.clone());
        async move {
            match service.oneshot(request).await {
                Ok(response) => response.map(Body::new),
                Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
            }
        }
    };
    Router::new().fallback(serve)
}

/// Registers a call of JSON parameters by position.
fn method<P, F, Fut>(methods: &mut Methods, gateway: &Gateway, name: &'static str, call: F)
where
    P: DeserializeOwned + Send + 'static,
    F: Fn(Gateway, P) -> Fut + Clone + Send + Sync + 'static,
    Fut: Future<Output = Answer> + Send + 'static,
{
    let mut module = jsonrpsee::RpcModule::new(gateway.clone());
    let registered = module.register_async_method(name, move |params: Params<'static>, gateway, _| {
        let call = call.clone();
        async move { call((*gateway).clone(), parse::<P>(&params)?).await }
    });
    debug_assert!(registered.is_ok(), "{name} twice");
    let merged = methods.merge(module);
    debug_assert!(merged.is_ok(), "{name} twice");
}

/// Parameters by position; those at the end may be left out where null is allowed.
fn parse<P: DeserializeOwned>(params: &Params<'_>) -> Result<P, ErrorObjectOwned> {
    let text = params.as_str().unwrap_or("[]");
    serde_json::from_str(text).map_err(|error| {
        ErrorObjectOwned::owned(INVALID_PARAMETERS, format!("parameters: {error}"), None::<()>)
    })
}

fn failure(message: impl Into<String>) -> ErrorObjectOwned {
    ErrorObjectOwned::owned(APPLICATION_ERROR, message, None::<()>)
}

/// What Celestia's trees would be needed for.
fn unsupported(what: &str) -> ErrorObjectOwned {
    failure(format!(
        "{what} is not supported: Weft has no namespaced Merkle tree; blob.Included says, verified, whether a blob is \
         in a block, and a node's /v1/height/{{height}}/namespace/{{namespace}} proves it"
    ))
}

impl From<ReadFailure> for ErrorObjectOwned {
    fn from(error: ReadFailure) -> Self {
        failure(error.to_string())
    }
}

/// The words that ev-node acts on, and ours after them.
impl From<SubmitFailure> for ErrorObjectOwned {
    fn from(error: SubmitFailure) -> Self {
        failure(match error.kind() {
            Kind::TooLarge => format!("blob: over size limit: {error}"),
            Kind::Duplicate => format!("tx already in mempool: {error}"),
            Kind::TimedOut => format!("timed out waiting for tx to be included in a block: {error}"),
            Kind::Later(wait) => format!(
                "timed out waiting for tx to be included in a block: {error}{}",
                wait.map(retry).unwrap_or_default()
            ),
            Kind::Invalid | Kind::Down | Kind::Broken => error.to_string(),
        })
    }
}

fn retry(wait: Duration) -> String {
    format!(" (retry in {} s)", wait.as_secs().max(1))
}

/// Heights start at 1.
fn check_height(height: Height) -> Result<Height, ErrorObjectOwned> {
    if height == 0 { Err(failure("height is equal to 0: the first block is 1")) } else { Ok(height) }
}
