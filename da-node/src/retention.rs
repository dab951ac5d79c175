//! How long squares are kept, and the task that drops older ones.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, bail};
use chain::{Height, Parameters};

use crate::{
    node::{Node, NodeError},
    storage::StoreError,
};

/// Versions of the state kept for readers of proofs and for snapshots.
const STATE_VERSIONS: Height = 1_024;

/// Shortest and longest pause between two passes; in between, a 64th of the retention.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(600));

/// How long squares are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retention {
    /// For ever, with every version of the state.
    Archive,
    /// So long, by the headers' times.
    For(Duration),
}

impl Retention {
    /// What an operator asked for: `seconds` longer than the chain's minimum, or the minimum.
    pub fn new(archive: bool, seconds: Option<u64>, parameters: &Parameters) -> Result<Self> {
        let minimum = parameters.retention_seconds;
        match seconds {
            _ if archive => Ok(Self::Archive),
            Some(seconds) if seconds < minimum => bail!(
                "retention of {seconds} s: this chain's genesis promises readers {minimum} s; give at least that, or \
                 leave it out"
            ),
            seconds => Ok(Self::For(Duration::from_secs(seconds.unwrap_or(minimum)))),
        }
    }

    fn pause(self) -> Duration {
        match self {
            Self::Archive => PAUSES.1,
            Self::For(kept) => (kept / 64).clamp(PAUSES.0, PAUSES.1),
        }
    }
}

/// Drops what is older than `retention`, now and again, until the node stops or its disk fails.
pub(crate) async fn enforce(node: Arc<Node>, retention: Retention) {
    let mut heads = node.heads();
    loop {
        let working = node.clone();
        match tokio::task::spawn_blocking(move || pass(&working, retention)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return node.fail(&error),
            Err(error) => return node.fail(&NodeError::Task(error.to_string())),
        }
        tokio::time::sleep(retention.pause()).await;
        if heads.changed().await.is_err() {
            return;
        }
    }
}

/// One pass. A chain that stands still drops nothing: age is counted to the latest header.
fn pass(node: &Node, retention: Retention) -> Result<(), StoreError> {
    if let (Retention::For(kept), Some(last)) = (retention, &node.head().last)
        && let Ok(oldest) = last.header.time - kept
    {
        node.prune(node.store.last_before(oldest)?)?;
        node.store.prune_state(node.tip().saturating_sub(STATE_VERSIONS))?;
    }
    node.metrics.pruned_height.set(node.store.pruned() as i64);
    node.metrics.disk_bytes.set(node.store.disk_bytes()? as i64);
    Ok(())
}
