//! Validator sets by the hash that headers name them by: the state forgets them with age, headers are served for ever.

use prost::Message as _;
use rocksdb::WriteBatch;
use tendermint::{Hash, validator};
use tendermint_proto::v0_38::types::ValidatorSet as RawValidatorSet;

use super::{Store, StoreError};

impl Store {
    /// Keeps `set`, unless it is kept already.
    pub(crate) fn put_validators(&self, set: &validator::Set) -> Result<(), StoreError> {
        let hash = set.hash();
        if self.get("validators", hash.as_bytes())?.is_some() {
            return Ok(());
        }
        let mut batch = WriteBatch::default();
        let raw = RawValidatorSet::from(set.clone());
        batch.put_cf(self.family("validators")?, hash.as_bytes(), raw.encode_to_vec());
        self.write(batch)
    }

    /// The set that a header of this chain names.
    pub(crate) fn validators(&self, hash: Hash) -> Result<validator::Set, StoreError> {
        let bytes = self.get("validators", hash.as_bytes())?.ok_or(StoreError::Corrupt("validators"))?;
        let raw = RawValidatorSet::decode(&bytes[..]).map_err(|_| StoreError::Corrupt("validators"))?;
        validator::Set::try_from(raw).map_err(|_| StoreError::Corrupt("validators"))
    }
}
