//! Snapshots: the whole state after a height, for a node that starts from a trusted header and no history.
//!
//! ```text
//!  State::chunks ─▶ StateChunk … ─────────────────────▶ StateRestore::add ─▶ StateUpdate …
//!  SnapshotHead ─ verify(trusted header) ─▶ VerifiedSnapshot ┘ root
//! ```
//!
//! | stream | bytes |
//! | --- | --- |
//! | magic | `weft/snapshot/1` |
//! | head | length: u32 BE ‖ protobuf: light block at h in field 1, at h + 1 in field 2 |
//! | chunks | length: u32 BE ‖ count: u32 BE ‖ count × (key hash: 32 ‖ length: u32 BE ‖ value) ‖ right siblings |
//! | end | 0: u32 |
//!
//! The header at h + 1 carries the root of the state after h; the one at h, with its commit, is what the next block
//! builds on. Values ascend by key hash. The right siblings of a chunk's last value (Borsh: count: u32 **LE**, each as
//! in a state proof), with all values up to it, lead to the root: what has been changed, left out or added shows in
//! the chunk where it is, before any of that is handed on. The head comes first, so that nothing is read from a source
//! whose header is not the trusted one.

use std::{
    fmt,
    iter::Peekable,
    sync::{Arc, Mutex, PoisonError},
};

use jmt::{
    JellyfishMerkleIterator, KeyHash, RootHash,
    proof::SparseMerkleRangeProof,
    restore::{JellyfishMerkleRestore, StateSnapshotReceiver as _},
    storage::{NodeBatch, TreeWriter},
};
use prost::Message;
use sha2::Sha256;
use tendermint::Time;

use crate::{
    Height,
    codec::{DecodeError, fixed},
    genesis::{Checkpoint, Genesis},
    header::{HeaderError, LightBlock, TrustOptions, VerifiedHeader},
    state::{MemoryState, State, StateError, StateStore, StateUpdate, written},
    state_proof::check_siblings,
    succession::verify_last_commit,
    tree_reader::{self, Reader},
};

/// What a snapshot begins with.
pub const SNAPSHOT_MAGIC: &[u8; 15] = b"weft/snapshot/1";

/// Longest part of a snapshot: two light blocks of their longest fit, and by far any value.
pub const SNAPSHOT_PART_BYTES: usize = 16 << 20;

/// Bytes of keys and values after which a chunk ends.
const CHUNK_BYTES: usize = 1 << 20;

/// Why a snapshot is not what a node may start from. Its source is at fault unless told otherwise.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SnapshotError {
    /// No snapshot, or a torn one.
    #[error("not a snapshot of this version: {0}")]
    Decode(#[from] DecodeError),
    /// The checkpoint is of a height whose header the snapshot does not hold: the header has to be verified otherwise.
    #[error(
        "the snapshot is of height {height}: only a checkpoint of height {height} or {} verifies it alone, got {got}",
        height + 1
    )]
    OtherHeight {
        /// Of the state.
        height: Height,
        /// The checkpoint's.
        got: Height,
    },
    /// Not under the header that is trusted.
    #[error("the snapshot's header {height} has hash {got}, the trusted one has {expected}")]
    OtherHeader {
        /// Of the header.
        height: Height,
        /// Trusted.
        expected: String,
        /// Found.
        got: String,
    },
    /// Of a chain with other parameters: the source, or the operator's genesis, is another chain's.
    #[error("the snapshot is of a chain with other parameters than this genesis has")]
    OtherParameters,
    /// The checkpoint or a header does not hold.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The commit that the next block builds on does not hold.
    #[error("the commit of the snapshot's header {height} does not hold: {reason}")]
    Commit {
        /// Of the header.
        height: Height,
        /// Why.
        reason: String,
    },
    /// Values were changed, left out or added.
    #[error("the values do not lead to the state root in the trusted header: {0}")]
    Values(String),
    /// Values are missing at the end.
    #[error("the snapshot ends before the state is whole")]
    Incomplete,
}

/// What comes first in a snapshot; nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotHead {
    /// The header after which this is the state, and the commit that the next block builds on.
    pub last: LightBlock,
    /// The next one, whose `app_hash` is the root of the state.
    pub next: LightBlock,
}

#[derive(Clone, PartialEq, Message)]
struct HeadMessage {
    #[prost(bytes = "vec", tag = "1")]
    last: Vec<u8>,
    #[prost(bytes = "vec", tag = "2")]
    next: Vec<u8>,
}

impl SnapshotHead {
    /// The bytes described above.
    pub fn encode(&self) -> Vec<u8> {
        HeadMessage { last: self.last.encode(), next: self.next.encode() }.encode_to_vec()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let HeadMessage { last, next } = HeadMessage::decode(bytes)?;
        Ok(Self { last: LightBlock::decode(&last)?, next: LightBlock::decode(&next)? })
    }

