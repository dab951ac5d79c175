//! Blobs' bytes, piece by piece, so that an answer holds a piece in memory and not the blob.

use std::collections::VecDeque;

use axum::{
    Extension,
    body::Body,
    http::{
        HeaderValue,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use chain::{Height, Outcome};
use erasure::IndexEntry;
use futures::stream;

use super::{App, failure::Failure, limits::HoldsPlace, outcome};

/// Bytes read from the node at a time.
const PIECE_BYTES: u64 = 256 * 1024;

/// What is left to send.
struct Rest {
    app: App,
    height: Height,
    entries: VecDeque<IndexEntry>,
    /// Of the first entry.
    offset: u64,
}

/// The response of these blobs' bytes, one after the other. What keeps the first piece from being read is its error;
/// later, a connection that ends before the announced length.
pub(super) async fn blobs(app: &App, height: Height, entries: Vec<IndexEntry>) -> Result<Response, Failure> {
    let bytes: u64 = entries.iter().map(|entry| entry.len).sum();
    let mut rest = Rest { app: app.clone(), height, entries: entries.into(), offset: 0 };
    let first = rest.piece().await.map(outcome::data).transpose()?;
    let rest = stream::unfold(rest, |mut rest| async move {
        let piece = match rest.piece().await? {
            Outcome::Data(piece) => Ok(piece),
            Outcome::Absent(never) => match never {},
            Outcome::Unreachable(reason) => Err(std::io::Error::other(reason.to_string())),
        };
        Some((piece, rest))
    });
    let pieces = futures::StreamExt::chain(stream::iter(first.map(Ok)), rest);
    let headers = [
        (CONTENT_TYPE, HeaderValue::from_static("application/octet-stream")),
        (CONTENT_LENGTH, HeaderValue::from(bytes)),
    ];
    Ok((headers, Extension(HoldsPlace), Body::from_stream(pieces)).into_response())
}

impl Rest {
    async fn piece(&mut self) -> Option<crate::Found<Bytes>> {
        let entry = self.entries.front()?;
        let range = self.offset..entry.len.min(self.offset.saturating_add(PIECE_BYTES));
        let piece = self.app.backend.bytes(self.height, entry, range.clone()).await;
        self.offset = range.end;
        if self.offset == entry.len {
            self.entries.pop_front();
            self.offset = 0;
        }
        Some(piece)
    }
}
