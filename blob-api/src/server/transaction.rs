//! What becomes of a submission: its state, each with its reason, once or as a stream.

use std::time::Duration;

use axum::{Json, extract::State, response::Response};
use chain::{TxId, fees::FeeRules};
use futures::{Stream, stream};

use super::{
    App,
    failure::Failure,
    live::{Update, Wish},
    params::{Parameters, Segment, parse},
    places::Asker,
};
use crate::{
    ErrorBody, ErrorCode, TxBody, TxRecord,
    wire::{STATE_NAMES, state_name},
};

/// Where a transaction stands, and why.
///
/// With `wait_ms`, answers when its state is no longer `from` (or the one it has now), or when the time is up; at once
/// where this node has not heard of it.
#[utoipa::path(
    get, path = "/v1/tx/{id}", tag = "transaction",
    params(
        ("id" = String, Path, description = "64 hexadecimal digits",
            pattern = "^(0x)?[0-9a-fA-F]{64}$"),
        ("wait_ms" = Option<u64>, Query, description = "wait so many milliseconds for another state",
            minimum = 0, maximum = 30000),
        ("from" = Option<String>, Query, description = "the state that the asker knows: pooled, included, …",
            pattern = "^(pooled|included|final|expired|replaced|evicted|rejected)$")
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
    if let Some(from) = from.as_deref().filter(|from| !STATE_NAMES.contains(from)) {
        return Err(Failure::invalid("from", format!("one of {}", STATE_NAMES.join(", "))).got(from));
    }
    let limit = app.config.wait_limit.as_millis().try_into().unwrap_or(u64::MAX);
    if wait_ms > limit {
        return Err(Failure::invalid("wait_ms", format!("at most {limit}")).limit(limit).got(wait_ms));
    }
    let record = wait(&app, id, from, Duration::from_millis(wait_ms)).await.ok_or_else(|| unknown(id))?;
    Ok(Json(body(&app, id, record).await))
}

/// A transaction's states as they come: Server-Sent Events named `state`, or a WebSocket.
///
/// The first event is the state it has; the stream ends with one that will not change any more. After a disconnect,
/// ask again: a state is never told as another one.
#[utoipa::path(
    get, path = "/v1/tx/{id}/events", tag = "transaction",
    params(("id" = String, Path, description = "64 hexadecimal digits",
        pattern = "^(0x)?[0-9a-fA-F]{64}$")),
    responses(
        (status = 200, content_type = "text/event-stream", body = TxBody),
        (status = 101, description = "a WebSocket, if asked for; each message is one state"),
        (status = 400, body = ErrorBody), (status = 404, body = ErrorBody), (status = 429, body = ErrorBody)
    )
)]
pub(super) async fn transaction_events(
    State(app): State<App>,
    asker: Asker,
    Segment(id): Segment,
    query: Parameters,
    wish: Wish,
) -> Result<Response, Failure> {
    let id = parse("id", &id)?;
    query.finish()?;
    let place = app.streams.take(asker)?;
    if app.backend.transaction(id).await.is_none() {
        return Err(unknown(id));
    }
    let states = states(app.clone(), id);
    Ok(app.stream(wish, place, states))
}

fn states(app: App, id: TxId) -> impl Stream<Item = Update> + Send {
    let changes = app.backend.changes();
    stream::unfold(Some((app, changes, None)), move |following| async move {
        let (app, mut changes, last) = following?;
        loop {
            changes.mark_unchanged();
            let body = body(&app, id, app.backend.transaction(id).await?).await;
            let told = Some((body.status.clone(), body.reason.clone()));
            if told != last {
                let update = Update::new("state", &body);
                let settled = body.status.is_settled();
                return Some((update, (!settled).then_some((app, changes, told))));
            }
            changes.changed().await.ok()?;
        }
    })
}

async fn body(app: &App, id: TxId, record: TxRecord) -> TxBody {
    let rules = FeeRules::new(&app.backend.info().parameters);
    let base_fee = rules.base_fee(app.backend.price().await.excess);
    TxBody::new(id, record, base_fee)
}

fn unknown(id: TxId) -> Failure {
    let message =
        "this node has not heard of the transaction; it may have expired long ago, or ask another node";
    Failure::new(ErrorCode::UnknownTransaction, message).field("id").got(id.to_string())
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
        while record.as_ref().is_some_and(unchanged) {
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
