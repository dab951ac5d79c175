//! A node that answers as an honest one does, except that it flips a byte of every blob.

use anyhow::Result;
use axum::{
    Router,
    body::Bytes,
    extract::State,
    http::{HeaderMap, StatusCode, Uri},
};
use tokio::{net::TcpListener, task::AbortHandle};

/// A lying node on a port of its own; it stops when dropped.
#[derive(Debug)]
pub(super) struct Liar {
    url: String,
    task: AbortHandle,
}

impl Liar {
    /// Starts to lie about what the node at `honest` says.
    pub(super) async fn start(honest: &str) -> Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let app = Router::new().fallback(lie).with_state(honest.to_owned());
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, app).await {
                tracing::warn!(%error, "the lying node stopped");
            }
        });
        Ok(Self { url, task: task.abort_handle() })
    }

    /// Where it listens.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Liar {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn lie(State(honest): State<String>, uri: Uri) -> Result<(StatusCode, HeaderMap, Bytes), StatusCode> {
    let answer = reqwest::get(format!("{honest}{uri}")).await.map_err(|_| StatusCode::BAD_GATEWAY)?;
    let (status, headers) = (answer.status(), answer.headers().clone());
    let mut bytes = answer.bytes().await.map_err(|_| StatusCode::BAD_GATEWAY)?.to_vec();
    let is_blob =
        headers.get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"application/octet"));
    if let Some(byte) = bytes.last_mut().filter(|_| is_blob) {
        *byte ^= 1;
    }
    Ok((status, headers, bytes.into()))
}
