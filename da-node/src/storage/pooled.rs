//! What survives of the pool, and of the market.

use blob_api::MarketBlock;
use chain::{Height, TxId};
use rocksdb::{Direction, IteratorMode, WriteBatch};
use tendermint::Time;

use super::{Store, StoreError, number};

/// A pooled transaction with its bodies, as [`chain::Submission::encode`] writes them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pooled {
    /// Its id.
    pub(crate) id: TxId,
    /// Its place in the order of arrival.
    pub(crate) arrival: u64,
    /// The submission.
    pub(crate) submission: Vec<u8>,
}

impl Store {
    /// Keeps `added` and forgets `removed`. Survives the end of this process, however it ends; after a power cut the
    /// last moments' changes may be missing, and submitters send again.
    pub(crate) fn change_pool(&self, added: Option<&Pooled>, removed: &[TxId]) -> Result<(), StoreError> {
        let family = self.family("pool")?;
        let mut batch = WriteBatch::default();
        for id in removed {
            batch.delete_cf(family, id.0);
        }
        if let Some(Pooled { id, arrival, submission }) = added {
            batch.put_cf(family, id.0, [&arrival.to_be_bytes()[..], submission].concat());
        }
        Ok(self.db.write(batch)?)
    }

    /// What [`Self::change_pool`] kept, in order of arrival.
    pub(crate) fn pooled(&self) -> Result<Vec<Pooled>, StoreError> {
        let mut pooled = Vec::new();
        for record in self.scan("pool", &[])? {
            let (key, value) = record?;
            let id = TxId(number(&key, 0, "pool")?);
            let arrival = u64::from_be_bytes(number(&value, 0, "pool")?);
            pooled.push(Pooled { id, arrival, submission: value[8..].to_vec() });
        }
        pooled.sort_unstable_by_key(|pooled| pooled.arrival);
        Ok(pooled)
    }

    /// Keeps what the block that is about to be committed charges. It is visible once the block is.
    pub(crate) fn put_market(&self, block: &MarketBlock) -> Result<(), StoreError> {
        let MarketBlock { height, time, excess, used, transactions, blob_bytes } = block;
        let nanos = time.unix_timestamp_nanos();
        let record = [
            &nanos.to_be_bytes()[..],
            &excess.to_be_bytes(),
            &used.to_be_bytes(),
            &transactions.to_be_bytes(),
            &blob_bytes.to_be_bytes(),
        ]
        .concat();
        Ok(self.db.put_cf(self.family("market")?, height.to_be_bytes(), record)?)
    }

    /// What at most `count` blocks up to `to` charged, oldest first. `to` is committed.
    pub(crate) fn market(&self, to: Height, count: u32) -> Result<Vec<MarketBlock>, StoreError> {
        let last = to.to_be_bytes();
        let records =
            self.db.iterator_cf(self.family("market")?, IteratorMode::From(&last, Direction::Reverse));
        let mut blocks = Vec::new();
        for record in records.take(count as usize) {
            let (key, value) = record?;
            let nanos = i128::from_be_bytes(number(&value, 0, "market")?);
            let seconds =
                i64::try_from(nanos.div_euclid(1_000_000_000)).map_err(|_| StoreError::Corrupt("market"))?;
            blocks.push(MarketBlock {
                height: u64::from_be_bytes(number(&key, 0, "market")?),
                time: Time::from_unix_timestamp(seconds, nanos.rem_euclid(1_000_000_000) as u32)
                    .map_err(|_| StoreError::Corrupt("market"))?,
                excess: u64::from_be_bytes(number(&value, 16, "market")?),
                used: u64::from_be_bytes(number(&value, 24, "market")?),
                transactions: u32::from_be_bytes(number(&value, 32, "market")?),
                blob_bytes: u64::from_be_bytes(number(&value, 36, "market")?),
            });
        }
        blocks.reverse();
        Ok(blocks)
    }
}
