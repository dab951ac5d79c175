//! Fraud proofs that held, and lists of what is kept.

use erasure::{Axis, Coordinates, Digest};
use redb::{ReadableDatabase, ReadableTable, TableDefinition};

use super::{REPORTS, SAMPLES, Store, StoreError};
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

    /// All accusations, without order.
    pub(crate) fn frauds(&self) -> Result<Vec<StoredFraud>, StoreError> {
        let frauds = self.db.begin_read()?.open_table(FRAUDS)?;
        let stored = frauds.iter()?.map(|row| {
            let (proof, row) = row?;
            let (height, header, accusation) = row.value();
            Ok(StoredFraud { height, header, proof: proof.value(), accusation: accusation.to_vec() })
        });
        stored.collect()
    }

    /// One accusation's bytes.
    pub(crate) fn fraud(&self, proof: Digest) -> Result<Option<Vec<u8>>, StoreError> {
        let frauds = self.db.begin_read()?.open_table(FRAUDS)?;
        Ok(frauds.get(proof)?.map(|row| row.value().2.to_vec()))
    }

    /// The places of all kept samples of a block; none while it is being sampled, so that no peer can watch which
    /// requests, each of another peer, are of one client.
    pub(crate) fn cells(&self, height: u64) -> Result<Vec<Coordinates>, StoreError> {
        let read = self.db.begin_read()?;
        let report = read.open_table(REPORTS)?.get(height)?.map(|json| serde_json::from_slice(json.value()));
        match report.transpose().map_err(|_| StoreError::Damaged("report"))? {
            None | Some(HeightReport { state: StateReport::Pending, .. }) => return Ok(Vec::new()),
            Some(_) => {}
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
