//! What a light client answers: the headers that it verified and the samples that it holds.

use std::sync::Weak;

use async_trait::async_trait;
use erasure::{Axis, Coordinates};
use network::{Answer, Kind, PeerId, Provider, Refusal, Request};

use crate::store::{Store, StoreError};

/// Serves from the store, as long as the client has it open.
pub(crate) struct Kept(pub(crate) Weak<Store>);

impl Kept {
    /// The kinds of request that are answered.
    pub(crate) const SERVES: [Kind; 2] = [Kind::Sample, Kind::Header];

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
