//! What a light client answers: the headers that it verified, the samples that it holds, and where they
//! lie, and the fraud proofs that it halted for.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use erasure::{Axis, Coordinates};
use network::{Answer, HeldCell, Kind, MAX_FRAUDS, PeerId, Provider, Refusal, Request, encode_cells};

use crate::store::{Store, StoreError};

/// What an answer costs besides its bytes: the request, and what carries both.
const ANSWER_COST_BYTES: u64 = 300;

/// Bytes that others may be served until the worker has charged what went over the wire.
#[derive(Debug, Default)]
pub(crate) struct Allowance(AtomicU64);

impl Allowance {
    pub(crate) fn set(&self, bytes: u64) {
        self.0.store(bytes, Ordering::Relaxed);
    }

    /// Takes what an answer costs, if there is as much.
    fn take(&self, answer: usize) -> bool {
        let cost = ANSWER_COST_BYTES.saturating_add(answer as u64);
        let taken = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(cost));
        taken.is_ok()
    }

    fn is_used_up(&self) -> bool {
        self.0.load(Ordering::Relaxed) < ANSWER_COST_BYTES
    }
}

/// Serves from the store, as long as the client has it open, and within what its budget allows; fraud
/// proofs in any case.
pub(crate) struct Kept {
    pub(crate) store: Weak<Store>,
    pub(crate) allowance: Arc<Allowance>,
}

impl Kept {
    /// The kinds of request that are answered.
    pub(crate) const SERVES: [Kind; 5] = [Kind::Sample, Kind::Header, Kind::Fraud, Kind::Frauds, Kind::Cells];

    fn find(&self, request: &Request) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(store) = self.store.upgrade() else {
            return Ok(None);
        };
        match *request {
            Request::Sample { height, row, column, axis } => {
                let axis = if axis == 0 { Axis::Row } else { Axis::Column };
                store.sample(height, Coordinates { row, column, axis })
            }
            Request::Header { height, known } => {
                let header = match height {
                    0 => store.trusted()?,
                    height => store.header(height)?,
                };
                // One that was only named by its successor may carry a made-up commit.
                let Some(header) = header.filter(|header| header.signed) else {
                    return Ok(None);
                };
                let Some(known) = known else {
                    return Ok(Some(header.block));
                };
                Ok(Some(header.light_block()?.encode_for(&known)))
            }
            Request::Cells { height } => {
                let cells = store.cells(height)?.into_iter().map(|at| HeldCell {
                    row: at.row,
                    column: at.column,
                    axis: u8::from(at.axis == Axis::Column),
                });
                Ok(Some(encode_cells(cells)))
            }
            Request::Frauds => {
                let mut notices = store.fraud_notices()?;
                notices.sort_by_key(|notice| std::cmp::Reverse(notice.height));
                Ok(Some(notices.iter().take(MAX_FRAUDS).flat_map(|notice| notice.encode()).collect()))
            }
            Request::Fraud { proof, offset, len } => {
                store.fraud_chunk(proof, offset as usize..offset as usize + len as usize)
            }
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl Provider for Kept {
    async fn serve(&self, _peer: PeerId, request: Request) -> Answer {
        let charged = !matches!(request.kind(), Kind::Fraud | Kind::Frauds);
        if charged && self.allowance.is_used_up() {
            return Err(Refusal::Busy);
        }
        let found = self.find(&request).map_err(|error| {
            tracing::error!(%error, "cannot read what is kept");
            Refusal::NotFound
        })?;
        if charged && !self.allowance.take(found.as_ref().map_or(0, Vec::len)) {
            return Err(Refusal::Busy);
        }
        found.map(Into::into).ok_or(Refusal::NotFound)
    }
}
