//! The state as of a height, to be given out while the node goes on; and a database that begins with one.
//!
//! `base` in `meta` is the light block after which the state of such a database begins: it has no blocks up to there,
//! and `pruned` says the same of squares. The database is made in a folder of its own, and gets its name last.

use std::path::{Path, PathBuf};

use chain::{
    Genesis, Height, LightBlock, SnapshotHead, StateError, StateStore, StateUpdate, VerifiedSnapshot,
};
use rocksdb::{Direction, IteratorMode, Snapshot, WriteBatch, WriteOptions};
use tendermint::block::signed_header::SignedHeader;

use super::{FAMILIES, Store, StoreError, flag, pruning::key_of};

/// The database as it was at one moment, whatever is written or dropped since.
pub(crate) struct View<'a> {
    store: &'a Store,
    snapshot: Snapshot<'a>,
}

impl StateStore for View<'_> {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        let node = self.store.family("nodes").and_then(|family| Ok(self.snapshot.get_cf(family, key)?));
        node.map_err(|error| StateError::Store(error.to_string()))
    }

    fn value(&self, key_hash: &[u8; 32], at_most: Height) -> Result<Option<Vec<u8>>, StateError> {
        let newest = self.store.family("values").and_then(|family| {
            let last = key_of(key_hash, at_most);
            let from = IteratorMode::From(&last, Direction::Reverse);
            Ok(self.snapshot.iterator_cf(family, from).next().transpose()?)
        });
        let newest = newest.map_err(|error| StateError::Store(error.to_string()))?;
        Ok(newest.filter(|(key, _)| key.starts_with(key_hash)).and_then(|(_, record)| flag::value(&record)))
    }
}

impl Store {
    /// The database as it is now. What is dropped meanwhile stays on disk until the view is.
    pub(crate) fn view(&self) -> View<'_> {
        View { store: self, snapshot: self.db.snapshot() }
    }

    /// The height that this database began after; 0 for genesis.
    pub(crate) fn base(&self) -> Height {
        self.base
    }

    pub(super) fn load_base(&mut self) -> Result<(), StoreError> {
        self.base = self.base_block()?.map_or(0, |block| block.height());
        Ok(())
    }

    fn base_block(&self) -> Result<Option<LightBlock>, StoreError> {
        let bytes = self.get("meta", b"base")?;
        bytes.map(|bytes| LightBlock::decode(&bytes).map_err(|_| StoreError::Corrupt("base"))).transpose()
    }

    /// The light block at `height`.
    pub(crate) fn light_block(&self, height: Height) -> Result<Option<LightBlock>, StoreError> {
        if height == self.base {
            return self.base_block();
        }
        let (Some(block), Some(commit)) = (self.block(height)?, self.commit(height)?) else {
            return Ok(None);
        };
        let signed_header =
            SignedHeader::new(block.header, commit).map_err(|_| StoreError::Corrupt("commit"))?;
        let validators = self.validators(signed_header.header.validators_hash)?;
        let next_validators = self.validators(signed_header.header.next_validators_hash)?;
        Ok(Some(LightBlock { signed_header, validators, next_validators }))
    }

    /// What a snapshot of the state before the latest block begins with; none until there are two blocks.
    pub(crate) fn snapshot_head(&self) -> Result<Option<SnapshotHead>, StoreError> {
        let next = self.tip()?;
        if next <= self.base.saturating_add(1) {
            return Ok(None);
        }
        Ok(match (self.light_block(next - 1)?, self.light_block(next)?) {
            (Some(last), Some(next)) => Some(SnapshotHead { last, next }),
            _ => return Err(StoreError::Corrupt("block")),
        })
    }
}

/// A database that is being made of a snapshot. Dropped before [`Self::finish`], it leaves what no node opens.
#[derive(Debug)]
pub(crate) struct Importing {
    store: Store,
    unfinished: PathBuf,
}

impl Importing {
    /// Begins anew in the folder `unfinished`, which is emptied.
    pub(crate) fn begin(unfinished: &Path) -> Result<Self, StoreError> {
        if unfinished.exists() {
            std::fs::remove_dir_all(unfinished).map_err(StoreError::folder(unfinished))?;
        }
        Ok(Self { store: Store::open_database(unfinished)?, unfinished: unfinished.into() })
    }

    /// Keeps a part of the state, not durably.
    pub(crate) fn put(&self, update: &StateUpdate) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.store.put_tree(&mut batch, update)?;
        let mut options = WriteOptions::default();
        options.disable_wal(true);
        Ok(self.store.db.write_opt(batch, &options)?)
    }

    /// Makes the database durable and gives it its name: `path`, which must not exist.
    pub(crate) fn finish(
        self,
        genesis: &Genesis,
        snapshot: &VerifiedSnapshot,
        path: &Path,
    ) -> Result<(), StoreError> {
        let Self { store, unfinished } = self;
        for name in FAMILIES {
            store.db.flush_cf(store.family(name)?)?;
        }
        let last = snapshot.last();
        let (block, height) = (last.light_block(), last.height().to_be_bytes());
        store.put_validators(&block.validators)?;
        store.put_validators(&block.next_validators)?;
        let mut batch = WriteBatch::default();
        let meta = store.family("meta")?;
        batch.put_cf(meta, b"base", block.encode());
        batch.put_cf(meta, b"pruned", height);
        batch.put_cf(meta, b"tip", height);
        batch.put_cf(meta, b"genesis", genesis.hash());
        store.write(batch)?;
        drop(store);
        std::fs::rename(&unfinished, path).map_err(StoreError::folder(path))?;
        let parent = path.parent().unwrap_or(path);
        std::fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(StoreError::folder(parent))
    }
}
