//! Bodies uploaded in pieces, before the transaction that announces them: what a slow or breaking line needs.
//!
//! ```text
//!  PUT /v1/bodies/{commitment}?offset=0      bytes 0 …    ─▶ {"received": n}
//!  PUT /v1/bodies/{commitment}?offset=n      bytes n …    ─▶ {"received": m}      resumes after a disconnect
//!  POST /v1/tx                               the transaction, with an empty body for each that was uploaded
//! ```
//!
//! Nothing is checked before the transaction is there; then each body is checked against its header as if it had come
//! along. Pieces live in memory, within a limit for all of them together, in which each body counts 4,096 more than its
//! bytes, and are dropped when they are not continued.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use axum::{
    Json,
    extract::{Request, State},
};
use chain::Submission;

use super::{
    App,
    failure::{Failure, SOON},
    params::{Parameters, Segment, digest},
    places::Asker,
    submit::{read_body, take_place},
};
use crate::{ErrorBody, ErrorCode, UploadBody};

/// How long an upload is kept that nobody continues or uses.
const KEPT: Duration = Duration::from_secs(600);

/// What an upload counts for besides its bytes, so that their number is bounded, too.
const UPLOAD_BYTES: u64 = 4_096;

/// What has arrived of each body, by its commitment.
#[derive(Debug, Default)]
pub(super) struct Uploads(Mutex<HashMap<[u8; 32], Upload>>);

#[derive(Debug)]
struct Upload {
    bytes: Vec<u8>,
    touched: Instant,
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<[u8; 32], Upload>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn received(&self, commitment: &[u8; 32]) -> u64 {
        self.lock().get(commitment).map_or(0, |upload| upload.bytes.len() as u64)
    }

    /// Adds `piece` at `offset`; gives how much is there. Offset 0 starts anew.
    fn add(
        &self,
        commitment: [u8; 32],
        offset: u64,
        piece: &[u8],
        limits: (u64, u64),
    ) -> Result<u64, Failure> {
        let (blob_limit, all_limit) = limits;
        let mut uploads = self.lock();
        uploads.retain(|_, upload| upload.touched.elapsed() < KEPT);
        let there = uploads.get(&commitment).map_or(0, |upload| upload.bytes.len() as u64);
        if offset != 0 && offset != there {
            let message =
                format!("offset: {there} bytes of this body are here; continue there, or start at 0");
            return Err(Failure::new(ErrorCode::WrongOffset, message)
                .field("offset")
                .limit(there)
                .got(offset));
        }
        let length = offset.saturating_add(piece.len() as u64);
        if length > blob_limit {
            let message = format!("body: a blob has at most {blob_limit} bytes");
            return Err(Failure::new(ErrorCode::TooLarge, message)
                .field("body")
                .limit(blob_limit)
                .got(length));
        }
        let others = uploads.iter().filter(|(other, _)| **other != commitment);
        let others: u64 = others.map(|(_, upload)| upload.bytes.len() as u64 + UPLOAD_BYTES).sum();
        if others + length + UPLOAD_BYTES > all_limit {
            let message = "the node holds as many unfinished uploads as it may; retry, or send the bodies with the \
                           transaction";
            return Err(Failure::new(ErrorCode::PoolFull, message).limit(all_limit).retry_after(SOON));
        }
        let fresh = || Upload { bytes: Vec::new(), touched: Instant::now() };
        let upload = uploads.entry(commitment).or_insert_with(fresh);
        upload.bytes.truncate(usize::try_from(offset).unwrap_or(0));
        upload.bytes.extend_from_slice(piece);
        upload.touched = Instant::now();
        Ok(length)
    }

    /// Puts uploaded bodies in the place of empty ones. They are gone from here whatever becomes of the submission, so
    /// that a false one does not stay.
    pub(super) fn complete(&self, submission: &mut Submission) {
        let blobs = submission.transaction.blobs();
        if submission.bodies.iter().all(|body| !body.is_empty()) {
            return;
        }
        let mut uploads = self.lock();
        for (blob, body) in blobs.iter().zip(&mut submission.bodies).filter(|(_, body)| body.is_empty()) {
            if let Some(upload) = uploads.remove(&blob.commitment) {
                *body = upload.bytes;
            }
        }
    }
}

/// How much of a body has arrived.
#[utoipa::path(
    get, path = "/v1/bodies/{commitment}", tag = "transaction",
    params(("commitment" = String, Path, description = "64 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses((status = 200, body = UploadBody), (status = 400, body = ErrorBody))
)]
pub(super) async fn upload_status(
    State(app): State<App>,
    Segment(commitment): Segment,
) -> Result<Json<UploadBody>, Failure> {
    Ok(Json(UploadBody { received: app.uploads.received(&digest("commitment", &commitment)?) }))
}

/// Uploads a piece of a body; continues where an earlier one ended.
///
/// `POST /v1/tx` takes the uploaded body for each blob whose own body is empty there. A piece that broke off counts as
/// far as it came: ask how much is there, and go on.
#[utoipa::path(
    put, path = "/v1/bodies/{commitment}", tag = "transaction",
    params(
        ("commitment" = String, Path, description = "64 hexadecimal digits",
            pattern = "^(0x)?[0-9a-fA-F]{64}$"),
        ("offset" = Option<u64>, Query, description = "where the piece belongs; 0 unless told, which starts anew")
    ),
    request_body(content_type = "application/octet-stream", content = Vec<u8>),
    responses(
        (status = 200, body = UploadBody), (status = 400, body = ErrorBody), (status = 408, body = ErrorBody),
        (status = 409, body = ErrorBody), (status = 413, body = ErrorBody), (status = 429, body = ErrorBody),
        (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn upload(
    State(app): State<App>,
    asker: Asker,
    Segment(commitment): Segment,
    mut query: Parameters,
    request: Request,
) -> Result<Json<UploadBody>, Failure> {
    let commitment = digest("commitment", &commitment)?;
    let offset = query.take("offset")?.unwrap_or(0);
    query.finish()?;
    let _place = take_place(&app, asker, request.headers())?;
    let limit = app.backend.info().parameters.max_blob_bytes;
    let (piece, ended) = read_body(&app, request, limit).await?;
    if piece.is_empty() {
        ended?;
        return Err(Failure::invalid("body", "a piece has at least one byte").limit(1).got(0));
    }
    let received = app.uploads.add(commitment, offset, &piece, (limit, app.config.upload_bytes))?;
    ended?;
    Ok(Json(UploadBody { received }))
}