    /// The height after which this is the state.
    pub fn height(&self) -> Height {
        self.last.height()
    }

    /// The header that carries the root, verified from a checkpoint that is one of the snapshot's two headers.
    pub fn trusted(
        &self,
        chain_id: &str,
        checkpoint: &Checkpoint,
        now: Time,
        options: &TrustOptions,
    ) -> Result<VerifiedHeader, SnapshotError> {
        let from = |block: &LightBlock| {
            VerifiedHeader::from_checkpoint(block.clone(), chain_id, checkpoint, now, options)
        };
        if checkpoint.height == self.next.height() {
            Ok(from(&self.next)?)
        } else if checkpoint.height == self.height() {
            Ok(from(&self.last)?.advance(self.next.clone(), now, options)?)
        } else {
            Err(SnapshotError::OtherHeight { height: self.height(), got: checkpoint.height })
        }
    }

    /// Checks the head against `trusted`, the verified header that should carry the root: it is that one, not older
    /// than headers may be that others are verified from, and the previous header is the one it names, with a commit.
    pub fn verify(
        self,
        genesis: &Genesis,
        trusted: &VerifiedHeader,
        now: Time,
        options: &TrustOptions,
    ) -> Result<VerifiedSnapshot, SnapshotError> {
        let header = &self.next.signed_header.header;
        if header.hash().as_bytes() != trusted.hash() {
            return Err(SnapshotError::OtherHeader {
                height: self.next.height(),
                expected: hex::encode(trusted.hash()),
                got: header.hash().to_string().to_lowercase(),
            });
        }
        if header.consensus_hash != genesis.parameters.hash() {
            return Err(SnapshotError::OtherParameters);
        }
        trusted.check_age(now, options)?;
        let height = self.height();
        let last = trusted.step_back(self.last)?;
        let block = last.light_block();
        verify_last_commit(last.header(), &block.signed_header.commit, &block.validators)
            .map_err(|error| SnapshotError::Commit { height, reason: error.to_string() })?;
        let root = trusted.header().app_hash.as_bytes().try_into();
        let root = root.map_err(|_| SnapshotError::Values("the header has no root of 32 bytes".into()))?;
        Ok(VerifiedSnapshot { last, next: trusted.hash(), root })
    }
}

/// A snapshot's head under a trusted header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VerifiedSnapshot {
    last: VerifiedHeader,
    next: [u8; 32],
    root: [u8; 32],
}

impl VerifiedSnapshot {
    /// The header after which this is the state.
    pub fn last(&self) -> &VerifiedHeader {
        &self.last
    }

    /// The hash of the header that carries the root.
    pub fn next_hash(&self) -> [u8; 32] {
        self.next
    }

    /// Takes the values.
    pub fn restore(&self) -> StateRestore {
        StateRestore::new(self.last.height(), self.root)
    }
}

/// Consecutive values of a state, with what leads from the last of them to the root.
#[derive(Clone, Debug, PartialEq)]
pub struct StateChunk {
    values: Vec<(KeyHash, Vec<u8>)>,
    proof: SparseMerkleRangeProof<Sha256>,
}

impl StateChunk {
    /// How many values there are.
    pub fn count(&self) -> usize {
        self.values.len()
    }

    /// The bytes described above.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = (self.values.len() as u32).to_be_bytes().to_vec();
        for (key, value) in &self.values {
            bytes.extend_from_slice(&key.0);
            bytes.extend_from_slice(&(value.len() as u32).to_be_bytes());
            bytes.extend_from_slice(value);
        }
        // Writing to memory does not fail.
        bytes.extend(borsh::to_vec(&self.proof).unwrap_or_default());
        bytes
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, DecodeError> {
        let torn = |got: &[u8], expected| DecodeError::Length { field: "chunk", expected, got: got.len() };
        let mut take = |len: usize| {
            let (taken, rest) = bytes.split_at_checked(len).ok_or_else(|| torn(bytes, len))?;
            bytes = rest;
            Ok::<_, DecodeError>(taken)
        };
        let count = u32::from_be_bytes(fixed("chunk.count", take(4)?)?);
        let mut values = Vec::new();
        for _ in 0..count {
            let key = KeyHash(fixed("chunk.key", take(32)?)?);
            let len = u32::from_be_bytes(fixed("chunk.length", take(4)?)?);
            values.push((key, take(len as usize)?.to_vec()));
        }
        check_siblings("chunk.proof", bytes, 0)?;
        let proof = borsh::from_slice(bytes)
            .map_err(|error| DecodeError::Field { field: "chunk.proof", reason: error.to_string() })?;
        Ok(Self { values, proof })
    }
}

