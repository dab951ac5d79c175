//! Fraud proofs in the database.

use std::collections::BTreeSet;

use chain::Height;
use rocksdb::WriteBatch;

use super::{Store, StoreError, number};

/// An accusation that was verified against a header of this node's chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredFraud {
    /// The wrong block's height.
    pub(crate) height: Height,
    /// Hash of its header.
    pub(crate) header: [u8; 32],
    /// [`network::fraud_proof_hash`] of the accusation.
    pub(crate) proof: [u8; 32],
    /// [`chain::Accusation::encode`].
    pub(crate) accusation: Vec<u8>,
}

impl Store {
    /// Keeps an accusation, durably.
    pub(crate) fn put_fraud(&self, fraud: &StoredFraud) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let StoredFraud { height, header, proof, accusation } = fraud;
        let record = [&height.to_be_bytes()[..], header, accusation].concat();
        batch.put_cf(self.family("frauds")?, proof, record);
        self.write(batch)
    }

    /// All accusations kept, judged or not.
    pub(crate) fn frauds(&self) -> Result<Vec<StoredFraud>, StoreError> {
        let stored = self.scan("frauds", &[])?.map(|record| {
            let (key, value) = record?;
            Ok(StoredFraud {
                height: u64::from_be_bytes(number(&value, 0, "fraud")?),
                header: number(&value, 8, "fraud")?,
                proof: number(&key, 0, "fraud")?,
                accusation: value.get(40..).ok_or(StoreError::Corrupt("fraud"))?.to_vec(),
            })
        });
        stored.collect()
    }

    /// Notes that the operator goes on in spite of what is wrong with the block at `height`.
    pub(crate) fn put_judged(&self, height: Height) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("judged")?, height.to_be_bytes(), []);
        self.write(batch)
    }

    /// The heights that [`Self::put_judged`] noted.
    pub(crate) fn judged(&self) -> Result<BTreeSet<Height>, StoreError> {
        self.scan("judged", &[])?
            .map(|record| Ok(u64::from_be_bytes(number(&record?.0, 0, "judged")?)))
            .collect()
    }
}
