//! Submissions on their way in.

use axum::{
    Json,
    extract::{Request, State},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
};
use chain::Submission;
use futures::StreamExt;
use tokio::time::timeout_at;

use super::{
    App,
    failure::Failure,
    params::parse,
    places::{Asker, Place},
};
use crate::{ErrorBody, ErrorCode, PROTOBUF, SubmitError, SubmittedBody};

/// As much of a place as a body takes that is as long as announced; a whole one where nothing is announced.
pub(super) fn take_place(app: &App, asker: Asker, headers: &HeaderMap) -> Result<Place, Failure> {
    match announced(headers)? {
        Some(bytes) => app.submissions.take_for(asker, bytes, app.max_submission_bytes()),
        None => app.submissions.take(asker),
    }
}

fn announced(headers: &HeaderMap) -> Result<Option<u64>, Failure> {
    let value = headers.get(CONTENT_LENGTH);
    value.map(|value| parse("content-length", value.to_str().unwrap_or("?"))).transpose()
}

/// Hands in a signed transaction with its blobs' bytes.
///
/// Answers as soon as the transaction is in the pool. A refused submission leaves nothing there. An empty body stands
/// for one that was uploaded before, in pieces.
#[utoipa::path(
    post, path = "/v1/tx", tag = "transaction",
    request_body(
        content_type = "application/x-protobuf", content = Vec<u8>,
        description = "Submission: field 1 the signed transaction, field 2 repeated the blobs' bytes"
    ),
    responses(
        (status = 200, body = SubmittedBody), (status = 400, body = ErrorBody), (status = 402, body = ErrorBody),
        (status = 408, body = ErrorBody), (status = 409, body = ErrorBody), (status = 413, body = ErrorBody),
        (status = 415, body = ErrorBody), (status = 429, body = ErrorBody), (status = 503, body = ErrorBody)
    )
)]
pub(super) async fn submit(
    State(app): State<App>,
    asker: Asker,
    request: Request,
) -> Result<Json<SubmittedBody>, Failure> {
    check_media_type(request.headers())?;
    let _place = take_place(&app, asker, request.headers())?;
    let (bytes, ended) = read_body(&app, request, app.max_submission_bytes()).await?;
    ended?;
    let mut submission = Submission::decode(&bytes).map_err(SubmitError::from)?;
    drop(bytes);
    app.uploads.complete(&mut submission);
    let id = app.backend.submit(submission).await?;
    Ok(Json(SubmittedBody { id }))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), Failure> {
    let got = headers.get(CONTENT_TYPE).map_or("", |value| value.to_str().unwrap_or("?"));
    if got == PROTOBUF {
        return Ok(());
    }
    let message = format!("content-type: a submission is {PROTOBUF}");
    Err(Failure::new(ErrorCode::UnsupportedMediaType, message).field("content-type").limit(PROTOBUF).got(got))
}

/// What came of a body no longer than `limit`, and whether that is all of it.
pub(super) async fn read_body(
    app: &App,
    request: Request,
    limit: u64,
) -> Result<(Vec<u8>, Result<(), Failure>), Failure> {
    let too_large = |got: u64| {
        let message = format!("body: at most {limit} bytes here; split it");
        Failure::new(ErrorCode::TooLarge, message).field("body").limit(limit).got(got)
    };
    let announced = announced(request.headers())?;
    if let Some(announced) = announced.filter(|announced| *announced > limit) {
        return Err(too_large(announced));
    }
    let expected = announced.and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(0);
    let mut bytes = Vec::with_capacity(expected.min(1 << 20));
    let mut chunks = request.into_body().into_data_stream();
    let deadline = tokio::time::Instant::now() + app.config.upload_timeout;
    // An error is a connection that ended early: what came is then shorter than announced.
    loop {
        let chunk = match timeout_at(deadline, chunks.next()).await {
            Ok(Some(Ok(chunk))) => chunk,
            Ok(Some(Err(_)) | None) => break,
            Err(_) => {
                let slow = Failure::new(ErrorCode::TooSlow, "the body took too long").field("body");
                return Ok((bytes, Err(slow)));
            }
        };
        let length = bytes.len() as u64 + chunk.len() as u64;
        if length > limit {
            return Err(too_large(length));
        }
        bytes.extend_from_slice(&chunk);
    }
    let got = bytes.len() as u64;
    let whole = match announced.filter(|announced| *announced != got) {
        None => Ok(()),
        Some(announced) => {
            let message = "the body is not as long as announced; send it again";
            Err(Failure::invalid("content-length", message).limit(announced).got(got))
        }
    };
    Ok((bytes, whole))
}
