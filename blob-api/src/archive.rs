//! A namespace's history in a file that verifies offline, from one trusted hash.
//!
//! ```text
//! magic    "weft/archive/1"
//! what     length: u8 ‖ chain id ‖ namespace: 29 ‖ from: u64 ‖ to: u64
//! bridge   count: u16 ‖ count × (length: u32 ‖ light block)           from the exporter's checkpoint up to `top`
//! headers  for top − 1 down to from: length: u16 ‖ header             each named by the one before
//! heights  for from up to to: length: u32 ‖ namespace proof ‖ the blobs' bytes, in the order of the entries
//! ```
//!
//! Integers are big-endian; light blocks are `chain::LightBlock`'s encoding, headers Tendermint's protobuf. `top` is
//! the later of `to` and the exporter's checkpoint.
//!
//! A reader trusts a checkpoint alone. Either the bridge starts at it, and the signatures lead to `top`, which holds
//! while the checkpoint is younger than the trusting period; or it is one of the headers from `to` on, and hashes
//! lead down from it, however old it is. What a length announces is read as it comes, never allocated ahead.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    ops::RangeInclusive,
};

use bytes::Bytes;
use chain::{Checkpoint, HeaderError, Height, LightBlock, NetworkConfig, UnknownRules, VerifiedHeader};
use erasure::{Namespace, NamespaceProof, ProofError, VerifiedNamespace};
use prost::Message as _;
use tendermint::{Hash, Time, block::Header};
use tendermint_proto::v0_38::types::Header as RawHeader;

const MAGIC: &[u8] = b"weft/archive/1";

/// Light blocks in a bridge at most: each but the last replaced a third of the stake.
const BRIDGE_BLOCKS: usize = 4_096;

/// Bytes of a light block at most, which is `chain`'s own limit.
const LIGHT_BLOCK_BYTES: u64 = 4 << 20;

/// Bytes of a namespace proof at most: the index of the largest block.
const PROOF_BYTES: u64 = 256 << 20;

/// Why a file is not read further. What came before it is right.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ArchiveError {
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    Io(io::Error),
    /// The file ends too early.
    #[error("the file ends within {0}")]
    Truncated(&'static str),
    /// Not what such a file holds at that place.
    #[error("{what}: {reason}")]
    Format {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Another chain's.
    #[error("the file is of chain '{got}', network.toml of '{expected}'")]
    Chain {
        /// Wanted.
        expected: String,
        /// Found.
        got: String,
    },
    /// Nothing in the file leads from the trusted checkpoint to all of its heights.
    #[error(
        "the checkpoint at height {got} does not lead to heights {from} to {to}: name one that this file's headers \
         from {to} to {top} hold (`blob export` printed it), or the one that it was exported with, at {start}"
    )]
    Checkpoint {
        /// The trusted height.
        got: Height,
        /// First height of the history.
        from: Height,
        /// Its last.
        to: Height,
        /// The last header.
        top: Height,
        /// Where the bridge starts.
        start: Height,
    },
    /// A header is not the one that the next one names, or the checkpoint.
    #[error("header {height} has another hash than {named_by}")]
    Link {
        /// Which.
        height: Height,
        /// What names the right one.
        named_by: &'static str,
    },
    /// The bridge does not hold.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The history goes on under rules that this program does not know.
    #[error(transparent)]
    UnknownRules(#[from] UnknownRules),
    /// A proof does not hold.
    #[error("height {height}: {error}")]
    Proof {
        /// Where.
        height: Height,
        /// What is wrong.
        error: ProofError,
    },
    /// A blob's bytes are not those of its entry.
    #[error("height {height}, blob {position}: the bytes are not those of its commitment")]
    Blob {
        /// Where.
        height: Height,
        /// Which entry of the namespace.
        position: usize,
    },
}

#[expect(clippy::needless_pass_by_value, reason = "errors as map_err passes them, and texts")]
fn bad(what: &'static str, reason: impl ToString) -> ArchiveError {
    ArchiveError::Format { what, reason: reason.to_string() }
}

/// What a file is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveScope {
    /// The chain's id.
    pub chain_id: String,
    /// Whose blobs.
    pub namespace: Namespace,
    /// Which heights, all of them.
    pub heights: RangeInclusive<Height>,
}

/// Writes a file, part by part in the order above.
#[derive(Debug)]
pub(crate) struct ArchiveWriter<W>(W);

impl<W: Write> ArchiveWriter<W> {
    pub(crate) fn new(mut out: W, scope: &ArchiveScope, bridge: &[VerifiedHeader]) -> io::Result<Self> {
        let (from, to) = (scope.heights.start(), scope.heights.end());
        let too_long = |_| io::Error::other("too long for an archive");
        out.write_all(MAGIC)?;
        out.write_all(&[u8::try_from(scope.chain_id.len()).map_err(too_long)?])?;
        out.write_all(scope.chain_id.as_bytes())?;
        out.write_all(scope.namespace.as_bytes())?;
        out.write_all(&from.to_be_bytes())?;
        out.write_all(&to.to_be_bytes())?;
        out.write_all(&u16::try_from(bridge.len()).map_err(too_long)?.to_be_bytes())?;
        for block in bridge {
            let bytes = block.light_block().encode();
            out.write_all(&u32::try_from(bytes.len()).map_err(too_long)?.to_be_bytes())?;
            out.write_all(&bytes)?;
        }
        Ok(Self(out))
    }

