//! Answers to peers: cells, lines and ranges of squares, indexes, headers, transactions, bodies, fraud proofs.

use std::{sync::Arc, time::Duration};

use blob_api::BlobName;
use bytes::Bytes;
use chain::{CertifiedBlock, Height, State, StateKey, TxId, UnprovenValue};
use erasure::{Axis, CommittedSquare, Coordinates};
use network::{Answer, MAX_BODIES_BYTES, PeerId, Provider, Refusal, Request};

use crate::{fetch::frame, node::Node, storage::StoreError};

/// How long a request for the next block waits for its commit: nodes commit a block within that of each other, and
/// a refusal would cost the asker a second request.
const SOON: Duration = Duration::from_secs(1);

/// Serves what the node has.
#[derive(Debug)]
pub(crate) struct Serve(pub(crate) Arc<Node>);

#[expect(clippy::needless_pass_by_value, reason = "what map_err passes")]
fn failed(error: StoreError) -> Refusal {
    tracing::error!(%error, "a peer's request met a failing database");
    Refusal::Busy
}

fn axis(axis: u8) -> Result<Axis, Refusal> {
    match axis {
        0 => Ok(Axis::Row),
        1 => Ok(Axis::Column),
        _ => Err(Refusal::Malformed),
    }
}

impl Serve {
    /// Waits a moment if the request is about the block that is being decided.
    async fn wait_for_commit(&self, request: &Request) {
        let wanted = match request {
            Request::Sample { height, .. }
            | Request::Line { height, .. }
            | Request::Range { height, .. }
            | Request::Index { height }
            | Request::Header { height, .. } => *height,
            Request::Certified { .. }
            | Request::State { .. }
            | Request::Headers { .. }
            | Request::Transaction { .. }
            | Request::Body { .. }
            | Request::Bodies { .. }
            | Request::Fraud { .. }
            | Request::Frauds
            | Request::Cells { .. } => return,
        };
        let mut heads = self.0.heads();
        if heads.borrow().next_height() == wanted {
            // Refused as any other unknown block if it is not decided by then.
            let _ = tokio::time::timeout(SOON, heads.wait_for(|head| head.next_height() > wanted)).await;
        }
    }