/// All values of a state by key hash, in chunks.
pub struct StateChunks<'a, S: StateStore> {
    state: State<'a, S>,
    /// None once reading failed.
    values: Option<Peekable<JellyfishMerkleIterator<Reader<'a, S>>>>,
}

impl<S: StateStore> fmt::Debug for StateChunks<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateChunks").finish_non_exhaustive()
    }
}

fn failed(error: impl fmt::Display) -> StateError {
    StateError::Store(format!("{error:#}"))
}

impl<'a, S: StateStore> State<'a, S> {
    /// The whole state, chunk by chunk.
    pub fn chunks(self) -> Result<StateChunks<'a, S>, StateError> {
        let reader = Arc::new(Reader(self.store()));
        let values =
            JellyfishMerkleIterator::new(reader, self.version(), KeyHash([0; 32])).map_err(failed)?;
        Ok(StateChunks { state: self, values: Some(values.peekable()) })
    }
}

impl<S: StateStore> StateChunks<'_, S> {
    fn chunk(&self, values: Vec<(KeyHash, Vec<u8>)>, last: KeyHash) -> Result<StateChunk, StateError> {
        let version = self.state.version();
        let proof = tree_reader::prove(self.state.store(), |tree| tree.get_range_proof(last, version))?;
        Ok(StateChunk { values, proof })
    }
}

impl<S: StateStore> Iterator for StateChunks<'_, S> {
    type Item = Result<StateChunk, StateError>;

    fn next(&mut self) -> Option<Self::Item> {
        let reading = self.values.as_mut()?;
        let (mut values, mut bytes) = (Vec::new(), 0);
        // A long value has a chunk of its own.
        while bytes < CHUNK_BYTES
            && let Some(read) = reading.next_if(|next| {
                values.is_empty() || next.as_ref().map_or(true, |(_, value)| value.len() < CHUNK_BYTES)
            })
        {
            match read {
                Ok((key, value)) => {
                    bytes += 36 + value.len();
                    values.push((key, value));
                }
                Err(error) => {
                    self.values = None;
                    return Some(Err(failed(error)));
                }
            }
        }
        let (last, _) = values.last()?;
        let last = *last;
        Some(self.chunk(values, last))
    }
}

/// Collects what jmt writes.
#[derive(Default)]
struct Written(Mutex<NodeBatch>);

impl Written {
    fn take(&self) -> NodeBatch {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl TreeWriter for Written {
    fn write_node_batch(&self, batch: &NodeBatch) -> anyhow::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).merge(batch.clone());
        Ok(())
    }
}

/// Rebuilds a state under a root from its chunks, in order, with as little memory as a chunk takes. After an error
/// nothing that comes of it is of use.
pub struct StateRestore {
    version: Height,
    root: [u8; 32],
    written: Arc<Written>,
    /// None before the first chunk.
    tree: Option<JellyfishMerkleRestore<Sha256>>,
}

impl fmt::Debug for StateRestore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateRestore").field("version", &self.version).finish_non_exhaustive()
    }
}

impl StateRestore {
    /// The state after the block of `version`, whose root the caller has verified.
    pub fn new(version: Height, root: [u8; 32]) -> Self {
        Self { version, root, written: Arc::default(), tree: None }
    }

    fn values(error: impl fmt::Display) -> SnapshotError {
        SnapshotError::Values(format!("{error:#}"))
    }

    /// Takes the next chunk; what is returned belongs to the state.
    pub fn add(&mut self, chunk: StateChunk) -> Result<StateUpdate, SnapshotError> {
        let tree = match &mut self.tree {
            Some(tree) => tree,
            none => none.insert(
                JellyfishMerkleRestore::new_overwrite(
                    self.written.clone(),
                    self.version,
                    RootHash(self.root),
                )
                .map_err(Self::values)?,
            ),
        };
        tree.add_chunk(chunk.values, chunk.proof).map_err(Self::values)?;
        self.update()
    }

    /// The rest, once the last chunk was taken: with it the state is whole.
    pub fn finish(mut self) -> Result<StateUpdate, SnapshotError> {
        let tree = self.tree.take().ok_or(SnapshotError::Incomplete)?;
        tree.finish().map_err(Self::values)?;
        let update = self.update()?;
        let mut top = MemoryState::default();
        top.apply(update.clone());
        match State::at(&top, self.version).root() {
            Ok(root) if root == self.root => Ok(update),
            _ => Err(SnapshotError::Incomplete),
        }
    }

    fn update(&self) -> Result<StateUpdate, SnapshotError> {
        let (nodes, values) = written(&self.written.take()).map_err(Self::values)?;
        Ok(StateUpdate { version: self.version, root: self.root, nodes, values, stale: Vec::new() })
    }
}