    pub(crate) fn header(&mut self, header: &Header) -> io::Result<()> {
        let bytes = RawHeader::from(header.clone()).encode_to_vec();
        let length = u16::try_from(bytes.len()).map_err(|_| io::Error::other("too long a header"))?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&bytes)
    }

    pub(crate) fn height<'a>(
        &mut self,
        proof: &NamespaceProof,
        blobs: impl Iterator<Item = &'a Bytes>,
    ) -> io::Result<()> {
        let bytes = proof.encode();
        let length = u32::try_from(bytes.len()).map_err(|_| io::Error::other("too long a proof"))?;
        self.0.write_all(&length.to_be_bytes())?;
        self.0.write_all(&bytes)?;
        for blob in blobs {
            self.0.write_all(blob)?;
        }
        Ok(())
    }

    pub(crate) fn finish(mut self) -> io::Result<W> {
        self.0.flush()?;
        Ok(self.0)
    }
}

/// A height of a namespace's history, verified down to the trusted checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchivedHeight {
    /// The height.
    pub height: Height,
    /// The block's time.
    pub time: Time,
    /// All entries of the namespace.
    pub namespace: VerifiedNamespace,
    /// Their bytes, in the same order.
    pub blobs: Vec<Bytes>,
}

/// What is needed of a verified header.
#[derive(Debug)]
struct Root {
    time: Time,
    data_root: [u8; 32],
}

/// An open file whose headers have been verified; an iterator over its heights, which ends after an error.
#[derive(Debug)]
pub struct Archive<R> {
    input: R,
    scope: ArchiveScope,
    next: Height,
    /// From `next` on.
    roots: VecDeque<Root>,
    ended: bool,
}

impl<R: Read> Archive<R> {
    /// Reads and verifies everything before the heights, trusting the checkpoint of `network` and nothing else.
    pub fn open(mut input: R, network: &NetworkConfig, now: Time) -> Result<Self, ArchiveError> {
        let scope = read_scope(&mut input)?;
        if scope.chain_id != network.chain_id {
            return Err(ArchiveError::Chain { expected: network.chain_id.clone(), got: scope.chain_id });
        }
        let (from, to) = (*scope.heights.start(), *scope.heights.end());
        let bridge = read_bridge(&mut input)?;
        let (Some(first), Some(last)) = (bridge.first(), bridge.last()) else {
            return Err(bad("bridge", "it has no light block"));
        };
        let (start, top) = (first.height(), last.height());
        let checkpoint = &network.checkpoint;
        if top < to {
            return Err(bad("bridge", format!("it ends at {top}, before the history's end at {to}")));
        }
        let crossed = start == checkpoint.height && bridge.len() > 1;
        if !crossed && !(to..=top).contains(&checkpoint.height) {
            return Err(ArchiveError::Checkpoint { got: checkpoint.height, from, to, top, start });
        }
        let top_header = last.signed_header.header.clone();
        if crossed {
            cross(bridge, network, now)?;
        }
        let mut roots = VecDeque::new();
        let mut header = top_header;
        loop {
            let height = header.height.value();
            if !crossed || height == checkpoint.height {
                check_checkpoint(&header, checkpoint)?;
            }
            if height <= to {
                let newest = network.trust_options().newest_rules;
                UnknownRules::check(header.version.app, height, newest)?;
                let Some(Hash::Sha256(data_root)) = header.data_hash else {
                    return Err(bad("header", "it has no data root"));
                };
                roots.push_front(Root { time: header.time, data_root });
            }
            if height <= from {
                break;
            }
            let below = read_header(&mut input)?;
            let named = header.last_block_id.map(|id| id.hash);
            if below.height.value() + 1 != height || named != Some(below.hash()) {
                return Err(ArchiveError::Link { height: height - 1, named_by: "the next header says" });
            }
            header = below;
        }
        Ok(Self { input, next: from, scope, roots, ended: false })
    }

    /// What the file is about.
    pub fn scope(&self) -> &ArchiveScope {
        &self.scope
    }

    fn height(&mut self, root: Root) -> Result<ArchivedHeight, ArchiveError> {
        let (height, Root { time, data_root }) = (self.next, root);
        let length = u32::from_be_bytes(array(&mut self.input, "the length of a proof")?);
        let proof = bytes(&mut self.input, length.into(), PROOF_BYTES, "a namespace proof")?;
        let proof = NamespaceProof::decode(&proof).map_err(|error| bad("namespace proof", error))?;
        let namespace = proof
            .verify(&data_root, self.scope.namespace)
            .map_err(|error| ArchiveError::Proof { height, error })?;
        let mut blobs = Vec::with_capacity(namespace.entries().len());
        for (position, entry) in namespace.entries().iter().enumerate() {
            let blob = bytes(&mut self.input, entry.len, entry.len, "a blob")?;
            if erasure::blob_commitment(&entry.namespace, &blob) != entry.commitment {
                return Err(ArchiveError::Blob { height, position });
            }
            blobs.push(blob.into());
        }
        self.next += 1;
        Ok(ArchivedHeight { height, time, namespace, blobs })
    }
}

