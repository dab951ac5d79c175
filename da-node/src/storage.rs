//! RocksDB: blocks, squares, state and what finds them again.
//!
//! | column family | key | value |
//! | --- | --- | --- |
//! | `meta` | `genesis`, `tip`, `pruned` | genesis hash; latest height; highest height whose square was dropped: u64 BE |
//! | | `base` | of a database made of a snapshot: the light block after which it begins, with no block up to there |
//! | `blocks` | height | block without bodies |
//! | `commits` | height | commit of that block |
//! | `nodes`, `values` | tree node; key hash ‖ version | state (see `chain::State`) |
//! | `stale` | version: u64 BE ‖ kind: u8 ‖ key | empty; the node (0) or value (1) that no version from this one on needs |
//! | `validators` | hash of the set | Tendermint's `ValidatorSet`, of every header |
//! | `squares` | height ‖ data root ‖ row: u16 BE | one row of the original square, all-zero rows left out |
//! | `indexes` | height | width ‖ axis root ‖ index root ‖ index; present once the square is |
//! | `commitments` | blob commitment ‖ height ‖ position: u32 BE | empty |
//! | `foreign` | kind: u8 ‖ value: 32 ‖ height ‖ position: u32 BE | empty |
//! | `transactions` | id | height ‖ position: u32 BE ‖ charged: u64 BE |
//! | `pool` | id | arrival: u64 BE ‖ submission |
//! | `market` | height | time in ns: i128 BE ‖ excess before ‖ shares used: u64 BE each ‖ transactions: u32 BE ‖ blob bytes: u64 BE |
//! | `undecided` | height ‖ digest | what consensus may still decide |
//! | `missing` | height | empty; present while a committed block's square is not here |
//! | `candidates` | height ‖ header hash | a block this node voted for; its square is in `squares` |
//! | `frauds` | proof hash | height ‖ header hash ‖ accusation (see `chain::Accusation`) |
//! | `judged` | height | empty; present once the operator goes on in spite of that block's proof |
//! | `evidence` | consensus or attestation key | one contradiction of that validator, until the ledger needs it no more |
//! | `roots` | height | data root |
//! | `certificates` | height | certificate of that block |
//! | `attesters` | hash | a set that certificates name |
//!
//! Squares and state are dropped with age, see `pruning`; all else stays. Heights are u64 BE. A block, its commit,
//! its state and its indexes are one synced batch: after a crash all of it is there or none. A write that fails is an
//! error that stops the node.

mod certificates;
mod evidence;
mod frauds;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
mod pooled;
mod pruning;
mod sets;
mod snapshot;

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError, atomic::AtomicU64},
};

use blob_api::BlobName;
use chain::{Block, Genesis, Height, Receipt, StateError, StateStore, StateUpdate, TxId, ValidBlock};
use erasure::{CommittedSquare, DataRootParts, Digest, ForeignCommitment, Index, SHARE_BYTES, Width};
use prost::Message;
use rocksdb::{
    ColumnFamily, ColumnFamilyDescriptor, DB, Direction, IteratorMode, Options, WriteBatch, WriteOptions,
};
use tendermint::block::Commit;
use tendermint_proto::v0_38::types::Commit as RawCommit;

pub(crate) use pooled::Pooled;

const FAMILIES: [&str; 23] = [
    "meta",
    "blocks",
    "commits",
    "nodes",
    "values",
    "stale",
    "validators",
    "squares",
    "indexes",
    "commitments",
    "foreign",
    "transactions",
    "pool",
    "market",
    "undecided",
    "candidates",
    "missing",
    "frauds",
    "judged",
    "evidence",
    "roots",
    "certificates",
    "attesters",
];

pub(crate) use frauds::StoredFraud;
pub(crate) use snapshot::Importing;

/// Memory for cached blocks of all column families.
const BLOCK_CACHE_BYTES: usize = 32 << 20;

/// Memory that one column family buffers before it is written out.
const WRITE_BUFFER_BYTES: usize = 16 << 20;

