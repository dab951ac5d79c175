//! What others are given: fraud proofs that held, and samples of blocks that the client is done with.

use std::ops::Range;

use erasure::{Axis, Coordinates, Digest};
use network::FraudNotice;
use redb::{ReadTransaction, ReadableDatabase, ReadableTable, TableDefinition};

use super::{REPORTS, SAMPLES, Store, StoreError, key};
use crate::status::{HeightReport, StateReport};

/// Proof hash → (height, header hash, encoded accusation).
pub(super) const FRAUDS: TableDefinition<'_, Digest, (u64, Digest, &[u8])> = TableDefinition::new("frauds");

/// An accusation that was verified against a header of this client's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFraud {
    pub(crate) height: u64,
    pub(crate) header: Digest,
    /// [`network::fraud_proof_hash`] of the accusation.
    pub(crate) proof: Digest,
    /// [`chain::Accusation::encode`].
    pub(crate) accusation: Vec<u8>,
}

impl Store {
    /// Keeps an accusation; it is on disk when this returns.
    pub(crate) fn put_fraud(&self, fraud: &StoredFraud) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        {
            let mut frauds = write.open_table(FRAUDS)?;
            frauds.insert(fraud.proof, (fraud.height, fraud.header, &fraud.accusation[..]))?;
        }
        write.commit()?;
        Ok(())
    }

    /// The notices of all accusations, without order.
    pub(crate) fn fraud_notices(&self) -> Result<Vec<FraudNotice>, StoreError> {
        let frauds = self.db.begin_read()?.open_table(FRAUDS)?;
        let notices = frauds.iter()?.map(|row| {
            let (proof, row) = row?;
            let (height, header, accusation) = row.value();
            let size = u32::try_from(accusation.len()).map_err(|_| StoreError::Damaged("fraud"))?;
            Ok(FraudNotice { height, header, proof: proof.value(), size })
        });
        notices.collect()
    }

    /// A part of an accusation's bytes.
    pub(crate) fn fraud_chunk(
        &self,
        proof: Digest,
        range: Range<usize>,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let frauds = self.db.begin_read()?.open_table(FRAUDS)?;
        Ok(frauds.get(proof)?.and_then(|row| row.value().2.get(range).map(<[u8]>::to_vec)))
    }

    /// One sample; none while its block is being sampled, as in [`Self::cells`].
    pub(crate) fn sample(&self, height: u64, at: Coordinates) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.db.begin_read()?;
        if !is_done_with(&read, height)? {
            return Ok(None);
        }
        Ok(read.open_table(SAMPLES)?.get(key(height, at))?.map(|row| row.value().to_vec()))
    }

    /// The places of all kept samples of a block; none while it is being sampled, so that no peer can watch which
    /// requests, each of another peer, are of one client.
    pub(crate) fn cells(&self, height: u64) -> Result<Vec<Coordinates>, StoreError> {
        let read = self.db.begin_read()?;
        if !is_done_with(&read, height)? {
            return Ok(Vec::new());
        }
        let samples = read.open_table(SAMPLES)?;
        let block = (height, 0, 0, 0)..=(height, u16::MAX, u16::MAX, u8::MAX);
        let cell = |(_, row, column, axis)| Coordinates {
            row,
            column,
            axis: if axis == 0 { Axis::Row } else { Axis::Column },
        };
        samples.range(block)?.map(|row| Ok(cell(row?.0.value()))).collect()
    }
}

/// Whether a block is no longer being sampled.
fn is_done_with(read: &ReadTransaction, height: u64) -> Result<bool, StoreError> {
    let report = read.open_table(REPORTS)?.get(height)?.map(|json| serde_json::from_slice(json.value()));
    let report: Option<HeightReport> = report.transpose().map_err(|_| StoreError::Damaged("report"))?;
    Ok(report.is_some_and(|report| report.state != StateReport::Pending))
}
