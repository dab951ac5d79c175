//! What a client remembers, in one redb file.
//!
//! ```text
//!  meta     name                          → bytes   chain, seed, trusted, checkpoint, halt, budget
//!  headers  height                        → (header hash, data root, signed, encoded light block)
//!  reports  height                        → JSON of HeightReport
//!  samples  (height, row, column, axis)   → encoded sample
//!  frauds   proof hash                    → (height, header hash, encoded accusation)
//! ```
//!
//! The file holds the client's secret seed and belongs to one chain. Each [`Batch`] is written
//! whole or not at all, and is on disk when `apply` returns. A write that failed ends the client.

mod frauds;

use std::fs;
use std::path::Path;

use chain::{Checkpoint, LightBlock, NetworkConfig, VerifiedHeader};
use erasure::{Axis, Coordinates, Digest};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition};
use thiserror::Error;

use crate::halt::Halt;
use crate::sampler::{Millis, Seed};
use crate::status::HeightReport;

use frauds::FRAUDS;
pub(crate) use frauds::StoredFraud;

/// The file in the home directory.
const FILE: &str = "light.redb";

/// Bytes of the file that redb may hold in memory.
const CACHE_BYTES: usize = 4 << 20;

/// Names a chain uniquely.
pub(crate) fn chain_name(network: &NetworkConfig) -> String {
    format!("{}/{}", network.chain_id, hex::encode(network.genesis_hash))
}

type CellKey = (u64, u16, u16, u8);
type HeaderRow = (Digest, Digest, bool, &'static [u8]);

const META: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("meta");
const HEADERS: TableDefinition<'_, u64, HeaderRow> = TableDefinition::new("headers");
const REPORTS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("reports");
const SAMPLES: TableDefinition<'_, CellKey, &[u8]> = TableDefinition::new("samples");

const CHAIN: &str = "chain";
const SEED: &str = "seed";
const TRUSTED: &str = "trusted";
/// Two of `height: u64 BE ‖ hash`, set by [`Store::resume`]: the checkpoint that the operator
/// named, and the one of `network.toml` that it stands in for.
const CHECKPOINT: &str = "checkpoint";
/// JSON of [`Halt`].
const HALT: &str = "halt";
/// `charged bytes: u64 BE ‖ milliseconds: u64 BE`.
const BUDGET: &str = "budget";

/// Why the store cannot be used. This machine or its operator is at fault.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The directory cannot be made.
    #[error("{path}: {source}")]
    Directory {
        /// Which one.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// There is no store to resume.
    #[error("{path} holds no light client's state: name the --home that light-client run was given")]
    Nothing {
        /// The directory.
        path: String,
    },
    /// A client has it open.
    #[error("{path} is in use: stop the light client that runs there first")]
    InUse {
        /// The directory.
        path: String,
    },
    /// redb failed.
    #[error("light client's store: {0}")]
    Database(Box<redb::Error>),
    /// The operating system gives no randomness.
    #[error("no randomness for the secret seed: {0}")]
    Randomness(getrandom::Error),
    /// The file belongs to another chain.
    #[error("this directory belongs to chain {got}, not {wanted}: use another --home")]
    OtherChain {
        /// The chain that was asked for.
        wanted: String,
        /// The chain of the file.
        got: String,
    },
    /// The file holds something that this version did not write.
    #[error("light client's store: {0} is damaged: delete the directory to start afresh")]
    Damaged(&'static str),
}

impl<E: Into<redb::Error>> From<E> for StoreError {
    fn from(error: E) -> Self {
        Self::Database(Box::new(error.into()))
    }
}

/// A header as it is kept: verified before it was written.
#[derive(Clone, Debug)]
pub(crate) struct StoredHeader {
    pub(crate) height: u64,
    pub(crate) hash: Digest,
    pub(crate) data_root: Digest,
    /// Whether its commit was checked: not one that a later header names, or a certificate vouches for.
    pub(crate) signed: bool,
    pub(crate) block: Vec<u8>,
}

impl StoredHeader {
    pub(crate) fn new(header: &VerifiedHeader, signed: bool) -> Self {
        Self {
            height: header.height(),
            hash: header.hash(),
            data_root: header.data_root(),
            signed: signed && header.light_block().has_commit(),
            block: header.light_block().encode(),
        }
    }

    pub(crate) fn light_block(&self) -> Result<LightBlock, StoreError> {
        LightBlock::decode(&self.block).map_err(|_| StoreError::Damaged("header"))
    }

    /// Height and hash, trusted because they were verified before.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        let (height, hash) = (self.height, self.hash);
        Checkpoint { height, hash }
    }
}

/// Changes that are written together.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) trusted: Option<u64>,
    pub(crate) headers: Vec<StoredHeader>,
    pub(crate) reports: Vec<HeightReport>,
    pub(crate) samples: Vec<(u64, Coordinates, Vec<u8>)>,
    /// Everything below this height is forgotten.
    pub(crate) forget_below: u64,
    pub(crate) halt: Option<Halt>,
    /// What weighs on the budget, and when that was worked out.
    pub(crate) budget: Option<(u64, Millis)>,
}

