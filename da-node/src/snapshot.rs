//! Snapshots on their way: out of a node that goes on meanwhile, and into a folder whose node has no history.
//!
//! ```text
//!  GET /v1/snapshot ─ Store::view ─▶ head, chunks, end ─▶ load ─ verify ─▶ db.new ─ whole ─▶ db
//! ```
//!
//! The format is `chain`'s. What is given out is the state before the latest block, which that block's header names.
//! A reader that does not take what it asked for loses its place, since a view keeps on disk what is dropped meanwhile.

mod load;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use axum::{
    Json, Router,
    body::Body,
    http::{
        HeaderValue, StatusCode,
        header::{CONTENT_TYPE, RETRY_AFTER},
    },
    response::{IntoResponse as _, Response},
    routing::get,
};
use blob_api::{ErrorBody, ErrorCode, ErrorDetail};
use bytes::Bytes;
use chain::{SNAPSHOT_MAGIC, SNAPSHOT_PART_BYTES, SnapshotHead, State};
use tokio::{
    runtime::Handle,
    sync::{
        OwnedSemaphorePermit, Semaphore,
        mpsc::{self, error::SendTimeoutError},
    },
};

use crate::{
    node::Node,
    storage::{Store, StoreError},
};

pub(crate) use load::{Source, UNFINISHED, check, load};

/// Where nodes give snapshots out.
pub(crate) const PATH: &str = "/v1/snapshot";

/// Parts read ahead of what the reader has taken.
const AHEAD: usize = 2;

/// How long a reader may leave a part untaken, and how long it may take for all of them.
const TAKES_WITHIN: Duration = Duration::from_secs(30);
const ALL_WITHIN: Duration = Duration::from_secs(2 * 60 * 60);

/// When a refused reader may ask again.
const AGAIN_SECONDS: u64 = 60;

fn framed(part: &[u8]) -> Result<Vec<u8>> {
    let (got, limit) = (part.len(), SNAPSHOT_PART_BYTES);
    ensure!(got <= limit, "a value of the state makes a part of {got} bytes, a snapshot's hold {limit}");
    Ok([&(got as u32).to_be_bytes()[..], part].concat())
}

/// Gives the snapshot that begins with `head` to `take`, piece by piece.
pub(crate) fn write(
    store: &Store,
    head: &SnapshotHead,
    mut take: impl FnMut(Vec<u8>) -> Result<()>,
) -> Result<()> {
    let view = store.view();
    take([&SNAPSHOT_MAGIC[..], &framed(&head.encode())?].concat())?;
    for chunk in State::at(&view, head.height()).chunks()? {
        take(framed(&chunk?.encode())?)?;
    }
    take(framed(&[])?)
}

/// The route that gives snapshots out, to `at_once` readers at once.
pub(crate) fn route(node: Arc<Node>, at_once: usize) -> Router {
    routed(node, Arc::new(Semaphore::new(at_once)), at_once)
}

fn routed(node: Arc<Node>, places: Arc<Semaphore>, at_once: usize) -> Router {
    let handler = move || {
        let (node, places) = (node.clone(), places.clone());
        async move {
            match places.try_acquire_owned() {
                Ok(place) => give(node, place).await,
                Err(_) if at_once == 0 => refuse(
                    ErrorCode::NoSuchPath,
                    StatusCode::NOT_FOUND,
                    "this node gives out no snapshots (snapshots = 0 in [api] of its node.toml); ask another"
                        .into(),
                ),
                Err(_) => refuse(
                    ErrorCode::TooManyRequests,
                    StatusCode::TOO_MANY_REQUESTS,
                    format!("at most {at_once} snapshots are given out at once; ask again, or another node"),
                ),
            }
        }
    };
    Router::new().route(PATH, get(handler))
}

fn refuse(code: ErrorCode, status: StatusCode, message: String) -> Response {
    let error = ErrorDetail { code, message, field: None, limit: None, got: None, proof: None };
    let mut response = (status, Json(ErrorBody { error })).into_response();
    if status != StatusCode::NOT_FOUND {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(AGAIN_SECONDS));
    }
    response
}

async fn give(node: Arc<Node>, place: OwnedSemaphorePermit) -> Response {
    let reading = node.clone();
    let head = tokio::task::spawn_blocking(move || reading.store.snapshot_head()).await;
    let unreachable =
        |message: String| refuse(ErrorCode::Unreachable, StatusCode::SERVICE_UNAVAILABLE, message);
    let head = match head.map_err(|error| error.to_string()) {
        Ok(Ok(Some(head))) => head,
        Ok(Ok(None)) => return unreachable("there is a snapshot once this node has two blocks".into()),
        Ok(Err(error)) => return unreachable(failed(&error)),
        Err(error) => return unreachable(error),
    };
    let (parts, taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let height = head.height();
        let until = Instant::now() + ALL_WITHIN;
        match write(&node.store, &head, |part| offer(&parts, part.into(), until)) {
            Ok(()) => tracing::info!(height, "a snapshot was given out"),
            // The reader finds the end missing.
            Err(error) => tracing::info!(height, %error, "a snapshot was not given out whole"),
        }
        drop(place);
    });
    let body = futures::stream::unfold(taken, |mut taken| async move {
        taken.recv().await.map(|part| (Ok::<Bytes, std::io::Error>(part), taken))
    });
    ([(CONTENT_TYPE, "application/octet-stream")], Body::from_stream(body)).into_response()
}

fn failed(error: &StoreError) -> String {
    tracing::error!(%error, "a snapshot met a failing database");
    error.to_string()
}

/// Waits for room, on a thread of the runtime that may block.
fn offer(parts: &mpsc::Sender<Bytes>, part: Bytes, until: Instant) -> Result<()> {
    let within = TAKES_WITHIN.min(until.saturating_duration_since(Instant::now()));
    match Handle::current().block_on(parts.send_timeout(part, within)) {
        Ok(()) => Ok(()),
        Err(SendTimeoutError::Closed(_)) => bail!("the reader went away"),
        Err(SendTimeoutError::Timeout(_)) => bail!("the reader is too slow"),
    }
}

#[cfg(test)]
mod tests;
