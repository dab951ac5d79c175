//! Getting transactions, bodies and squares from peers.
//!
//! ```text
//!  announcement ─▶ transaction ─▶ verify ─▶ bodies ─▶ check ─▶ pool ─▶ pass the announcement on
//! ```
//!
//! An announcement is passed on only once its transactions are here, so whoever passes one on can serve it. What
//! a peer sends is verified before it is kept; a peer that sent something else is reported.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use chain::{
    Attesters, BlobHeader, Candidate, Certificate, CertifiedBlock, CheckedBlob, HeaderHint, Height,
    KzgOpening, Ledger, Transaction, TxId, VerifiedTransaction,
};
use erasure::{CommittedSquare, OriginalSquare, Placement, RangeProof, SHARE_BYTES};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use network::{
    Gossip, Kind, MAX_BODIES, MAX_BODIES_BYTES, MAX_BODY_CHUNK_BYTES, MAX_RANGE_SHARES, Network, Offence,
    PeerId, Request, Topic,
};
use tendermint::Hash;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
};

use crate::{
    fraud::Judged,
    hedge::{SLOW, first_answer},
    node::{Node, NodeError},
    rebuild::{RebuildError, Rebuilt, rebuild},
    storage::StoreError,
};

/// Announcements, and hints, handled at once.
const MESSAGES: usize = 64;

/// Announcements of one peer handled at once: one that does not give what it announces leaves room for the others.
const MESSAGES_OF_PEER: usize = 8;

/// Announcements of one peer handled or waiting; more are ignored.
const WAITING_OF_PEER: usize = 64;

/// Hints that wait at once, well below [`MESSAGES`].
const WAITING_HINTS: usize = 16;

/// How long a hint at a header waits for this node's own commit; gossip forgets a message soon after.
const HINT_PATIENCE: Duration = Duration::from_secs(3);

/// Ids in one announcement.
const ANNOUNCED_IDS: usize = 64;

/// Pause between announcements of what still waits.
const ANNOUNCE_AGAIN: Duration = Duration::from_secs(5);

/// First pause before asking all peers again for a missing square; it doubles as long as none is had.
const BACKFILL_PAUSE: Duration = Duration::from_millis(500);

/// Longest such pause.
const BACKFILL_PAUSE_AT_MOST: Duration = Duration::from_secs(10);

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

/// Fetches from peers into the node.
#[derive(Debug)]
pub(crate) struct Fetcher {
    node: Arc<Node>,
    network: Network,
    in_flight: Mutex<HashMap<TxId, Arc<tokio::sync::Mutex<()>>>>,
    hints: Semaphore,
    notices: mpsc::Sender<Gossip>,
    attestations: mpsc::Sender<Gossip>,
}

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

/// Bodies of one transaction that are asked for at once, each by a request of its own.
const BODIES_AT_ONCE: usize = 4;

/// Bodies up to so many bytes are asked for together.
const SMALL_BODY_BYTES: u64 = MAX_BODIES_BYTES / MAX_BODIES as u64;

/// Transactions of a proposal that are asked for at once. Together with what is announced, a peer is asked for no more
/// than it serves.
const TRANSACTIONS_AT_ONCE: usize = 8;

/// Length-prefixed transactions, the answer to [`Request::Transaction`].
pub(crate) fn frame(transactions: impl IntoIterator<Item = Vec<u8>>) -> Bytes {
    let mut out = Vec::new();
    for transaction in transactions {
        out.extend((transaction.len() as u32).to_be_bytes());
        out.extend(transaction);
    }
    out.into()
}

fn unframe(bytes: &[u8]) -> Option<&[u8]> {
    let (len, rest) = bytes.split_first_chunk()?;
    (rest.len() == u32::from_be_bytes(*len) as usize).then_some(rest)
}

impl Fetcher {
    /// A fetcher over these peers; notices of fraud proofs go to `notices`, attestations to `attestations`.
    pub(crate) fn new(
        node: Arc<Node>,
        network: Network,
        notices: mpsc::Sender<Gossip>,
        attestations: mpsc::Sender<Gossip>,
    ) -> Self {
        let hints = Semaphore::new(WAITING_HINTS);
        Self { node, network, in_flight: Mutex::default(), hints, notices, attestations }
    }