impl Batch {
    pub(crate) fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.reports.is_empty() && self.samples.is_empty() && self.halt.is_none()
    }
}

pub(crate) struct Store {
    db: Database,
    seed: Seed,
}

impl Store {
    /// Opens the store in `home`, or makes one with this seed, or a fresh secret one. `chain`
    /// names the chain uniquely.
    pub(crate) fn open(home: &Path, chain: &str, seed: Option<&Seed>) -> Result<Self, StoreError> {
        let path = || home.display().to_string();
        make_private_directory(home).map_err(|source| StoreError::Directory { path: path(), source })?;
        let opened = Database::builder().set_cache_size(CACHE_BYTES).create(home.join(FILE));
        let db = match opened {
            Err(redb::DatabaseError::DatabaseAlreadyOpen) => return Err(StoreError::InUse { path: path() }),
            opened => opened?,
        };
        let write = db.begin_write()?;
        let seed = {
            write.open_table(HEADERS)?;
            write.open_table(REPORTS)?;
            write.open_table(SAMPLES)?;
            write.open_table(FRAUDS)?;
            let mut meta = write.open_table(META)?;
            let known = meta.get(CHAIN)?.map(|name| name.value().to_vec());
            match known {
                Some(name) if name != chain.as_bytes() => {
                    return Err(StoreError::OtherChain {
                        wanted: chain.to_owned(),
                        got: String::from_utf8_lossy(&name).into_owned(),
                    });
                }
                Some(_) => {}
                None => {
                    let seed = seed.cloned().map_or_else(fresh_seed, Ok)?;
                    meta.insert(CHAIN, chain.as_bytes())?;
                    meta.insert(SEED, &seed.as_bytes()[..])?;
                }
            }
            let seed = meta.get(SEED)?.ok_or(StoreError::Damaged(SEED))?;
            let seed = seed.value().try_into();
            Seed::from_bytes(seed.map_err(|_| StoreError::Damaged(SEED))?)
        };
        write.commit()?;
        Ok(Self { db, seed })
    }

    /// Opens the store that is in `home` already.
    pub(crate) fn open_existing(home: &Path, chain: &str) -> Result<Self, StoreError> {
        if !home.join(FILE).exists() {
            return Err(StoreError::Nothing { path: home.display().to_string() });
        }
        Self::open(home, chain, None)
    }

