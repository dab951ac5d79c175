//! Transactions with their bodies, from whoever has them.

use std::sync::{Arc, PoisonError};

use bytes::Bytes;
use chain::{BlobHeader, Candidate, CheckedBlob, KzgOpening, Ledger, Transaction, TxId, VerifiedTransaction};
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _, future::BoxFuture, stream};
use network::{Kind, MAX_BODIES, MAX_BODIES_BYTES, MAX_BODY_CHUNK_BYTES, Offence, PeerId, Request};

use super::Fetcher;
use crate::hedge::{SLOW, first_answer};

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
}