    /// Answers from the square at `height`, on a thread that may take its time.
    async fn with_square<F>(&self, height: Height, answer: F) -> Answer
    where
        F: FnOnce(&CommittedSquare) -> Option<Vec<u8>> + Send + 'static,
    {
        let node = self.0.clone();
        let answered = tokio::task::spawn_blocking(move || {
            let square = node.square(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
            answer(&square).map(Bytes::from).ok_or(Refusal::Malformed)
        });
        answered.await.map_err(|_| Refusal::Busy)?
    }

    fn header(&self, height: Height, known: Option<&[u8; 32]>) -> Answer {
        let height = if height == 0 { self.0.tip() } else { height };
        let block = self.0.light_block(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
        Ok(known.map_or_else(|| block.encode(), |known| block.encode_for(known)).into())
    }

    /// The certificate of a block that was just decided comes a moment later.
    async fn certified(&self, height: Height, known: Option<&[u8; 32]>) -> Answer {
        let mut certified = self.0.certified();
        let latest = *certified.borrow();
        let height = if height == 0 { latest } else { height };
        if height > latest && height <= self.0.head().next_height() {
            let there = certified.wait_for(|latest| *latest >= height);
            let _ = tokio::time::timeout(SOON, there).await;
        }
        let certificate = self.0.store.certificate(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
        let block = self.0.light_block(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
        Ok(CertifiedBlock { certificate, block: block.without_commit() }.encode_for(known).into())
    }

    fn state(&self, height: Height, key: &str) -> Answer {
        let key: StateKey = key.parse().map_err(|_| Refusal::Malformed)?;
        let before =
            height.checked_sub(1).filter(|before| *before < self.0.tip()).ok_or(Refusal::NotFound)?;
        // A state that was dropped lacks nodes of its tree.
        let (value, proof) = State::at(&self.0.store, before).prove(&key).map_err(|_| Refusal::Pruned)?;
        Ok(UnprovenValue { value, proof }.encode().into())
    }

    fn headers(&self, from: Height, count: u32) -> Answer {
        let mut blocks = Vec::new();
        for height in from..from.saturating_add(count.into()) {
            match self.0.light_block(height).map_err(failed)? {
                Some(block) => blocks.push(block.encode()),
                None => break,
            }
        }
        if blocks.is_empty() { Err(Refusal::NotFound) } else { Ok(frame(blocks)) }
    }

    fn transactions(&self, ids: &[[u8; 32]]) -> Answer {
        let mut found = Vec::new();
        for id in ids.iter().copied().map(TxId) {
            if let Some(candidate) = self.0.pool.get(&id) {
                found.push(candidate.transaction().transaction().encode());
            } else if let Some(included) = self.0.store.transaction(&id).map_err(failed)? {
                let block = self.0.store.block(included.height).map_err(failed)?.ok_or(Refusal::NotFound)?;
                found.extend(
                    block.transactions.get(included.position as usize).map(chain::Transaction::encode),
                );
            }
        }
        if found.is_empty() { Err(Refusal::NotFound) } else { Ok(frame(found)) }
    }

    fn body(&self, commitment: &[u8; 32], offset: u64, len: u32) -> Answer {
        let bytes = match self.0.pool.body(commitment) {
            Some(blob) => Bytes::from_owner(blob.bytes().clone()),
            None => {
                let (height, position) = self
                    .0
                    .store
                    .find(&BlobName::Commitment(*commitment))
                    .map_err(failed)?
                    .ok_or(Refusal::NotFound)?;
                let (parts, index) = self.0.store.index(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
                let entry = index.entries().get(position as usize).ok_or(Refusal::NotFound)?;
                let bytes = self.0.blob_bytes(height, &parts, entry, 0..entry.len).map_err(failed)?;
                bytes.ok_or(Refusal::NotFound)?.into()
            }
        };
        let end = offset.saturating_add(len.into());
        if end > bytes.len() as u64 {
            return Err(Refusal::Malformed);
        }
        Ok(bytes.slice(offset as usize..end as usize))
    }

    /// Only what waits: a body of a block is one of many, and its list is long.
    fn bodies(&self, commitments: &[[u8; 32]]) -> Answer {
        let mut all = Vec::new();
        for commitment in commitments {
            let blob = self.0.pool.body(commitment).ok_or(Refusal::NotFound)?;
            if (all.len() + blob.bytes().len()) as u64 > MAX_BODIES_BYTES {
                return Err(Refusal::Malformed);
            }
            all.extend_from_slice(blob.bytes());
        }
        Ok(all.into())
    }

    fn index(&self, height: Height) -> Answer {
        let (_, index) = self.0.store.index(height).map_err(failed)?.ok_or(Refusal::NotFound)?;
        Ok(index.encode().into())
    }
}

#[async_trait::async_trait]
impl Provider for Serve {
    async fn serve(&self, _peer: PeerId, request: Request) -> Answer {
        self.wait_for_commit(&request).await;
        match request {
            Request::Sample { height, row, column, axis: along } => {
                let at = Coordinates { row, column, axis: axis(along)? };
                self.with_square(height, move |square| square.sample(at).map(|sample| sample.encode())).await
            }
            Request::Line { height, axis: along, index } => {
                let along = axis(along)?;
                self.with_square(height, move |square| {
                    square.line(along, index.into()).map(|line| line.encode())
                })
                .await
            }
            Request::Range { height, start, count } => {
                let range = start..start.saturating_add(count);
                self.with_square(height, move |square| square.range(range).map(|range| range.encode())).await
            }
            Request::Index { height } => self.index(height),
            Request::Header { height, known } => self.header(height, known.as_ref()),
            Request::Certified { height, known } => self.certified(height, known.as_ref()).await,
            Request::State { height, key } => self.state(height, &key),
            Request::Headers { from, count } => self.headers(from, count),
            Request::Transaction { ids } => self.transactions(&ids),
            Request::Body { commitment, offset, len } => self.body(&commitment, offset, len),
            Request::Bodies { commitments } => self.bodies(&commitments),
            Request::Fraud { proof, offset, len } => self.0.frauds.chunk(&proof, offset, len),
            Request::Frauds => {
                let notices = self.0.frauds.notices();
                Ok(notices.iter().flat_map(|notice| notice.encode()).collect())
            }
            // A full node has whole lines.
            Request::Cells { .. } => Err(Refusal::NotFound),
        }
    }
}