    /// Trusts a new checkpoint, lifts the halt, and forgets what is at and above a height.
    pub(crate) fn resume(
        &self,
        checkpoint: &Checkpoint,
        instead_of: &Checkpoint,
        forget_from: u64,
    ) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            meta.insert(CHECKPOINT, &[encoded(checkpoint), encoded(instead_of)].concat()[..])?;
            meta.remove(HALT)?;
            meta.remove(TRUSTED)?;
            write.open_table(HEADERS)?.retain_in(forget_from.., |_, _| false)?;
            write.open_table(REPORTS)?.retain_in(forget_from.., |_, _| false)?;
            write.open_table(SAMPLES)?.retain_in((forget_from, 0, 0, 0).., |_, _| false)?;
        }
        write.commit()?;
        Ok(())
    }

    /// The checkpoint that the operator named instead of this one of `network.toml`, if any.
    pub(crate) fn checkpoint(&self, network: &Checkpoint) -> Result<Option<Checkpoint>, StoreError> {
        let meta = self.db.begin_read()?.open_table(META)?;
        let Some(bytes) = meta.get(CHECKPOINT)? else {
            return Ok(None);
        };
        let Some(named) = bytes.value().strip_suffix(&encoded(network)[..]) else {
            return Ok(None);
        };
        let parts =
            named.split_first_chunk().and_then(|(height, hash)| Some((*height, hash.try_into().ok()?)));
        let (height, hash) = parts.ok_or(StoreError::Damaged(CHECKPOINT))?;
        Ok(Some(Checkpoint { height: u64::from_be_bytes(height), hash }))
    }

    /// Why the client halted, if it did.
    pub(crate) fn halt(&self) -> Result<Option<Halt>, StoreError> {
        let meta = self.db.begin_read()?.open_table(META)?;
        let json = meta.get(HALT)?;
        let halt = json.map(|json| serde_json::from_slice(json.value()));
        halt.transpose().map_err(|_| StoreError::Damaged(HALT))
    }

    /// What weighs on the budget, and when that was worked out.
    pub(crate) fn budget(&self) -> Result<Option<(u64, Millis)>, StoreError> {
        let meta = self.db.begin_read()?.open_table(META)?;
        let Some(bytes) = meta.get(BUDGET)? else {
            return Ok(None);
        };
        let halves = bytes.value().split_first_chunk().zip(bytes.value().split_last_chunk());
        let ((charged, _), (_, at)) = halves.ok_or(StoreError::Damaged(BUDGET))?;
        Ok(Some((u64::from_be_bytes(*charged), Millis(u64::from_be_bytes(*at)))))
    }

    pub(crate) fn seed(&self) -> &Seed {
        &self.seed
    }

    pub(crate) fn apply(&self, batch: &Batch) -> Result<(), StoreError> {
        let write = self.db.begin_write()?;
        {
            let mut meta = write.open_table(META)?;
            let mut headers = write.open_table(HEADERS)?;
            let mut reports = write.open_table(REPORTS)?;
            let mut samples = write.open_table(SAMPLES)?;
            if let Some(height) = batch.trusted {
                meta.insert(TRUSTED, &height.to_be_bytes()[..])?;
            }
            if let Some(halt) = &batch.halt {
                let json = serde_json::to_vec(halt).map_err(|_| StoreError::Damaged(HALT))?;
                meta.insert(HALT, &json[..])?;
            }
            if let Some((charged, Millis(at))) = batch.budget {
                meta.insert(BUDGET, &[charged.to_be_bytes(), at.to_be_bytes()].concat()[..])?;
            }
            for header in &batch.headers {
                let row = (header.hash, header.data_root, header.signed, &header.block[..]);
                headers.insert(header.height, row)?;
            }
            for report in &batch.reports {
                let json = serde_json::to_vec(report);
                let json = json.map_err(|_| StoreError::Damaged("report"))?;
                reports.insert(report.height, &json[..])?;
            }
            for (height, at, sample) in &batch.samples {
                samples.insert(key(*height, *at), &sample[..])?;
            }
            headers.retain_in(..batch.forget_below, |_, _| false)?;
            reports.retain_in(..batch.forget_below, |_, _| false)?;
            samples.retain_in(..(batch.forget_below, 0, 0, 0), |_, _| false)?;
        }
        write.commit()?;
        Ok(())
    }

    /// The highest verified header.
    pub(crate) fn trusted(&self) -> Result<Option<StoredHeader>, StoreError> {
        let height = {
            let meta = self.db.begin_read()?.open_table(META)?;
            let Some(height) = meta.get(TRUSTED)? else {
                return Ok(None);
            };
            let height = height.value().try_into();
            u64::from_be_bytes(height.map_err(|_| StoreError::Damaged(TRUSTED))?)
        };
        let header = self.header(height)?;
        header.map(Some).ok_or(StoreError::Damaged(TRUSTED))
    }

    pub(crate) fn header(&self, height: u64) -> Result<Option<StoredHeader>, StoreError> {
        let headers = self.db.begin_read()?.open_table(HEADERS)?;
        Ok(headers.get(height)?.map(|row| {
            let (hash, data_root, signed, block) = row.value();
            StoredHeader { height, hash, data_root, signed, block: block.to_vec() }
        }))
    }

    /// Every height's report, lowest first.
    pub(crate) fn reports(&self) -> Result<Vec<HeightReport>, StoreError> {
        let reports = self.db.begin_read()?.open_table(REPORTS)?;
        reports
            .iter()?
            .map(|row| serde_json::from_slice(row?.1.value()).map_err(|_| StoreError::Damaged("report")))
            .collect()
    }

    /// Every kept sample of a block.
    pub(crate) fn samples(&self, height: u64) -> Result<Vec<Vec<u8>>, StoreError> {
        let samples = self.db.begin_read()?.open_table(SAMPLES)?;
        let block = (height, 0, 0, 0)..=(height, u16::MAX, u16::MAX, u8::MAX);
        samples.range(block)?.map(|row| Ok(row?.1.value().to_vec())).collect()
    }
}

