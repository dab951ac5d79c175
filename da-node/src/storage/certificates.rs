//! Certificates by height, attesters by the hash that certificates name them by, and the data roots that they cover.

use std::ops::Range;

use chain::{Attesters, Certificate, Height};
use erasure::Digest;
use rocksdb::{Direction, IteratorMode, WriteBatch};

use super::{Store, StoreError, number};

impl Store {
    /// Keeps the certificate of its height, unless one that as many signed is kept already; whether it was kept.
    pub(crate) fn put_certificate(&self, certificate: &Certificate) -> Result<bool, StoreError> {
        let height = certificate.data.height;
        if self.certificate(height)?.is_some_and(|kept| kept.signer_count() >= certificate.signer_count()) {
            return Ok(false);
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("certificates")?, height.to_be_bytes(), certificate.encode());
        self.write(batch)?;
        Ok(true)
    }

    /// The certificate of the block at `height`.
    pub(crate) fn certificate(&self, height: Height) -> Result<Option<Certificate>, StoreError> {
        let bytes = self.get("certificates", &height.to_be_bytes())?;
        bytes
            .map(|bytes| Certificate::decode(&bytes).map_err(|_| StoreError::Corrupt("certificate")))
            .transpose()
    }

    /// The latest height with a certificate, 0 for none.
    pub(crate) fn certified(&self) -> Result<Height, StoreError> {
        let latest =
            self.db.iterator_cf(self.family("certificates")?, IteratorMode::End).next().transpose()?;
        latest.map_or(Ok(0), |(key, _)| Ok(u64::from_be_bytes(number(&key, 0, "certificates")?)))
    }

    /// Keeps attesters that certificates may name.
    pub(crate) fn put_attesters(&self, attesters: &Attesters) -> Result<(), StoreError> {
        if self.get("attesters", &attesters.hash())?.is_some() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("attesters")?, attesters.hash(), attesters.encode());
        self.write(batch)
    }

    /// The attesters with this hash, if a block of this chain named them.
    pub(crate) fn attesters(&self, hash: &Digest) -> Result<Option<Attesters>, StoreError> {
        let bytes = self.get("attesters", hash)?;
        bytes.map(|bytes| Attesters::decode(&bytes).map_err(StoreError::from)).transpose()
    }

    /// The data roots of consecutive heights, as many of `heights` as there are blocks from its start on.
    pub(crate) fn data_roots(&self, heights: Range<Height>) -> Result<Vec<Digest>, StoreError> {
        let start = heights.start.to_be_bytes();
        let from = IteratorMode::From(&start, Direction::Forward);
        let records = self.db.iterator_cf(self.family("roots")?, from);
        records
            .zip(heights)
            .map(|(record, height)| {
                let (key, root) = record?;
                match (*key == height.to_be_bytes(), <Digest>::try_from(&*root)) {
                    (true, Ok(root)) => Ok(root),
                    _ => Err(StoreError::Corrupt("roots")),
                }
            })
            .collect()
    }
}
