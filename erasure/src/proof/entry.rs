//! One entry of the index, and one foreign commitment of it. Keccak only: an EVM can check both.
//!
//! ```text
//! entry:    k: u16 ‖ axis_root ‖ count: u32 ‖ position: u32 ‖ entry ‖ hashes
//! foreign:  kind: u8 ‖ value ‖ entry proof
//! ```
//!
//! How many hashes there are follows from (count, position).

use super::{ProofError, extend};
use crate::{
    DataRootParts, DecodeError, Digest, ForeignKind, Index, IndexEntry, Width, blob_commitment,
    commitment::{entry_inner, entry_leaf, index_root},
    index::read_count,
    tree::{root_of_range, sibling_count},
    wire::{Reader, bound, encoding},
};

/// What all proofs of the index share: where its root goes in the data root, and how large it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    width: Width,
    axis_root: Digest,
    pub(super) count: u32,
}

impl Header {
    pub(super) fn new(index: &Index, parts: &DataRootParts) -> Self {
        Self { width: parts.width, axis_root: parts.axis_root, count: index.count() }
    }

    /// What these entries, from `first` on, lead to.
    fn parts(&self, first: u32, entries: &[IndexEntry], siblings: &[Digest]) -> Option<DataRootParts> {
        let leaves = entries.iter().map(|entry| entry_leaf(&entry.encode())).collect();
        let root = root_of_range(entry_inner, self.count as usize, first as usize, leaves, siblings)?;
        let Self { width, axis_root, count } = *self;
        Some(DataRootParts { width, axis_root, index_root: index_root(count, &root) })
    }

    /// Checks that these entries are in the index from `first` on, and within the square.
    pub(super) fn verify(
        &self,
        data_root: &Digest,
        first: u32,
        entries: &[IndexEntry],
        siblings: &[Digest],
    ) -> Result<(), ProofError> {
        let parts = self.parts(first, entries, siblings).ok_or(ProofError::Shape)?;
        ProofError::unless_equal(data_root, parts.data_root())?;
        let end = entries.iter().map(IndexEntry::end).max().unwrap_or(0);
        let expected = Width::fitting(end, Width::MAX).unwrap_or(Width::MAX);
        if expected > self.width {
            return Err(ProofError::Width { expected, got: self.width });
        }
        Ok(())
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.extend(self.axis_root);
        out.extend(self.count.to_be_bytes());
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, axis_root) = (reader.width()?, reader.array()?);
        Ok(Self { width, axis_root, count: read_count(reader)? as u32 })
    }
}

/// An entry with its path in the index.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EntryProof {
    header: Header,
    position: u32,
    entry: IndexEntry,
    path: Vec<Digest>,
}

impl Index {
    /// The entry at a position with its proof; none past the end. `parts` are the block's.
    #[must_use]
    pub fn prove_entry(&self, position: usize, parts: DataRootParts) -> Option<EntryProof> {
        Some(EntryProof {
            header: Header::new(self, &parts),
            entry: self.entries().get(position)?.clone(),
            position: u32::try_from(position).ok()?,
            path: self.tree().siblings(position..position + 1),
        })
    }
}

impl EntryProof {
    /// The entry, unchecked.
    #[must_use]
    pub const fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// The width it claims.
    pub(crate) const fn width(&self) -> Width {
        self.header.width
    }

    /// Whether it claims to be the index's last.
    pub(crate) const fn is_last(&self) -> bool {
        self.position + 1 == self.header.count
    }

    /// What it leads to; none when its path has another shape.
    pub(crate) fn parts(&self) -> Option<DataRootParts> {
        self.header.parts(self.position, std::slice::from_ref(&self.entry), &self.path)
    }

    /// Checks that the entry is in the index of the block with this data root.
    ///
    /// # Errors
    /// It is another block's, or forged.
    pub fn verify(self, data_root: &Digest) -> Result<VerifiedEntry, ProofError> {
        let entries = std::slice::from_ref(&self.entry);
        self.header.verify(data_root, self.position, entries, &self.path)?;
        Ok(VerifiedEntry { entry: self.entry, position: self.position, data_root: *data_root })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        out.extend(self.position.to_be_bytes());
        self.entry.write(out);
        extend(out, &self.path);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Header::read(reader)?;
        let (count, position) = (header.count as usize, reader.u32()?);
        let place = bound("position", position.into(), 0, count as u64 - 1)?;
        let entry = IndexEntry::read(reader)?;
        let path = reader.digests(sibling_count(count, place..place + 1))?;
        Ok(Self { header, position, entry, path })
    }
}
encoding!(EntryProof);

/// An entry, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedEntry {
    entry: IndexEntry,
    position: u32,
    data_root: Digest,
}

impl VerifiedEntry {
    /// The entry.
    #[must_use]
    pub const fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// Its position in the index; the transaction blob's is 0.
    #[must_use]
    pub const fn position(&self) -> u32 {
        self.position
    }

    /// What it was checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }

    /// The entry, without the proof that it was checked.
    #[must_use]
    pub fn into_entry(self) -> IndexEntry {
        self.entry
    }

    /// The first foreign commitment of this kind.
    #[must_use]
    pub fn foreign(&self, kind: ForeignKind) -> Option<&Digest> {
        self.entry.foreign(kind)
    }

    /// Checks that these are the blob's bytes, without padding.
    ///
    /// # Errors
    /// Their length or their commitment is not the entry's.
    pub fn check_bytes(&self, bytes: &[u8]) -> Result<(), ProofError> {
        let (expected, got) = (self.entry.len, bytes.len() as u64);
        if expected != got {
            return Err(ProofError::BlobLength { expected, got });
        }
        let (expected, got) = (self.entry.commitment, blob_commitment(&self.entry.namespace, bytes));
        if expected == got { Ok(()) } else { Err(ProofError::BlobCommitment { expected, got }) }
    }
}

/// An entry proof, and the foreign commitment of that entry that it is about.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignProof {
    /// The proof of the entry.
    pub entry_proof: EntryProof,
    /// The scheme.
    pub kind: ForeignKind,
    /// The hash.
    pub value: Digest,
}

impl ForeignProof {
    /// Checks that an entry of the block with this data root holds this foreign commitment.
    ///
    /// # Errors
    /// The entry is another block's or forged, or does not hold it.
    pub fn verify(
        self,
        data_root: &Digest,
        kind: ForeignKind,
        value: &Digest,
    ) -> Result<VerifiedEntry, ProofError> {
        let missing = ProofError::Foreign { kind, value: *value };
        if (self.kind, self.value) != (kind, *value) {
            return Err(missing);
        }
        let entry = self.entry_proof.verify(data_root)?;
        let held = entry.entry.foreign.iter().any(|held| held.kind == kind && held.value == *value);
        if held { Ok(entry) } else { Err(missing) }
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(self.kind as u8);
        out.extend(self.value);
        self.entry_proof.write(out);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, value) = (ForeignKind::try_from(reader.u8()?)?, reader.array()?);
        Ok(Self { entry_proof: EntryProof::read(reader)?, kind, value })
    }
}
encoding!(ForeignProof);
