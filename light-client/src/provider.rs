//! What a light client answers: the headers that it verified, the samples that it holds, and where they
//! lie, and the fraud proofs that it halted for.

use std::sync::Weak;

use async_trait::async_trait;
use erasure::{Axis, Coordinates};
use network::{
    Answer, FraudNotice, HeldCell, Kind, MAX_FRAUDS, PeerId, Provider, Refusal, Request, encode_cells,
};

use crate::store::{Store, StoreError};

/// Serves from the store, as long as the client has it open.
pub(crate) struct Kept(pub(crate) Weak<Store>);

impl Kept {
    /// The kinds of request that are answered.
    pub(crate) const SERVES: [Kind; 5] = [Kind::Sample, Kind::Header, Kind::Fraud, Kind::Frauds, Kind::Cells];

    fn find(&self, request: &Request) -> Result<Option<Vec<u8>>, StoreError> {
        let Some(store) = self.0.upgrade() else {
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
                let mut frauds = store.frauds()?;
                frauds.sort_by_key(|fraud| std::cmp::Reverse(fraud.height));
                let notices = frauds
                    .iter()
                    .filter_map(|fraud| FraudNotice::of(fraud.height, fraud.header, &fraud.accusation));
                Ok(Some(notices.take(MAX_FRAUDS).flat_map(|notice| notice.encode()).collect()))
            }
            Request::Fraud { proof, offset, len } => {
                let chunk = offset as usize..offset as usize + len as usize;
                Ok(store.fraud(proof)?.and_then(|bytes| bytes.get(chunk).map(<[u8]>::to_vec)))
            }
            _ => Ok(None),
        }
    }
}

#[async_trait]
impl Provider for Kept {
    async fn serve(&self, _peer: PeerId, request: Request) -> Answer {
        let found = self.find(&request).map_err(|error| {
            tracing::error!(%error, "cannot read what is kept");
            Refusal::NotFound
        })?;
        found.map(Into::into).ok_or(Refusal::NotFound)
    }
}
