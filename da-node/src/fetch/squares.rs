//! Squares of blocks that were committed without them.

use std::{sync::Arc, time::Duration};

use chain::Height;
use erasure::{CommittedSquare, OriginalSquare, Placement, RangeProof, SHARE_BYTES};
use network::{Kind, MAX_RANGE_SHARES, Offence, Request};
use tendermint::Hash;

use super::Fetcher;
use crate::{
    fraud::Judged,
    node::NodeError,
    rebuild::{RebuildError, Rebuilt, rebuild},
    storage::StoreError,
};

/// First pause before asking all peers again for a missing square; it doubles as long as none is had.
const BACKFILL_PAUSE: Duration = Duration::from_millis(500);

/// Longest such pause.
const BACKFILL_PAUSE_AT_MOST: Duration = Duration::from_secs(10);

/// A square that was not had.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    /// Peers have too little of it, for now.
    #[error(transparent)]
    Rebuild(#[from] RebuildError),
    /// This node cannot go on.
    #[error(transparent)]
    Node(#[from] NodeError),
}

impl From<StoreError> for FetchError {
    fn from(error: StoreError) -> Self {
        Self::Node(error.into())
    }
}

/// A round down the missing heights.
#[derive(Clone, Copy, Debug)]
struct Round {
    highest: Height,
    lowest: Height,
}

impl Round {
    const NEW: Self = Self { highest: 0, lowest: Height::MAX };

    /// The next missing height: a new latest one, else the one below all that were tried in this round, else the
    /// latest, in a new round.
    fn next(&mut self, latest: Height, below: impl FnOnce(Height) -> Option<Height>) -> Height {
        if latest > self.highest {
            (self.highest, self.lowest) = (latest, self.lowest.min(latest));
            return latest;
        }
        self.lowest = below(self.lowest).unwrap_or(latest);
        self.lowest
    }
}

impl Fetcher {
    /// Fetches the squares of blocks that were committed without them, latest first, until one is proven wrong. One
    /// that cannot be had keeps none below it waiting.
    pub(crate) async fn backfill(self: Arc<Self>) {
        let mut pause = BACKFILL_PAUSE;
        let mut round = Round::NEW;
        while self.node.frauds.convicted().is_none() {
            let latest = self.node.next_missing().await;
            let height = round.next(latest, |height| self.node.next_missing_below(height));
            match self.square(height).await {
                Ok(()) => pause = BACKFILL_PAUSE,
                Err(FetchError::Node(error)) => return self.node.fail(&error),
                Err(error) => {
                    tracing::debug!(height, %error, "square not fetched");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(BACKFILL_PAUSE_AT_MOST);
                }
            }
        }
        std::future::pending::<()>().await;
    }

    /// Keeps the square at `height`, or halts because of it.
    async fn square(&self, height: Height) -> Result<(), FetchError> {
        let (block, placement) = self.node.placed(height)?.ok_or(StoreError::Corrupt("block"))?;
        let Some(Hash::Sha256(data_root)) = block.header.data_hash else {
            return Err(NodeError::from(StoreError::Corrupt("block")).into());
        };
        let whole = self.whole_square(height, &data_root, &placement).await;
        let rebuilt = match &whole {
            Some(_) => None,
            None => Some(rebuild(&self.network, height, data_root).await?),
        };
        let node = self.node.clone();
        let work = move || {
            let judged = match (whole, rebuilt) {
                (Some(square), _) => node.judge(height, &block, &placement, square)?,
                (None, Some(Rebuilt::Square(square))) => {
                    node.judge_rebuilt(height, &block, &placement, *square)?
                }
                (None, Some(Rebuilt::Fraud(proof))) if node.accuse(height, &proof)? => Judged::Wrong,
                (None, _) => return Err(NodeError::Unproven(height)),
            };
            match judged {
                Judged::Right(square) => Ok(node.backfill(height, square)?),
                Judged::Wrong => Ok(()),
            }
        };
        let kept: Result<(), NodeError> =
            tokio::task::spawn_blocking(work).await.map_err(|error| NodeError::Task(error.to_string()))?;
        Ok(kept?)
    }

    /// The square as the block's transactions place it, from the shares that are not zero, if it has the data root.
    async fn whole_square(
        &self,
        height: Height,
        data_root: &[u8; 32],
        placement: &Placement,
    ) -> Option<CommittedSquare> {
        let used = placement.index.entries().iter().map(|entry| entry.range().end).max()?;
        let mut shares = Vec::with_capacity(placement.width.shares() * SHARE_BYTES);
        let mut start = 0;
        while start < used {
            let count = (used - start).min(MAX_RANGE_SHARES);
            shares.extend(self.range(height, data_root, start, count).await?);
            start += count;
        }
        let (width, index, data_root) = (placement.width, placement.index.clone(), *data_root);
        shares.resize(width.shares() * SHARE_BYTES, 0);
        let square =
            move || OriginalSquare::from_shares(width, &shares).ok().map(|shares| shares.commit(index));
        let square = tokio::task::spawn_blocking(square).await.ok()??;
        (square.data_root() == data_root).then_some(square)
    }

    async fn range(&self, height: Height, data_root: &[u8; 32], start: u32, count: u32) -> Option<Vec<u8>> {
        for peer in self.peers(Kind::Range, None) {
            let Ok(bytes) = self.network.request(peer, Request::Range { height, start, count }).await else {
                continue;
            };
            let verified = RangeProof::decode(&bytes)
                .ok()
                .and_then(|proof| proof.verify(data_root, start..start + count).ok());
            match verified {
                Some(range) => return Some(range.into_bytes()),
                None => self.network.report(peer, Offence::WrongProof).await,
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_height_that_cannot_be_had_keeps_none_waiting() {
        let mut missing = std::collections::BTreeSet::from([3, 5, 9]);
        let mut round = Round::NEW;
        let mut next = |missing: &std::collections::BTreeSet<Height>| {
            let latest = missing.last().copied().unwrap_or_default();
            round.next(latest, |height| missing.range(..height).next_back().copied())
        };
        assert_eq!([next(&missing), next(&missing)], [9, 5]);
        missing.remove(&5);
        missing.insert(11);
        // A new one comes first, and the round goes on; then all over again.
        assert_eq!([11, 3, 11, 9, 3, 11].map(|_: Height| next(&missing)), [11, 3, 11, 9, 3, 11]);
        missing = [9].into();
        assert_eq!([next(&missing), next(&missing)], [9, 9]);
    }
}