    /// Peers that serve `kind`, `first` ahead of the others.
    fn peers(&self, kind: Kind, first: Option<PeerId>) -> Vec<PeerId> {
        let mut peers: Vec<_> = self
            .network
            .peers()
            .iter()
            .filter(|peer| peer.serves.contains(&kind))
            .map(|peer| peer.id)
            .collect();
        peers.sort_by_key(|peer| Some(*peer) != first);
        peers
    }

    /// The transaction with all of its bodies, from the pool or from peers; asks for it once at a time. One that a peer
    /// announced is only had if the next block could hold it.
    pub(crate) async fn obtain(&self, id: TxId, announcer: Option<PeerId>) -> Option<Candidate> {
        if let Some(candidate) = self.node.pool.get(&id) {
            return Some(candidate);
        }
        let turn =
            self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).entry(id).or_default().clone();
        let _turn = turn.lock().await;
        let found = match self.node.pool.get(&id) {
            Some(candidate) => Some(candidate),
            None => self.fetch(id, announcer).await,
        };
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        found
    }

    /// All of `ids` in order, or those that no peer had.
    pub(crate) async fn obtain_all(&self, ids: &[TxId]) -> Result<Vec<Candidate>, Vec<TxId>> {
        let mut found: Vec<Option<Candidate>> = vec![None; ids.len()];
        let fetches: Vec<BoxFuture<'_, _>> = ids
            .iter()
            .enumerate()
            .map(|(at, id)| self.obtain(*id, None).map(move |c| (at, c)).boxed())
            .collect();
        let mut fetched = stream::iter(fetches).buffer_unordered(TRANSACTIONS_AT_ONCE);
        while let Some((at, candidate)) = fetched.next().await {
            found[at] = candidate;
        }
        let missing: Vec<_> =
            ids.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(id, _)| *id).collect();
        if missing.is_empty() { Ok(found.into_iter().flatten().collect()) } else { Err(missing) }
    }

    fn payable(&self, transaction: &VerifiedTransaction) -> bool {
        let ledger = Ledger::new(self.node.state(), &self.node.genesis);
        ledger.is_ok_and(|ledger| ledger.check(transaction).is_ok())
    }

    async fn fetch(&self, id: TxId, announcer: Option<PeerId>) -> Option<Candidate> {
        let peers = self.peers(Kind::Transaction, announcer);
        let (transaction, peer) = first_answer(SLOW, peers, |peer| self.transaction(id, peer)).await?;
        // What nobody asked for has to be payable before its bodies, up to 8 MiB, are held.
        if announcer.is_some() && !self.payable(&transaction) {
            return None;
        }
        self.with_bodies(Arc::new(transaction), peer).await
    }

    /// The transaction as `peer` has it.
    async fn transaction(&self, id: TxId, peer: PeerId) -> Option<(VerifiedTransaction, PeerId)> {
        let bytes = self.network.request(peer, Request::Transaction { ids: vec![id.0] }).await.ok()?;
        let transaction = unframe(&bytes)
            .and_then(|bytes| Transaction::decode(bytes).ok())
            .filter(|transaction| transaction.id(&self.node.domain) == id)
            .and_then(|transaction| {
                transaction.verify(&self.node.domain, &self.node.genesis.parameters).ok()
            });
        if transaction.is_none() {
            self.network.report(peer, Offence::WrongProof).await;
        }
        Some((transaction?, peer))
    }

    async fn with_bodies(&self, transaction: Arc<VerifiedTransaction>, first: PeerId) -> Option<Candidate> {
        let given = self.small_bodies(transaction.blobs(), first).await;
        let bodies: Vec<BoxFuture<'_, _>> = transaction
            .openings()
            .zip(given)
            .map(|((header, kzg), given)| self.body(header, kzg, first, given).boxed())
            .collect();
        let blobs =
            stream::iter(bodies).buffered(BODIES_AT_ONCE).map(|body| body.ok_or(())).try_collect().await;
        Candidate::new(transaction.clone(), blobs.ok()?)
    }

    /// For each blob what a peer gives of it: of the small ones that are not here, if it has them all.
    async fn small_bodies(&self, blobs: &[BlobHeader], peer: PeerId) -> Vec<Option<Vec<u8>>> {
        let mut given = vec![None; blobs.len()];
        let is_wanted = |blob: &BlobHeader| {
            blob.len <= SMALL_BODY_BYTES && self.node.pool.body(&blob.commitment).is_none()
        };
        let wanted: Vec<usize> = (0..blobs.len()).filter(|at| is_wanted(&blobs[*at])).collect();
        for group in wanted.chunks(MAX_BODIES) {
            let commitments = group.iter().map(|at| blobs[*at].commitment).collect();
            let Ok(mut bytes) = self.network.request(peer, Request::Bodies { commitments }).await else {
                break;
            };
            if bytes.len() as u64 != group.iter().map(|at| blobs[*at].len).sum::<u64>() {
                self.network.report(peer, Offence::WrongProof).await;
                break;
            }
            for at in group {
                given[*at] = Some(bytes.split_to(blobs[*at].len as usize).to_vec());
            }
        }
        given
    }

    /// A blob's bytes, of the pool, those that `first` gave, or those that a peer has.
    async fn body(
        &self,
        header: &BlobHeader,
        kzg: &[KzgOpening],
        first: PeerId,
        given: Option<Vec<u8>>,
    ) -> Option<Arc<CheckedBlob>> {
        if let Some(known) = self.node.pool.body(&header.commitment).filter(|known| known.header() == header)
        {
            return Some(known);
        }
        let mut given = given.map(|bytes| (first, bytes));
        let mut peers = self.peers(Kind::Body, Some(first)).into_iter();
        loop {
            let (peer, bytes) = match given.take() {
                Some(given) => given,
                None => {
                    let peer = peers.next()?;
                    match self.body_bytes(header, peer).await {
                        Some(bytes) => (peer, bytes),
                        None => continue,
                    }
                }
            };
            let (header, kzg) = (header.clone(), kzg.to_vec());
            let checked =
                tokio::task::spawn_blocking(move || CheckedBlob::check(&header, &kzg, bytes.into())).await;
            match checked {
                Ok(Ok(blob)) => return Some(Arc::new(blob)),
                Ok(Err(chain::BodyError::Commitment | chain::BodyError::Length { .. })) => {
                    self.network.report(peer, Offence::WrongProof).await;
                }
                // The bytes are those of the commitment: no peer has others that fit the header.
                Ok(Err(_)) | Err(_) => return None,
            }
        }
    }

    async fn body_bytes(&self, header: &BlobHeader, peer: PeerId) -> Option<Vec<u8>> {
        let mut bytes = Vec::with_capacity(usize::try_from(header.len).ok()?);
        while (bytes.len() as u64) < header.len {
            let offset = bytes.len() as u64;
            let len = (header.len - offset).min(u64::from(MAX_BODY_CHUNK_BYTES)) as u32;
            let request = Request::Body { commitment: header.commitment, offset, len };
            let chunk = self.network.request(peer, request).await.ok()?;
            if chunk.len() != len as usize {
                self.network.report(peer, Offence::WrongProof).await;
                return None;
            }
            bytes.extend_from_slice(&chunk);
        }
        Some(bytes)
    }

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

    /// The certificate at `height`, or the latest, with its attesters: from disk, or from a peer that heard it.
    pub(crate) async fn certificate(
        &self,
        height: Option<Height>,
    ) -> Result<Option<(Certificate, Attesters)>, StoreError> {
        let store = &self.node.store;
        let height = height.unwrap_or(*self.node.certified().borrow());
        if let Some(certificate) = store.certificate(height)? {
            let attesters =
                store.attesters(&certificate.data.attesters)?.ok_or(StoreError::Corrupt("attesters"))?;
            return Ok(Some((certificate, attesters)));
        }
        let Some(block) = store.block(height)? else { return Ok(None) };
        let known = &self.node.head().validators;
        for peer in self.peers(Kind::Certified, None) {
            let hash = known.hash().as_bytes().try_into().ok();
            let Ok(bytes) = self.network.request(peer, Request::Certified { height, known: hash }).await
            else {
                continue;
            };
            let certificate = CertifiedBlock::decode_for(&bytes, known).map(|block| block.certificate);
            let certificate = certificate.ok().filter(|certificate| {
                certificate.data.height == height
                    && Hash::Sha256(certificate.data.header) == block.header.hash()
            });
            let Some(certificate) = certificate else {
                self.network.report(peer, Offence::WrongProof).await;
                continue;
            };
            // Attesters that no block here named: this node took a state without the history before it.
            let Some(attesters) = store.attesters(&certificate.data.attesters)? else { continue };
            match certificate.verify(&self.node.domain, &attesters) {
                Ok(certified) => {
                    let certificate = certified.certificate().clone();
                    self.node.keep_certificate(&certificate)?;
                    return Ok(Some((certificate, attesters)));
                }
                Err(_) => self.network.report(peer, Offence::WrongProof).await,
            }
        }
        Ok(None)
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
