//! What peers announce, and what this node announces to them.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chain::{HeaderHint, TxId};
use network::{Gossip, PeerId, Topic};
use tendermint::Hash;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use super::Fetcher;

/// Announcements, and hints, handled at once.
const MESSAGES: usize = 64;

/// Announcements of one peer handled at once: one that does not give what it announces leaves room for the others.
const MESSAGES_OF_PEER: usize = 8;

/// Announcements of one peer handled or waiting; more are ignored.
const WAITING_OF_PEER: usize = 64;

/// How long a hint at a header waits for this node's own commit; gossip forgets a message soon after.
const HINT_PATIENCE: Duration = Duration::from_secs(3);

/// Ids in one announcement.
const ANNOUNCED_IDS: usize = 64;

/// Pause between announcements of what still waits.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// How many announcements are handled at once, and of each peer.
#[derive(Debug)]
struct Slots {
    all: Arc<Semaphore>,
    of_peer: HashMap<PeerId, [Arc<Semaphore>; 2]>,
}

impl Slots {
    fn new() -> Self {
        Self { all: Arc::new(Semaphore::new(MESSAGES)), of_peer: HashMap::new() }
    }

    /// What resolves when an announcement's turn has come, to what ends it; none if too many of the peer wait.
    fn wait(
        &mut self,
        peer: PeerId,
    ) -> Option<impl Future<Output = Option<[OwnedSemaphorePermit; 3]>> + use<>> {
        self.of_peer.retain(|_, [waiting, _]| waiting.available_permits() < WAITING_OF_PEER);
        let [waiting, own] = self.of_peer.entry(peer).or_insert_with(|| {
            [WAITING_OF_PEER, MESSAGES_OF_PEER].map(|count| Arc::new(Semaphore::new(count)))
        });
        let waiting = waiting.clone().try_acquire_owned().ok()?;
        let (own, all) = (own.clone(), self.all.clone());
        Some(async move { Some([waiting, own.acquire_owned().await.ok()?, all.acquire_owned().await.ok()?]) })
    }
}

impl Fetcher {
    /// Handles gossip until the network ends. Nothing waits for announcements, which take as long as peers like.
    pub(crate) async fn follow_gossip(self: Arc<Self>, mut gossip: mpsc::Receiver<Gossip>) {
        let (mut announcements, mut hints) = (JoinSet::new(), JoinSet::new());
        let mut slots = Slots::new();
        while let Some(message) = gossip.recv().await {
            let fetcher = self.clone();
            match message.topic {
                Topic::Pool => {
                    while announcements.try_join_next().is_some() {}
                    let Some(turn) = slots.wait(message.source) else {
                        self.network.ignore(message).await;
                        continue;
                    };
                    announcements.spawn(async move {
                        let _turn = turn.await;
                        fetcher.announced(message).await;
                    });
                }
                Topic::Headers => {
                    // All but a few are judged at once.
                    while hints.len() >= MESSAGES {
                        hints.join_next().await;
                    }
                    hints.spawn(async move { fetcher.hinted(message).await });
                }
                Topic::Fraud => self.hand_on(&self.notices, message).await,
                Topic::Attestations => self.hand_on(&self.attestations, message).await,
            }
        }
    }

    /// Hands a message on; where too many wait, others have it, too: the peers' lists a notice, certificates an
    /// attestation.
    async fn hand_on(&self, to: &mpsc::Sender<Gossip>, message: Gossip) {
        if let Err(full) = to.try_send(message) {
            self.network.ignore(full.into_inner()).await;
        }
    }

    /// Passes on the hint at a header once its block is committed here: whoever hears of it asks this node.
    async fn hinted(&self, message: Gossip) {
        let Ok(hint) = HeaderHint::decode(&message.data) else {
            return self.network.reject(message).await;
        };
        // Only the block being decided is worth waiting for, and few hints at a time: a false one holds its place
        // until that block is there.
        let next = self.node.head().next_height();
        let place = self.hints.try_acquire();
        if hint.height > next || (hint.height == next && place.is_err()) {
            return self.network.ignore(message).await;
        }
        let mut heads = self.node.heads();
        let committed = heads.wait_for(|head| head.next_height() > hint.height);
        if !matches!(tokio::time::timeout(HINT_PATIENCE, committed).await, Ok(Ok(_))) {
            return self.network.ignore(message).await;
        }
        match self.node.store.block(hint.height) {
            Ok(Some(block)) if block.header.hash() == Hash::Sha256(hint.hash) => {
                self.network.accept(message).await;
            }
            Ok(_) => self.network.reject(message).await,
            Err(error) => self.node.fail(&error),
        }
    }

    async fn announced(self: &Arc<Self>, message: Gossip) {
        let (ids, rest) = message.data.as_chunks::<32>();
        if ids.is_empty() || ids.len() > ANNOUNCED_IDS || !rest.is_empty() {
            return self.network.reject(message).await;
        }
        for id in ids.iter().copied().map(TxId) {
            if !self.node.pool.knows(&id) && !self.admit(id, message.source).await {
                return self.network.ignore(message).await;
            }
        }
        self.network.accept(message).await;
    }

    /// Fetches an announced transaction into the pool, if the ledger could include it.
    async fn admit(self: &Arc<Self>, id: TxId, source: PeerId) -> bool {
        if self.node.store.transaction(&id).is_ok_and(|included| included.is_some()) {
            return true;
        }
        let Some(candidate) = self.obtain(id, Some(source)).await else { return false };
        let node = self.node.clone();
        matches!(tokio::task::spawn_blocking(move || node.admit(candidate)).await, Ok(Ok(_)))
    }

    /// Tells peers again of what waits for long, for ever: announcements get lost, and peers forget in a restart.
    pub(crate) async fn keep_announcing(self: Arc<Self>) {
        for round in 1.. {
            tokio::time::sleep(ANNOUNCE_AGAIN).await;
            for ids in self.node.pool.waiting_for(ANNOUNCE_AGAIN).chunks(ANNOUNCED_IDS / 2) {
                // Gossip drops what it has lately seen; an id said once more makes it another message.
                let again = ids.iter().chain(ids.iter().cycle().take(round % (ANNOUNCED_IDS / 2)));
                self.announce(&again.copied().collect::<Vec<_>>()).await;
            }
        }
    }

    /// Tells peers that these transactions are here.
    pub(crate) async fn announce(&self, ids: &[TxId]) {
        let data: Vec<u8> = ids.iter().flat_map(|id| id.0).collect();
        if let Err(error) = self.network.publish(Topic::Pool, data.into()).await {
            tracing::debug!(%error, "announcement not published");
        }
    }
}
