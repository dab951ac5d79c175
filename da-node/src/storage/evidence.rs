//! Contradictions of validators that the ledger has to hear of.

use chain::Evidence;
use erasure::sha256;
use rocksdb::WriteBatch;

use super::{Store, StoreError, number};

impl Store {
    /// Keeps what was seen; on return it is on disk.
    pub(crate) fn put_evidence(&self, found: &[Evidence]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        for evidence in found {
            let bytes = evidence.encode();
            batch.put_cf(self.family("evidence")?, sha256(&bytes), bytes);
        }
        self.write(batch)
    }

    /// All that was kept and not dropped, by the hash of its bytes.
    pub(crate) fn evidence(&self) -> Result<Vec<([u8; 32], Evidence)>, StoreError> {
        self.scan("evidence", &[])?
            .map(|record| {
                let (key, value) = record?;
                let evidence = Evidence::decode(&value).map_err(|_| StoreError::Corrupt("evidence"))?;
                Ok((number(&key, 0, "evidence")?, evidence))
            })
            .collect()
    }

    /// Forgets what the ledger needs no more.
    pub(crate) fn drop_evidence(&self, id: &[u8; 32]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.delete_cf(self.family("evidence")?, id);
        self.write(batch)
    }
}
