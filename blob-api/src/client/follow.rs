//! Following a namespace: every height once, in order, with its proof, whatever becomes of a connection or a node.
//!
//! ```text
//!  open at height h ─▶ event h ─ verify ─▶ yield, h + 1 ─▶ …
//!        ▲                 │ ended, silent, stalled, out of order: next node
//!        └─────────────────┘ false proof: node rejected, next node
//! ```

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use chain::Height;
use erasure::Namespace;
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use reqwest::header::ACCEPT;

use super::{Client, ClientError, VerifiedList, error::Fault, hedge::Node, sse::Events};
use crate::{ErrorBody, NamespaceBody, server::HEIGHT_EVENT};

/// An idle chain makes a block every 10 s; a node without a new one for so long is passed over.
const STALL_LIMIT: Duration = Duration::from_secs(30);

/// How long no node may deliver the next height until the stream says so.
const PATIENCE: Duration = Duration::from_secs(60);

/// First and longest pause after a failure of all nodes.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

impl Client {
    /// All entries of a namespace at every height from `from` on, in order, none left out and none twice; an empty
    /// list is proven, too. Heights not decided yet are waited for, without end.
    ///
    /// Resumes where it was after a disconnect and fails over among nodes. An error is yielded when no node has
    /// delivered the next height for a minute, or every node lied; polled again, the stream goes on at that same
    /// height, after a pause. It ends only after an error that nothing can mend: no network file, a
    /// checkpoint too old, rules too new.
    pub fn follow_namespace(
        &self,
        namespace: Namespace,
        from: Height,
    ) -> BoxStream<'static, Result<VerifiedList, ClientError>> {
        let follower =
            Follower { client: self.clone(), namespace, next: from.max(1), open: None, failed: false };
        stream::unfold(Some(follower), |follower| async move {
            let mut follower = follower?;
            let item = follower.advance().await;
            let ended = matches!(
                item,
                Err(ClientError::NoNetwork | ClientError::StaleCheckpoint(_) | ClientError::UnknownRules(_))
            );
            Some((item, (!ended).then_some(follower)))
        })
        .boxed()
    }
}

struct Follower {
    client: Client,
    namespace: Namespace,
    next: Height,
    open: Option<(Node, Events)>,
    /// Whether the last item was an error.
    failed: bool,
}

impl Follower {
    async fn advance(&mut self) -> Result<VerifiedList, ClientError> {
        self.client.trust()?;
        if std::mem::take(&mut self.failed) {
            // Not every error takes time: with every node rejected, nobody is asked.
            tokio::time::sleep(PAUSES.1).await;
        }
        let (started, mut pause) = (Instant::now(), PAUSES.0);
        loop {
            match self.attempt().await {
                Ok(list) => {
                    self.next += 1;
                    return Ok(list);
                }
                Err(ClientError::Unreachable { .. }) if started.elapsed() < PATIENCE => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSES.1);
                }
                Err(error) => {
                    self.failed = true;
                    return Err(error);
                }
            }
        }
    }

    /// The next height from the open connection, or else from whatever node delivers it.
    async fn attempt(&mut self) -> Result<VerifiedList, ClientError> {
        let (client, namespace, next) = (&self.client, self.namespace, self.next);
        let (node, events) = self.open.take().unzip();
        let events = &Mutex::new(events);
        let first = node.as_ref().map(|node| node.at);
        let read = |node: Node| async move {
            let open =
                events.lock().unwrap_or_else(PoisonError::into_inner).take_if(|_| first == Some(node.at));
            let mut events = match open {
                Some(events) => events.resumed(),
                None => {
                    let path = format!("/v1/namespaces/{namespace}/follow?from={next}");
                    let request = client.transport.get(&node, &path);
                    Events::open(request.header(ACCEPT, "text/event-stream")).await?
                }
            };
            let list = client.read_event(&node, &mut events, next, namespace).await?;
            Ok((events, list))
        };
        let (node, (events, list)) = client.transport.any_from(node.as_ref(), read).await?;
        self.open = Some((node, events));
        Ok(list)
    }
}

impl Client {
    async fn read_event(
        &self,
        node: &Node,
        events: &mut Events,
        height: Height,
        namespace: Namespace,
    ) -> Result<VerifiedList, Fault> {
        let event = tokio::time::timeout(STALL_LIMIT, events.next())
            .await
            .map_err(|_| Fault::Passing(format!("has not delivered height {height}")))??;
        let garbled = |error| Fault::Passing(format!("sent something else: {error}"));
        if event.name != HEIGHT_EVENT {
            let ErrorBody { error } = serde_json::from_str(&event.data).map_err(garbled)?;
            return Err(Fault::Answer(Box::new(error)));
        }
        let body: NamespaceBody = serde_json::from_str(&event.data).map_err(garbled)?;
        if body.height != height {
            return Err(Fault::Passing(format!("sent height {} where {height} is next", body.height)));
        }
        self.check_list(node, height, namespace, &body.proof.0).await
    }
}