impl<R: Read> Iterator for Archive<R> {
    type Item = Result<ArchivedHeight, ArchiveError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let item = match self.roots.pop_front() {
            Some(root) => self.height(root),
            None => {
                self.ended = true;
                match self.input.read(&mut [0]) {
                    Ok(0) => return None,
                    Ok(_) => Err(bad("end", "the file goes on after its last height")),
                    Err(error) => Err(ArchiveError::Io(error)),
                }
            }
        };
        self.ended |= item.is_err();
        Some(item)
    }
}

/// Fails if this is the checkpoint's height, and not its header.
fn check_checkpoint(header: &Header, checkpoint: &Checkpoint) -> Result<(), ArchiveError> {
    let height = header.height.value();
    if height == checkpoint.height && header.hash() != Hash::Sha256(checkpoint.hash) {
        return Err(ArchiveError::Link { height, named_by: "the checkpoint says" });
    }
    Ok(())
}

/// Verifies the bridge by signatures.
fn cross(bridge: Vec<LightBlock>, network: &NetworkConfig, now: Time) -> Result<(), ArchiveError> {
    let options = network.trust_options();
    let mut blocks = bridge.into_iter();
    let Some(first) = blocks.next() else { return Ok(()) };
    let mut at =
        VerifiedHeader::from_checkpoint(first, &network.chain_id, &network.checkpoint, now, &options)?;
    for block in blocks {
        at = at.advance(block, now, &options)?;
    }
    Ok(())
}

fn read_scope(input: &mut impl Read) -> Result<ArchiveScope, ArchiveError> {
    let magic = bytes(input, MAGIC.len() as u64, MAGIC.len() as u64, "the magic")?;
    if magic != MAGIC {
        return Err(bad("magic", "this is no archive of a Weft namespace"));
    }
    let [length] = array(input, "the chain id")?;
    let chain_id = bytes(input, length.into(), u8::MAX.into(), "the chain id")?;
    let chain_id = String::from_utf8(chain_id).map_err(|error| bad("chain id", error))?;
    let namespace: [u8; Namespace::BYTES] = array(input, "the namespace")?;
    let namespace = Namespace::from_bytes(&namespace).map_err(|error| bad("namespace", error))?;
    let from = u64::from_be_bytes(array(input, "the heights")?);
    let to = u64::from_be_bytes(array(input, "the heights")?);
    if from == 0 || to < from || to == u64::MAX {
        return Err(bad("heights", format!("{from} to {to} is no range of heights")));
    }
    Ok(ArchiveScope { chain_id, namespace, heights: from..=to })
}

fn read_bridge(input: &mut impl Read) -> Result<Vec<LightBlock>, ArchiveError> {
    let count = usize::from(u16::from_be_bytes(array(input, "the bridge")?));
    if count > BRIDGE_BLOCKS {
        return Err(bad("bridge", format!("at most {BRIDGE_BLOCKS} light blocks, got {count}")));
    }
    let block = |_| {
        let length = u32::from_be_bytes(array(input, "the bridge")?);
        let block = bytes(input, length.into(), LIGHT_BLOCK_BYTES, "the bridge")?;
        LightBlock::decode(&block).map_err(|error| bad("bridge", error))
    };
    (0..count).map(block).collect()
}

fn read_header(input: &mut impl Read) -> Result<Header, ArchiveError> {
    let length = u16::from_be_bytes(array(input, "the headers")?);
    let raw = bytes(input, length.into(), u16::MAX.into(), "the headers")?;
    let raw = RawHeader::decode(&raw[..]).map_err(|error| bad("header", error))?;
    Header::try_from(raw).map_err(|error| bad("header", error))
}

fn array<const N: usize>(input: &mut impl Read, what: &'static str) -> Result<[u8; N], ArchiveError> {
    let mut out = [0; N];
    match input.read_exact(&mut out) {
        Ok(()) => Ok(out),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Err(ArchiveError::Truncated(what)),
        Err(error) => Err(ArchiveError::Io(error)),
    }
}

/// Exactly `length` bytes; the buffer grows with what is there.
fn bytes(
    input: &mut impl Read,
    length: u64,
    limit: u64,
    what: &'static str,
) -> Result<Vec<u8>, ArchiveError> {
    if length > limit {
        return Err(bad(what, format!("at most {limit} bytes, got {length}")));
    }
    let mut out = Vec::new();
    input.take(length).read_to_end(&mut out).map_err(ArchiveError::Io)?;
    if out.len() as u64 == length { Ok(out) } else { Err(ArchiveError::Truncated(what)) }
}
