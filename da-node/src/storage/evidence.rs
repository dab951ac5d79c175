//! Contradictions of validators that the ledger has to hear of: one of each validator, which is slashed once.

use chain::{Culprit, Evidence};
use rocksdb::WriteBatch;

use super::{Store, StoreError};

impl Store {
    /// Keeps what was seen; on return it is on disk.
    pub(crate) fn put_evidence(&self, found: &[Evidence]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for evidence in found {
            batch.put_cf(self.family("evidence")?, evidence.culprit().as_bytes(), evidence.encode());
        }
        self.write(batch)
    }

    /// All that was kept and not dropped.
    pub(crate) fn evidence(&self) -> Result<Vec<Evidence>, StoreError> {
        self.scan("evidence", &[])?
            .map(|record| Evidence::decode(&record?.1).map_err(|_| StoreError::Corrupt("evidence")))
            .collect()
    }

    /// Forgets what the ledger needs no more of the validator with this key.
    pub(crate) fn drop_evidence(&self, culprit: &Culprit) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family("evidence")?, culprit.as_bytes());
        self.write(batch)
    }
}
