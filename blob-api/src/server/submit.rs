//! Submissions and what becomes of them.

use std::time::Duration;

use axum::{
    Json,
    body::Body,
    extract::{Request, State},
    http::{
        HeaderMap,
        header::{CONTENT_LENGTH, CONTENT_TYPE},
    },
};
use chain::{Submission, TxId};
use futures::StreamExt;

use super::{
    App,
    failure::{Failure, SOON},
    params::{Parameters, Segment, parse},
};
use crate::{ErrorBody, ErrorCode, PROTOBUF, SubmitError, SubmittedBody, TxBody, TxRecord, wire::state_name};

/// Hands in a signed transaction with its blobs' bytes.
///
/// Answers as soon as the transaction is in the pool. A refused submission leaves nothing there.
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
pub(super) async fn submit(State(app): State<App>, request: Request) -> Result<Json<SubmittedBody>, Failure> {
    let _permit = app.submissions.try_acquire().map_err(|_| {
        Failure::new(ErrorCode::TooManyRequests, "too many submissions at once; retry")
            .limit(app.config.concurrent_submissions)
            .retry_after(SOON)
    })?;
    let (parts, body) = request.into_parts();
    check_media_type(&parts.headers)?;
    let limit = app.max_submission_bytes();
    let bytes = tokio::time::timeout(app.config.upload_timeout, read_body(&parts.headers, body, limit))
        .await
        .map_err(|_| Failure::new(ErrorCode::TooSlow, "the body took too long").field("body"))??;
    let submission = Submission::decode(&bytes).map_err(SubmitError::from)?;
    drop(bytes);
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

/// The whole body: no longer than `limit`, and exactly as long as announced where a length was.
async fn read_body(headers: &HeaderMap, body: Body, limit: u64) -> Result<Vec<u8>, Failure> {
    let too_large = |got: u64| {
        let message = format!("body: a submission has at most {limit} bytes; split it");
        Failure::new(ErrorCode::TooLarge, message).field("body").limit(limit).got(got)
    };
    let announced = match headers.get(CONTENT_LENGTH) {
        None => None,
        Some(value) => Some(parse::<u64>("content-length", value.to_str().unwrap_or("?"))?),
    };
    if let Some(announced) = announced.filter(|announced| *announced > limit) {
        return Err(too_large(announced));
    }
    let mut bytes =
        Vec::with_capacity(announced.and_then(|n| usize::try_from(n).ok()).unwrap_or(0).min(1 << 20));
    let mut chunks = body.into_data_stream();
    // An error is a connection that ended early: what came is then shorter than announced.
    while let Some(Ok(chunk)) = chunks.next().await {
        let length = bytes.len() as u64 + chunk.len() as u64;
        if length > limit {
            return Err(too_large(length));
        }
        bytes.extend_from_slice(&chunk);
    }
    let got = bytes.len() as u64;
    match announced.filter(|announced| *announced != got) {
        None => Ok(bytes),
        Some(announced) => {
            let message = "the body is not as long as announced; send it again";
            Err(Failure::invalid("content-length", message).limit(announced).got(got))
        }
    }
}

/// Where a transaction stands.
///
/// With `wait_ms`, answers when its state is no longer `from` (or the one it has now), or when the time is up.
#[utoipa::path(
    get, path = "/v1/tx/{id}", tag = "transaction",
    params(
        ("id" = String, Path, description = "64 hexadecimal digits"),
        ("wait_ms" = Option<u64>, Query, description = "wait so many milliseconds for another state"),
        ("from" = Option<String>, Query, description = "the state that the asker knows: pooled, included, …")
    ),
    responses((status = 200, body = TxBody), (status = 400, body = ErrorBody), (status = 404, body = ErrorBody))
)]
pub(super) async fn transaction(
    State(app): State<App>,
    Segment(id): Segment,
    mut query: Parameters,
) -> Result<Json<TxBody>, Failure> {
    let id = parse("id", &id)?;
    let wait_ms: u64 = query.take("wait_ms")?.unwrap_or(0);
    let from: Option<String> = query.take("from")?;
    query.finish()?;
    let limit = app.config.wait_limit.as_millis().try_into().unwrap_or(u64::MAX);
    if wait_ms > limit {
        return Err(Failure::invalid("wait_ms", format!("at most {limit}")).limit(limit).got(wait_ms));
    }
    let record = wait(&app, id, from, Duration::from_millis(wait_ms)).await;
    let record = record.ok_or_else(|| {
        let message =
            "this node has not heard of the transaction; it may have expired long ago, or ask another node";
        Failure::new(ErrorCode::UnknownTransaction, message).field("id").got(id.to_string())
    })?;
    Ok(Json(TxBody::new(id, record)))
}

/// The record once its state is another than `from`, or after `time` whatever it is.
async fn wait(app: &App, id: TxId, from: Option<String>, time: Duration) -> Option<TxRecord> {
    let mut changes = app.backend.changes();
    let mut stopping = app.stopping.clone();
    changes.mark_unchanged();
    let mut record = app.backend.transaction(id).await;
    let from = from.or_else(|| record.as_ref().map(|record| state_name(&record.status).to_owned()));
    let unchanged = |record: &TxRecord| {
        from.as_deref() == Some(state_name(&record.status)) && !record.status.is_settled()
    };
    let until_changed = async {
        while record.as_ref().is_none_or(unchanged) {
            if changes.changed().await.is_err() {
                break;
            }
            record = app.backend.transaction(id).await;
        }
    };
    let told_to_stop = async {
        if stopping.wait_for(|stop| *stop).await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = until_changed => {}
        () = tokio::time::sleep(time) => {}
        () = told_to_stop => {}
    }
    record
}
