//! The latest verified header, looked for as long as the gateway runs.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chain::{Height, VerifiedHeader};
use tokio::sync::watch;

use crate::Client;

/// A latest block older than that is a stuck node's: an idle chain makes one every ten seconds.
const STALE: Duration = Duration::from_secs(30);

/// The latest verified header, none until there is one.
#[derive(Clone, Debug)]
pub(super) struct Head(watch::Receiver<Option<VerifiedHeader>>);

impl Head {
    /// Looks every `period`, until every copy of the head is gone.
    pub(super) fn follow(client: Client, period: Duration) -> Self {
        let (sender, receiver) = watch::channel(None);
        tokio::spawn(async move {
            tokio::select! {
                () = sender.closed() => {}
                () = look(&client, period, &sender) => {}
            }
        });
        Self(receiver)
    }

    /// The latest header known.
    pub(super) fn latest(&self) -> Option<VerifiedHeader> {
        self.0.borrow().clone()
    }

    /// Waits until the chain is at `height`. Cancel safe.
    pub(super) async fn reaches(&mut self, height: Height) {
        let there = |head: &Option<VerifiedHeader>| head.as_ref().is_some_and(|head| head.height() >= height);
        if self.0.wait_for(there).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn look(client: &Client, period: Duration, sender: &watch::Sender<Option<VerifiedHeader>>) {
    let mut failing = false;
    loop {
        let looked = client.latest().await;
        match &looked {
            Ok(header) => {
                let newer = |head: &mut Option<VerifiedHeader>| {
                    let newer = head.as_ref().is_none_or(|head| head.height() < header.height());
                    if newer {
                        *head = Some(header.clone());
                    }
                    newer
                };
                sender.send_if_modified(newer);
                if age(header) > STALE {
                    client.turn_to_next_node();
                }
            }
            Err(error) if !failing => tracing::warn!(%error, "no latest header"),
            Err(_) => {}
        }
        failing = looked.is_err();
        tokio::time::sleep(period).await;
    }
}

fn age(header: &VerifiedHeader) -> Duration {
    let time = u64::try_from(header.time().unix_timestamp()).unwrap_or(0);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(Duration::from_secs(time))
}
