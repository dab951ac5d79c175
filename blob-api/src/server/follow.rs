//! A namespace as a stream of events, one for each height.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::State,
    http::HeaderMap,
    response::sse::{Event, KeepAlive, Sse},
};
use chain::{Height, Outcome, Reason};
use erasure::Namespace;
use futures::{Stream, stream};
use tokio::sync::watch;

use super::{
    App,
    failure::Failure,
    outcome,
    params::{Parameters, Segment, parse},
    places::{Asker, Place},
};
use crate::{ErrorBody, NamespaceBody};

/// Name of the event that carries a height.
pub(crate) const HEIGHT_EVENT: &str = "height";

/// A comment is sent so often, so that a reader soon tells a quiet chain from a dead connection, or a frozen node.
const KEEP_ALIVE: Duration = Duration::from_secs(1);

/// A square that is still being fetched is looked for so often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// Follows a namespace: one event for every height from `from` on, with all entries and the proof that none is
/// missing, also where there are none.
///
/// Server-sent events named `height`: the id is the height, the data the body of
/// `/v1/height/{height}/namespace/{namespace}`. Heights not decided yet are waited for. After a disconnect, send the
/// last id as `Last-Event-ID` (browsers do) and the stream goes on with the next height. An event named
/// `unreachable`, whose data is an error, ends the stream: ask another node.
#[utoipa::path(
    get, path = "/v1/namespaces/{namespace}/follow", tag = "read",
    params(
        ("namespace" = String, Path, description = "58 hexadecimal digits, or up to 20 of the user's id",
            pattern = "^(0x)?(0{38}[0-9a-fA-F]{20}|[0-9a-fA-F]{1,20})$"),
        ("from" = Option<u64>, Query, description = "first height; the next to be decided unless told",
            minimum = 1),
        ("last-event-id" = Option<u64>, Header, description = "the last height seen; goes before `from`",
            minimum = 0)
    ),
    responses(
        (status = 200, content_type = "text/event-stream", body = String),
        (status = 400, body = ErrorBody), (status = 429, body = ErrorBody)
    )
)]
pub(super) async fn follow(
    State(app): State<App>,
    asker: Asker,
    Segment(namespace): Segment,
    headers: HeaderMap,
    mut query: Parameters,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    let namespace = parse("namespace", &namespace)?;
    let from = query.take("from")?;
    query.finish()?;
    let last: Option<Height> = headers
        .get("last-event-id")
        .map(|value| parse("last-event-id", value.to_str().unwrap_or("?")))
        .transpose()?;
    let next = match (last, from) {
        (Some(last), _) => last.saturating_add(1),
        (None, Some(0)) => {
            return Err(Failure::invalid("from", "the first block has height 1").limit(1).got(0));
        }
        (None, Some(from)) => from,
        (None, None) => app.backend.status().await.height + 1,
    };
    let place = app.streams.take(asker)?;
    let follower = Follower {
        changes: app.backend.changes(),
        stopping: app.stopping.clone(),
        app,
        namespace,
        next: Some(next),
        _place: place,
    };
    let events = stream::unfold(follower, |mut follower| async move {
        let event = follower.event().await?;
        Some((Ok(event), follower))
    });
    Ok(Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)))
}

struct Follower {
    app: App,
    namespace: Namespace,
    /// None once the stream is to end.
    next: Option<Height>,
    changes: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    _place: Place,
}

impl Follower {
    async fn event(&mut self) -> Option<Event> {
        loop {
            let height = self.next.filter(|_| !*self.stopping.borrow())?;
            self.changes.mark_unchanged();
            let body = match self.app.backend.namespace(height, self.namespace).await {
                Outcome::Data(answer) => {
                    NamespaceBody::new(height, self.namespace, &answer.entries, &answer.proof)
                }
                Outcome::Absent(proof) => NamespaceBody::new(height, self.namespace, &[], &proof),
                Outcome::Unreachable(Reason::Behind { .. }) => {
                    self.wait(None).await;
                    continue;
                }
                Outcome::Unreachable(Reason::Fetching { .. }) => {
                    self.wait(Some(LOOK_AGAIN)).await;
                    continue;
                }
                Outcome::Unreachable(reason) => {
                    self.next = None;
                    let body = ErrorBody { error: outcome::unreachable(&reason).into_detail() };
                    return Event::default().event("unreachable").json_data(body).ok();
                }
            };
            self.next = height.checked_add(1);
            return Event::default().event(HEIGHT_EVENT).id(height.to_string()).json_data(body).ok();
        }
    }

    /// Waits for news of the chain, at most so long.
    async fn wait(&mut self, limit: Option<Duration>) {
        let later = async {
            match limit {
                Some(limit) => tokio::time::sleep(limit).await,
                None => std::future::pending().await,
            }
        };
        let told_to_stop = async {
            if self.stopping.wait_for(|stop| *stop).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            changed = self.changes.changed() => if changed.is_err() {
                self.next = None;
            },
            () = later => {}
            () = told_to_stop => {}
        }
    }
}