/// Why the store cannot be used. This machine is at fault; the node stops.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum StoreError {
    /// The database failed: disk full, permissions, corruption.
    #[error(
        "the database failed: {0}; what was acknowledged is kept: make room on the disk, or mend it, and start again; \
         if it is corrupt, restore the folder or sync anew in another one"
    )]
    Database(rocksdb::Error),
    /// Another node's folder.
    #[error(
        "the database belongs to the genesis {found}, this node's genesis.json hashes to {expected}; use another --home"
    )]
    OtherGenesis {
        /// From `genesis.json`.
        expected: String,
        /// In the database.
        found: String,
    },
    /// A record does not decode.
    #[error("the record {0} is corrupt; restore the folder or sync anew in another one")]
    Corrupt(&'static str),
    /// A folder cannot be made, emptied or named.
    #[error("{}: {error}", folder.display())]
    Folder {
        /// Which.
        folder: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// Genesis state.
    #[error(transparent)]
    State(#[from] StateError),
}

impl StoreError {
    fn folder(folder: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Folder { folder: folder.into(), error }
    }
}

impl From<rocksdb::Error> for StoreError {
    fn from(error: rocksdb::Error) -> Self {
        Self::Database(error)
    }
}

/// A key and its value.
type Record = (Box<[u8]>, Box<[u8]>);

/// The node's database.
#[derive(Debug)]
pub(crate) struct Store {
    db: DB,
    pruned: AtomicU64,
    base: Height,
    /// Held while a block is committed and while something undecided is written: what comes too late for its height
    /// would never be dropped.
    deciding: Mutex<()>,
}

/// Where a transaction was included and what it paid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Included {
    /// The block.
    pub(crate) height: Height,
    /// Its place in the block.
    pub(crate) position: u32,
    /// Nano charged.
    pub(crate) charged: u64,
}

fn key(height: Height, rest: &[u8]) -> Vec<u8> {
    [&height.to_be_bytes(), rest].concat()
}

fn row_key(height: Height, data_root: &Digest, row: u16) -> Vec<u8> {
    [&height.to_be_bytes()[..], &data_root[..], &row.to_be_bytes()[..]].concat()
}

fn foreign_prefix(foreign: &ForeignCommitment) -> Vec<u8> {
    [&[foreign.kind as u8], &foreign.value[..]].concat()
}

fn number<const N: usize>(bytes: &[u8], at: usize, record: &'static str) -> Result<[u8; N], StoreError> {
    bytes.get(at..at + N).and_then(|part| part.try_into().ok()).ok_or(StoreError::Corrupt(record))
}

impl Store {
    fn open_database(path: &Path) -> Result<Self, StoreError> {
        let mut options = Options::default();
        options.create_if_missing(true);
        options.create_missing_column_families(true);
        options.set_max_open_files(256);
        options.set_keep_log_file_num(4);
        options.set_max_total_wal_size(128 << 20);
        // A write that was torn off ends the log; a damaged one in it would take away what was committed after it.
        options.set_wal_recovery_mode(rocksdb::DBRecoveryMode::TolerateCorruptedTailRecords);
        let cache = rocksdb::Cache::new_lru_cache(BLOCK_CACHE_BYTES);
        let families = FAMILIES.map(|name| {
            let mut options = Options::default();
            let mut table = rocksdb::BlockBasedOptions::default();
            table.set_block_cache(&cache);
            options.set_block_based_table_factory(&table);
            options.set_compression_type(rocksdb::DBCompressionType::Lz4);
            options.set_write_buffer_size(WRITE_BUFFER_BYTES);
            options.set_max_write_buffer_number(2);
            ColumnFamilyDescriptor::new(name, options)
        });
        let db = DB::open_cf_descriptors(&options, path, families)?;
        let mut store = Self { db, pruned: AtomicU64::new(0), base: 0, deciding: Mutex::default() };
        store.load_pruned()?;
        store.load_base()?;
        Ok(store)
    }

    /// Opens or creates the database in `path` for the chain of `genesis`.
    pub(crate) fn open(path: &Path, genesis: &Genesis) -> Result<Self, StoreError> {
        let store = Self::open_database(path)?;
        let expected = genesis.hash();
        match store.get("meta", b"genesis")? {
            Some(found) if found == expected => {}
            Some(found) => {
                return Err(StoreError::OtherGenesis {
                    expected: hex::encode(expected),
                    found: hex::encode(found),
                });
            }
            None => {
                let validators = genesis.validator_set().map_err(|_| StoreError::Corrupt("genesis"))?;
                store.put_validators(&validators)?;
                let mut batch = WriteBatch::default();
                store.put_state(&mut batch, &StateUpdate::genesis(genesis)?)?;
                batch.put_cf(store.family("meta")?, b"genesis", expected);
                batch.put_cf(store.family("meta")?, b"tip", 0u64.to_be_bytes());
                store.write(batch)?;
            }
        }
        Ok(store)
    }

    fn family(&self, name: &'static str) -> Result<&ColumnFamily, StoreError> {
        self.db.cf_handle(name).ok_or(StoreError::Corrupt(name))
    }

    fn get(&self, family: &'static str, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.db.get_cf(self.family(family)?, key)?)
    }

    /// Writes durably: on return the batch is on disk.
    fn write(&self, batch: WriteBatch) -> Result<(), StoreError> {
        let mut options = WriteOptions::default();
        options.set_sync(true);
        Ok(self.db.write_opt(batch, &options)?)
    }

    fn deciding(&self) -> MutexGuard<'_, ()> {
        self.deciding.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what may be decided at `height`, unless that is over.
    fn write_undecided(&self, height: Height, batch: WriteBatch) -> Result<(), StoreError> {
        let _deciding = self.deciding();
        if height <= self.tip()? { Ok(()) } else { self.write(batch) }
    }

    /// The records of `family` whose key begins with `prefix`.
    fn scan<'a>(
        &'a self,
        family: &'static str,
        prefix: &'a [u8],
    ) -> Result<impl Iterator<Item = Result<Record, StoreError>> + 'a, StoreError> {
        let records =
            self.db.iterator_cf(self.family(family)?, IteratorMode::From(prefix, Direction::Forward));
        Ok(records
            .map(|record| record.map_err(StoreError::from))
            .take_while(move |record| record.as_ref().map_or(true, |(key, _)| key.starts_with(prefix))))
    }

    /// The latest committed height, 0 for genesis.
    pub(crate) fn tip(&self) -> Result<Height, StoreError> {
        let bytes = self.get("meta", b"tip")?.ok_or(StoreError::Corrupt("tip"))?;
        Ok(u64::from_be_bytes(number(&bytes, 0, "tip")?))
    }

    /// The block at `height`.
    pub(crate) fn block(&self, height: Height) -> Result<Option<Block>, StoreError> {
        let bytes = self.get("blocks", &height.to_be_bytes())?;
        bytes.map(|bytes| Block::decode(&bytes).map_err(|_| StoreError::Corrupt("block"))).transpose()
    }

    /// The block's bytes as [`Block::encode`] writes them.
    pub(crate) fn block_bytes(&self, height: Height) -> Result<Option<Vec<u8>>, StoreError> {
        self.get("blocks", &height.to_be_bytes())
    }

    /// The commit of the block at `height`.
    pub(crate) fn commit(&self, height: Height) -> Result<Option<Commit>, StoreError> {
        let Some(bytes) = self.get("commits", &height.to_be_bytes())? else { return Ok(None) };
        let raw = RawCommit::decode(&bytes[..]).map_err(|_| StoreError::Corrupt("commit"))?;
        Commit::try_from(raw).map(Some).map_err(|_| StoreError::Corrupt("commit"))
    }

    /// Replaces the commit of a committed block by one with more signatures.
    pub(crate) fn put_commit(&self, height: Height, commit: &Commit) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        let raw = RawCommit::from(commit.clone());
        batch.put_cf(self.family("commits")?, height.to_be_bytes(), raw.encode_to_vec());
        self.write(batch)
    }

    fn put_state(&self, batch: &mut WriteBatch, update: &StateUpdate) -> Result<(), StoreError> {
        self.put_tree(batch, update)?;
        self.put_stale(batch, update)
    }

    fn put_tree(&self, batch: &mut WriteBatch, update: &StateUpdate) -> Result<(), StoreError> {
        let (nodes, values) = (self.family("nodes")?, self.family("values")?);
        for (key, node) in &update.nodes {
            batch.put_cf(nodes, key, node);
        }
        for (hash, value) in &update.values {
            let key = pruning::key_of(hash, update.version);
            batch.put_cf(values, key, flag::record(value.as_deref()));
        }
        Ok(())
    }

    /// The newest record of a value whose version is at most `at_most`.
    fn value_record(&self, key_hash: &[u8; 32], at_most: Height) -> Result<Option<Record>, StoreError> {
        let last = pruning::key_of(key_hash, at_most);
        let from = IteratorMode::From(&last, Direction::Reverse);
        let newest = self.db.iterator_cf(self.family("values")?, from).next().transpose()?;
        Ok(newest.filter(|(key, _)| key.starts_with(key_hash)))
    }

    fn put_square(
        &self,
        batch: &mut WriteBatch,
        height: Height,
        square: &CommittedSquare,
    ) -> Result<(), StoreError> {
        let family = self.family("squares")?;
        let data_root = square.data_root();
        // All rows come at once.
        if self.db.get_pinned_cf(family, row_key(height, &data_root, 0))?.is_some() {
            return Ok(());
        }
        let original = square.original();
        let row_bytes = square.width().get() * SHARE_BYTES;
        for (row, bytes) in original.bytes().chunks(row_bytes).enumerate() {
            if bytes.iter().any(|byte| *byte != 0) {
                batch.put_cf(family, row_key(height, &data_root, row as u16), bytes);
            }
        }
        Ok(())
    }

    fn put_index(
        &self,
        batch: &mut WriteBatch,
        height: Height,
        square: &CommittedSquare,
    ) -> Result<(), StoreError> {
        let parts = square.parts();
        let record = [
            &(parts.width.get() as u32).to_be_bytes()[..],
            &parts.axis_root,
            &parts.index_root,
            &square.index().encode(),
        ]
        .concat();
        batch.put_cf(self.family("indexes")?, height.to_be_bytes(), record);
        Ok(())
    }

    /// Keeps a block that this node is about to vote for, with its square.
    pub(crate) fn put_candidate(
        &self,
        valid: &ValidBlock,
        square: Option<&CommittedSquare>,
    ) -> Result<(), StoreError> {
        let height = valid.block.header.height.value();
        let mut batch = WriteBatch::default();
        if let Some(square) = square {
            self.put_square(&mut batch, height, square)?;
        }
        let hash = valid.block.header.hash();
        batch.put_cf(self.family("candidates")?, key(height, hash.as_bytes()), valid.block.encode());
        self.write_undecided(height, batch)
    }

    /// Keeps a square that a block of `height` may have.
    pub(crate) fn put_undecided_square(
        &self,
        height: Height,
        square: &CommittedSquare,
    ) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put_square(&mut batch, height, square)?;
        self.write_undecided(height, batch)
    }

    /// A block kept by [`Self::put_candidate`].
    pub(crate) fn candidate(&self, height: Height, header_hash: &[u8]) -> Result<Option<Block>, StoreError> {
        let bytes = self.get("candidates", &key(height, header_hash))?;
        bytes.map(|bytes| Block::decode(&bytes).map_err(|_| StoreError::Corrupt("candidate"))).transpose()
    }

    /// Keeps what consensus may still decide at `height`.
    pub(crate) fn put_undecided(&self, height: Height, bytes: &[u8]) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("undecided")?, key(height, &erasure::sha256(bytes)), bytes);
        self.write_undecided(height, batch)
    }

    /// All that [`Self::put_undecided`] kept for `height`.
    pub(crate) fn undecided(&self, height: Height) -> Result<Vec<Vec<u8>>, StoreError> {
        self.scan("undecided", &height.to_be_bytes())?.map(|record| Ok(record?.1.into_vec())).collect()
    }

    /// Commits a decided block: block, commit, state and indexes in one batch; drops what was undecided. A square
    /// that is in hand was written before the vote.
    pub(crate) fn commit_block(&self, valid: &ValidBlock, commit: &Commit) -> Result<(), StoreError> {
        let _deciding = self.deciding();
        let height = valid.block.header.height.value();
        let at = height.to_be_bytes();
        let mut batch = WriteBatch::default();
        batch.put_cf(self.family("blocks")?, at, valid.block.encode());
        batch.put_cf(self.family("commits")?, at, RawCommit::from(commit.clone()).encode_to_vec());
        self.put_state(&mut batch, &valid.update)?;
        for (position, Receipt { id, charged, .. }) in valid.receipts.iter().enumerate() {
            let record = [&at[..], &(position as u32).to_be_bytes(), &charged.to_be_bytes()].concat();
            batch.put_cf(self.family("transactions")?, id.0, record);
        }
        for (position, entry) in valid.placement.index.entries().iter().enumerate().skip(1) {
            let place = [&at[..], &(position as u32).to_be_bytes()].concat();
            let key = [&entry.commitment[..], &place].concat();
            batch.put_cf(self.family("commitments")?, key, []);
            for foreign in &entry.foreign {
                batch.put_cf(self.family("foreign")?, [foreign_prefix(foreign), place.clone()].concat(), []);
            }
        }
        if let Some(root) = valid.block.header.data_hash {
            batch.put_cf(self.family("roots")?, at, root.as_bytes());
        }
        let decided = valid.block.header.data_hash.map(|hash| key(height, hash.as_bytes()));
        match &valid.square {
            Some(square) => self.put_index(&mut batch, height, square)?,
            None => batch.put_cf(self.family("missing")?, at, []),
        }
        for family in ["undecided", "candidates", "squares"] {
            for record in self.scan(family, &at)? {
                let (key, _) = record?;
                let is_decided =
                    family == "squares" && decided.as_ref().is_some_and(|prefix| key.starts_with(prefix));
                if !is_decided {
                    batch.delete_cf(self.family(family)?, key);
                }
            }
        }
        batch.put_cf(self.family("meta")?, b"tip", at);
        self.write(batch)
    }

    /// Keeps the square of a block that was committed without it.
    pub(crate) fn backfill(&self, height: Height, square: &CommittedSquare) -> Result<(), StoreError> {
        let mut batch = WriteBatch::default();
        self.put_square(&mut batch, height, square)?;
        self.put_index(&mut batch, height, square)?;
        batch.delete_cf(self.family("missing")?, height.to_be_bytes());
        self.write(batch)
    }

    /// The heights whose squares are still to be fetched.
    pub(crate) fn missing(&self) -> Result<BTreeSet<Height>, StoreError> {
        self.scan("missing", &[])?
            .map(|record| Ok(u64::from_be_bytes(number(&record?.0, 0, "missing")?)))
            .collect()
    }

    /// The roots and the index of the block's square; `None` while the square is not here.
    pub(crate) fn index(&self, height: Height) -> Result<Option<(DataRootParts, Index)>, StoreError> {
        let Some(bytes) = self.get("indexes", &height.to_be_bytes())? else { return Ok(None) };
        let corrupt = || StoreError::Corrupt("index");
        let index = Index::decode(bytes.get(68..).ok_or_else(corrupt)?).map_err(|_| corrupt())?;
        Ok(Some((parts_of(&bytes)?, index)))
    }

    /// The roots of the block's square; `None` while the square is not here.
    pub(crate) fn parts(&self, height: Height) -> Result<Option<DataRootParts>, StoreError> {
        let bytes = self.get("indexes", &height.to_be_bytes())?;
        bytes.map(|bytes| parts_of(&bytes)).transpose()
    }

    /// Shares `start .. start + count` of a square of this width; `None` once it was dropped.
    pub(crate) fn shares(
        &self,
        height: Height,
        data_root: &Digest,
        width: Width,
        start: u32,
        count: u32,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let row_bytes = width.get() * SHARE_BYTES;
        let (first, end) = (start as usize * SHARE_BYTES, (start as usize + count as usize) * SHARE_BYTES);
        let rows = first / row_bytes..end.div_ceil(row_bytes);
        let mut bytes = Vec::with_capacity(rows.len() * row_bytes);
        for row in rows.clone() {
            let key = row_key(height, data_root, row as u16);
            match self.db.get_pinned_cf(self.family("squares")?, key)? {
                Some(row) if row.len() == row_bytes => bytes.extend_from_slice(&row),
                Some(_) => return Err(StoreError::Corrupt("square")),
                None => bytes.resize(bytes.len() + row_bytes, 0),
            }
        }
        let skipped = rows.start * row_bytes;
        bytes.truncate(end - skipped);
        bytes.drain(..first - skipped);
        // Rows that were dropped meanwhile would have read as zeroes.
        Ok((height > self.pruned()).then_some(bytes))
    }

    /// The earliest place of a blob whose square was not dropped, or else the earliest: height and position in the
    /// index.
    pub(crate) fn find(&self, name: &BlobName) -> Result<Option<(Height, u32)>, StoreError> {
        let (family, prefix) = match name {
            BlobName::Commitment(commitment) => ("commitments", commitment.to_vec()),
            BlobName::Foreign(foreign) => ("foreign", foreign_prefix(foreign)),
        };
        let kept = [&prefix[..], &self.pruned().saturating_add(1).to_be_bytes()].concat();
        let from = IteratorMode::From(&kept, Direction::Forward);
        let kept = self.db.iterator_cf(self.family(family)?, from).next().transpose()?;
        let first = || self.scan(family, &prefix)?.next().transpose();
        let record = match kept.filter(|(key, _)| key.starts_with(&prefix)) {
            None => first()?,
            kept => kept,
        };
        let Some((key, _)) = record else { return Ok(None) };
        Ok(Some((
            u64::from_be_bytes(number(&key, prefix.len(), family)?),
            u32::from_be_bytes(number(&key, prefix.len() + 8, family)?),
        )))
    }

    /// Where a transaction was included.
    pub(crate) fn transaction(&self, id: &TxId) -> Result<Option<Included>, StoreError> {
        let Some(bytes) = self.get("transactions", &id.0)? else { return Ok(None) };
        Ok(Some(Included {
            height: u64::from_be_bytes(number(&bytes, 0, "transaction")?),
            position: u32::from_be_bytes(number(&bytes, 8, "transaction")?),
            charged: u64::from_be_bytes(number(&bytes, 12, "transaction")?),
        }))
    }
}

