//! The status endpoint.
//!
//! | path | answers |
//! | --- | --- |
//! | `GET /status` | [`Status`] as JSON |
//! | `GET /healthz` | 200 if a sample succeeded recently and the client follows the chain, else 503; why, as text |
//! | `GET /metrics` | Prometheus' text format |

use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use tokio::net::TcpListener;

use crate::client::{Client, ClientError};
use crate::sampler::Millis;
use crate::status::Status;

/// The routes, for a server of the caller's.
pub fn router(client: Client) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/healthz", get(healthz))
        .route("/metrics", get(metrics))
        .with_state(client)
}

/// Serves the status endpoint until the client ends.
///
/// # Errors
/// When the listener fails.
pub async fn serve(listener: TcpListener, client: Client) -> std::io::Result<()> {
    let ended = client.clone();
    axum::serve(listener, router(client))
        .with_graceful_shutdown(async move {
            // However it ended, there is nothing left to serve.
            ended.join().await.ok();
        })
        .await
}

impl IntoResponse for ClientError {
    fn into_response(self) -> axum::response::Response {
        (StatusCode::SERVICE_UNAVAILABLE, self.to_string()).into_response()
    }
}

async fn status(State(client): State<Client>) -> Result<Json<Status>, ClientError> {
    client.status().await.map(Json)
}

async fn healthz(State(client): State<Client>) -> Result<impl IntoResponse, ClientError> {
    let status = client.status().await?;
    let limit = client.config().healthy_within.as_secs();
    if let Some(halt) = status.halted {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, format!("halted: {halt}\n")));
    }
    if let Some(unknown) = status.outdated {
        return Ok((StatusCode::SERVICE_UNAVAILABLE, format!("outdated: {unknown}\n")));
    }
    let Some(last) = status.last_sample else {
        let text = "no sample has succeeded yet\n".to_owned();
        return Ok((StatusCode::SERVICE_UNAVAILABLE, text));
    };
    let age = client.config().clock.now().since(Millis(last)).as_secs();
    let code = if age <= limit { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok((code, format!("last sample {age} s ago, healthy up to {limit} s\n")))
}

async fn metrics(State(client): State<Client>) -> impl IntoResponse {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], client.metrics_text())
}