fn encoded(checkpoint: &Checkpoint) -> Vec<u8> {
    [&checkpoint.height.to_be_bytes()[..], &checkpoint.hash].concat()
}

fn key(height: u64, at: Coordinates) -> CellKey {
    let axis = match at.axis {
        Axis::Row => 0,
        Axis::Column => 1,
    };
    (height, at.row, at.column, axis)
}

fn fresh_seed() -> Result<Seed, StoreError> {
    let mut seed = [0; 32];
    getrandom::fill(&mut seed).map_err(StoreError::Randomness)?;
    Ok(Seed::from_bytes(seed))
}

/// Makes the directory, readable by its owner only: it holds the secret seed.
fn make_private_directory(path: &Path) -> std::io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, reason = "a failed test panics")]

    use super::*;
    use crate::halt::HaltReason;
    use crate::status::StateReport;

    fn header(height: u64) -> StoredHeader {
        StoredHeader { height, hash: [1; 32], data_root: [2; 32], signed: true, block: vec![3; 10] }
    }

    fn done(height: u64) -> HeightReport {
        let state = StateReport::Available { confidence: 0.999 };
        HeightReport { state, ..HeightReport::pending(height) }
    }

    const AT: Coordinates = Coordinates { row: 7, column: 9, axis: Axis::Column };

    #[test]
    fn everything_survives_a_reopening_and_what_is_old_is_forgotten() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::open(home.path(), "weft-test", None).unwrap();
        let seed = store.seed().clone();
        assert!(store.trusted().unwrap().is_none());
        let batch = Batch {
            trusted: Some(5),
            headers: (1..=5).map(header).collect(),
            reports: (1..=5).map(HeightReport::pending).collect(),
            samples: vec![(3, AT, vec![4; 20]), (4, AT, vec![5; 20])],
            budget: Some((7, Millis(8))),
            ..Batch::default()
        };
        store.apply(&batch).unwrap();
        store.apply(&Batch { forget_below: 4, ..Batch::default() }).unwrap();
        assert!(store.sample(4, AT).unwrap().is_none(), "it is being sampled");
        assert!(store.cells(4).unwrap().is_empty());
        store.apply(&Batch { reports: vec![done(4)], ..Batch::default() }).unwrap();
        assert_eq!(store.cells(4).unwrap(), [AT]);
        drop(store);

        let store = Store::open(home.path(), "weft-test", None).unwrap();
        assert_eq!(store.seed(), &seed);
        assert_eq!(store.trusted().unwrap().unwrap().height, 5);
        assert!(store.header(3).unwrap().is_none());
        assert_eq!(store.header(4).unwrap().unwrap().data_root, [2; 32]);
        let heights: Vec<_> = store.reports().unwrap().iter().map(|r| r.height).collect();
        assert_eq!(heights, [4, 5]);
        assert!(store.sample(3, AT).unwrap().is_none());
        assert_eq!(store.sample(4, AT).unwrap(), Some(vec![5; 20]));
        assert_eq!(store.samples(4).unwrap(), [vec![5; 20]]);
        let row = Coordinates { axis: Axis::Row, ..AT };
        assert!(store.sample(4, row).unwrap().is_none());
        assert_eq!(store.budget().unwrap(), Some((7, Millis(8))));
    }

    #[test]
    fn resuming_lifts_the_halt_and_forgets_what_was_in_doubt() {
        let home = tempfile::tempdir().unwrap();
        assert!(matches!(Store::open_existing(home.path(), "weft"), Err(StoreError::Nothing { .. })));
        let store = Store::open(home.path(), "weft", None).unwrap();
        let halt = Halt {
            height: 4,
            from: 3,
            since: 1,
            reason: HaltReason::Fraud { kind: "split cell".into() },
            evidence: "evidence.json".into(),
        };
        let batch = Batch {
            trusted: Some(5),
            headers: (1..=5).map(header).collect(),
            reports: (1..=5).map(done).collect(),
            samples: vec![(2, AT, vec![4; 20]), (3, AT, vec![5; 20])],
            halt: Some(halt.clone()),
            ..Batch::default()
        };
        store.apply(&batch).unwrap();
        assert!(matches!(Store::open(home.path(), "weft", None), Err(StoreError::InUse { .. })));
        let network = Checkpoint { height: 1, hash: [1; 32] };
        assert_eq!((store.halt().unwrap(), store.checkpoint(&network).unwrap()), (Some(halt), None));
        let named = Checkpoint { height: 7, hash: [9; 32] };
        store.resume(&named, &network, 3).unwrap();
        assert_eq!(store.halt().unwrap(), None);
        // It stands in for the one of network.toml, until that is another.
        assert_eq!(store.checkpoint(&named).unwrap(), None);
        assert_eq!(store.checkpoint(&network).unwrap(), Some(named));
        assert!(store.trusted().unwrap().is_none());
        let heights: Vec<_> = store.reports().unwrap().iter().map(|r| r.height).collect();
        assert_eq!(heights, [1, 2]);
        assert!(store.sample(2, AT).unwrap().is_some() && store.sample(3, AT).unwrap().is_none());
    }

    #[test]
    fn another_chain_is_refused() {
        let home = tempfile::tempdir().unwrap();
        drop(Store::open(home.path(), "weft-a", None).unwrap());
        match Store::open(home.path(), "weft-b", None) {
            Err(StoreError::OtherChain { wanted, got }) => {
                assert_eq!((wanted.as_str(), got.as_str()), ("weft-b", "weft-a"));
            }
            other => panic!("{:?}", other.err()),
        }
    }

    #[test]
    fn two_clients_have_different_secrets() {
        let (a, b) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let a = Store::open(a.path(), "weft", None).unwrap();
        let b = Store::open(b.path(), "weft", None).unwrap();
        assert_ne!(a.seed(), b.seed());
    }
}