/// The beginning of a record of `indexes`.
fn parts_of(bytes: &[u8]) -> Result<DataRootParts, StoreError> {
    let width = Width::new(u32::from_be_bytes(number(bytes, 0, "index")?));
    Ok(DataRootParts {
        width: width.map_err(|_| StoreError::Corrupt("index"))?,
        axis_root: number(bytes, 4, "index")?,
        index_root: number(bytes, 36, "index")?,
    })
}

impl StateStore for Store {
    fn node(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StateError> {
        self.get("nodes", key).map_err(|error| StateError::Store(error.to_string()))
    }

    fn value(&self, key_hash: &[u8; 32], at_most: Height) -> Result<Option<Vec<u8>>, StateError> {
        let newest = self.value_record(key_hash, at_most);
        let newest = newest.map_err(|error| StateError::Store(error.to_string()))?;
        Ok(newest.and_then(|(_, record)| flag::value(&record)))
    }
}

/// Records of `values`: 1 ‖ value, or 0 for a deleted one.
mod flag {
    pub(super) fn record(value: Option<&[u8]>) -> Vec<u8> {
        [&[u8::from(value.is_some())][..], value.unwrap_or_default()].concat()
    }

    pub(super) fn value(record: &[u8]) -> Option<Vec<u8>> {
        match record.split_first() {
            Some((1, value)) => Some(value.to_vec()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests;
