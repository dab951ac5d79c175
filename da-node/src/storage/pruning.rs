//! Dropping what nobody is promised any more.
//!
//! | | dropped | kept |
//! | --- | --- | --- |
//! | squares | up to the height `pruned` in `meta` | blocks, commits, indexes and what finds them: for ever |
//! | state | nodes and values that no version from a horizon on needs | what any version from the horizon on needs |
//!
//! A square's rows go in one range deletion that commits with the new `pruned`; a reader checks `pruned` after it has
//! read, so what it returns was never half gone. A stale node or value is remembered when it becomes stale, in
//! `stale`, keyed by the version since which it is.

use std::sync::atomic::Ordering;

use chain::{Height, StateUpdate};
use rocksdb::WriteBatch;
use tendermint::Time;

use super::{FAMILIES, Store, StoreError, key, number};

/// What a record of `stale` points to.
const NODE: u8 = 0;
const VALUE: u8 = 1;

/// Records deleted in one batch.
const BATCH: usize = 4_096;

fn stale_key(since: Height, kind: u8, key: &[u8]) -> Vec<u8> {
    [&since.to_be_bytes()[..], &[kind], key].concat()
}

impl Store {
    /// The highest height whose square was dropped; 0 if none was.
    pub(crate) fn pruned(&self) -> Height {
        self.pruned.load(Ordering::Acquire)
    }

    pub(super) fn load_pruned(&self) -> Result<(), StoreError> {
        if let Some(bytes) = self.get("meta", b"pruned")? {
            self.pruned.store(u64::from_be_bytes(number(&bytes, 0, "pruned")?), Ordering::Release);
        }
        Ok(())
    }

    /// The highest height whose block is older than `time`; 0 if none is. Headers' times ascend.
    pub(crate) fn last_before(&self, time: Time) -> Result<Height, StoreError> {
        let (mut older, mut newer) = (self.pruned(), self.tip()?.saturating_add(1));
        while newer - older > 1 {
            let middle = older + (newer - older) / 2;
            let block = self.block(middle)?.ok_or(StoreError::Corrupt("block"))?;
            if block.header.time < time {
                older = middle;
            } else {
                newer = middle;
            }
        }
        Ok(older)
    }

    /// Drops the squares up to a height, and gives up those still to be fetched.
    pub(crate) fn prune_squares(&self, up_to: Height) -> Result<(), StoreError> {
        if up_to <= self.pruned() {
            return Ok(());
        }
        // Readers that began before see this at their end.
        self.pruned.store(up_to, Ordering::Release);
        let (first, end) = (key(0, &[]), key(up_to + 1, &[]));
        let mut batch = WriteBatch::default();
        batch.delete_range_cf(self.family("squares")?, &first, &end);
        batch.delete_range_cf(self.family("missing")?, &first, &end);
        batch.put_cf(self.family("meta")?, b"pruned", up_to.to_be_bytes());
        self.write(batch)?;
        // Whole files at once; the rest, and the deletions, go with the next compaction of these oldest keys.
        self.db.delete_file_in_range_cf(self.family("squares")?, &first, &end)?;
        self.db.compact_range_cf(self.family("squares")?, Some(&first), Some(&end));
        Ok(())
    }

    /// Remembers what `update` makes stale.
    pub(super) fn put_stale(&self, batch: &mut WriteBatch, update: &StateUpdate) -> Result<(), StoreError> {
        let (family, since) = (self.family("stale")?, update.version);
        for node in &update.stale {
            batch.put_cf(family, stale_key(since, NODE, node), []);
        }
        for (hash, value) in &update.values {
            if let Some(earlier) = self.value_record(hash, since.saturating_sub(1))? {
                batch.put_cf(family, stale_key(since, VALUE, &earlier.0), []);
            }
            // A deletion says what no record says as well.
            if value.is_none() {
                batch.put_cf(family, stale_key(since, VALUE, &key_of(hash, since)), []);
            }
        }
        Ok(())
    }

    /// Drops what no version from `horizon` on needs; such versions before it cannot be read any more.
    pub(crate) fn prune_state(&self, horizon: Height) -> Result<(), StoreError> {
        let stale = self.family("stale")?;
        loop {
            let mut batch = WriteBatch::default();
            for record in self.scan("stale", &[])?.take(BATCH) {
                let (record, _) = record?;
                if u64::from_be_bytes(number(&record, 0, "stale")?) > horizon {
                    break;
                }
                let family = match record.get(8) {
                    Some(&NODE) => "nodes",
                    Some(&VALUE) => "values",
                    _ => return Err(StoreError::Corrupt("stale")),
                };
                batch.delete_cf(self.family(family)?, &record[9..]);
                batch.delete_cf(stale, &record);
            }
            let (deletions, done) = (batch.len(), batch.len() < 2 * BATCH);
            if deletions > 0 {
                self.write(batch)?;
            }
            if done {
                // Its beginning is all deletions, which every scan would step over.
                self.db.compact_range_cf(stale, None::<&[u8]>, Some(key(horizon + 1, &[])));
                return Ok(());
            }
        }
    }

    /// Bytes of the files that hold the database's tables.
    pub(crate) fn disk_bytes(&self) -> Result<u64, StoreError> {
        let mut bytes = 0;
        for name in FAMILIES {
            let live = self.db.property_int_value_cf(self.family(name)?, "rocksdb.live-sst-files-size")?;
            bytes += live.unwrap_or(0);
        }
        Ok(bytes)
    }
}

pub(super) fn key_of(hash: &[u8; 32], version: Height) -> Vec<u8> {
    [&hash[..], &version.to_be_bytes()[..]].concat()
}
