//! Streams of what changes: Server-Sent Events, or a WebSocket where the client asks for one; the same JSON in both.
//!
//! A stream holds its place among [`super::Config::concurrent_followers`] until it ends; one too many is 429.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{
        FromRequestParts,
        ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    },
    http::{HeaderMap, header::UPGRADE, request::Parts},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures::{Stream, StreamExt, stream::BoxStream};
use serde::Serialize;

use super::{App, failure::Failure, places::Place};

/// A stream that has nothing to say proves every so often that it is alive; proxies close silent ones after a minute.
const ALIVE: Duration = Duration::from_secs(15);

/// How the client wants its stream.
pub(super) enum Wish {
    Events,
    Socket(Box<WebSocketUpgrade>),
}

impl<S: Send + Sync> FromRequestParts<S> for Wish {
    type Rejection = Failure;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        if !wants_socket(&parts.headers) {
            return Ok(Self::Events);
        }
        match WebSocketUpgrade::from_request_parts(parts, state).await {
            Ok(upgrade) => Ok(Self::Socket(Box::new(upgrade))),
            Err(error) => Err(Failure::invalid("upgrade", error)),
        }
    }
}

fn wants_socket(headers: &HeaderMap) -> bool {
    let upgrade = headers.get(UPGRADE).and_then(|value| value.to_str().ok());
    upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// One thing to tell.
pub(super) struct Update {
    event: &'static str,
    json: String,
}

impl Update {
    /// An event of this name; its data is `body` as JSON.
    pub(super) fn new(event: &'static str, body: &impl Serialize) -> Self {
        // Bodies are plain structures: they always have a JSON form.
        Self { event, json: serde_json::to_string(body).unwrap_or_default() }
    }
}

impl App {
    /// Serves `updates` as the client wishes, until they end, the client goes or the server stops.
    pub(super) fn stream(
        &self,
        wish: Wish,
        place: Place,
        updates: impl Stream<Item = Update> + Send + 'static,
    ) -> Response {
        let mut stopping = self.stopping.clone();
        let stopped = async move {
            if stopping.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        let updates = updates.take_until(stopped).boxed();
        match wish {
            Wish::Events => {
                let events = updates.map(move |update| {
                    let _held = &place;
                    Ok::<_, Infallible>(Event::default().event(update.event).data(update.json))
                });
                Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
            }
            Wish::Socket(upgrade) => upgrade
                .max_message_size(4096)
                .on_upgrade(move |socket| async move {
                    speak(socket, updates).await;
                    drop(place);
                })
                .into_response(),
        }
    }
}

/// Sends each update as a text message; a client has nothing to say but that it closes.
async fn speak(mut socket: WebSocket, mut updates: BoxStream<'static, Update>) {
    let mut alive = tokio::time::interval(ALIVE);
    alive.reset();
    loop {
        let sent = tokio::select! {
            update = updates.next() => match update {
                Some(update) => socket.send(Message::Text(update.json.into())).await,
                None => break,
            },
            _ = alive.tick() => socket.send(Message::Ping(Default::default())).await,
            heard = socket.recv() => match heard {
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                Some(Ok(_)) => Ok(()),
            },
        };
        if sent.is_err() {
            return;
        }
    }
    let end = CloseFrame { code: close_code::NORMAL, reason: "there is no more to tell".into() };
    let _ = socket.send(Message::Close(Some(end))).await;
}
