//! All entries of a namespace with the neighbours on both sides; or the two neighbours alone, which
//! show that it has none.
//!
//! ```text
//! k: u16 ‖ axis_root ‖ count: u32 ‖ first: u32 ‖ length: u32 ‖ length × entry ‖ hashes
//! ```
//!
//! A neighbour is left out only where the index ends. How many hashes there are follows from (count,
//! first, length).

use super::{ProofError, entry::Header, extend};
use crate::{
    DataRootParts, DecodeError, Digest, Index, IndexEntry, Namespace,
    entry::check_sequence,
    index::read_entries,
    tree::sibling_count,
    wire::{Reader, bound, encoding},
};

/// A contiguous range of the index that encloses a namespace.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NamespaceProof {
    header: Header,
    first: u32,
    entries: Vec<IndexEntry>,
    siblings: Vec<Digest>,
}

impl Index {
    /// All entries of a namespace, or the proof that there are none. `parts` are the block's.
    #[must_use]
    pub fn prove_namespace(&self, namespace: Namespace, parts: DataRootParts) -> NamespaceProof {
        let start = self.entries().partition_point(|entry| entry.namespace < namespace);
        let end = self.entries().partition_point(|entry| entry.namespace <= namespace);
        let range = start.saturating_sub(1)..(end + 1).min(self.entries().len());
        NamespaceProof {
            header: Header::new(self, &parts),
            first: u32::try_from(range.start).unwrap_or(u32::MAX),
            entries: self.entries()[range.clone()].to_vec(),
            siblings: self.tree().siblings(range),
        }
    }
}

impl NamespaceProof {
    /// Checks that these are all of the namespace's entries in the block with this data root.
    ///
    /// # Errors
    /// They are another block's or forged, one is left out, or one is too many.
    pub fn verify(
        mut self,
        data_root: &Digest,
        namespace: Namespace,
    ) -> Result<VerifiedNamespace, ProofError> {
        self.header.verify(data_root, self.first, &self.entries, &self.siblings)?;
        check_sequence(&self.entries)?;
        let ends_here = self.first as usize + self.entries.len() == self.header.count as usize;
        let before = self.entries.partition_point(|entry| entry.namespace < namespace);
        let after = self.entries.split_off(self.entries.partition_point(|e| e.namespace <= namespace));
        let enclosed_left = before == 1 || (before == 0 && self.first == 0);
        let enclosed_right = after.len() == 1 || (after.is_empty() && ends_here);
        if !(enclosed_left && enclosed_right) {
            return Err(ProofError::Incomplete { namespace });
        }
        let entries = self.entries.split_off(before);
        Ok(VerifiedNamespace { namespace, entries, data_root: *data_root })
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.header.write(out);
        out.extend(self.first.to_be_bytes());
        out.extend(u32::try_from(self.entries.len()).unwrap_or(u32::MAX).to_be_bytes());
        self.entries.iter().for_each(|entry| entry.write(out));
        extend(out, &self.siblings);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let header = Header::read(reader)?;
        let (count, first, length) = (header.count as usize, reader.u32()?, reader.u32()?);
        let start = bound("first entry", first.into(), 0, count as u64 - 1)?;
        let length = bound("entries", length.into(), 1, (count - start) as u64)?;
        let entries = read_entries(reader, length)?;
        let siblings = reader.digests(sibling_count(count, start..start + length))?;
        Ok(Self { header, first, entries, siblings })
    }
}
encoding!(NamespaceProof);

/// All entries of a namespace, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedNamespace {
    namespace: Namespace,
    entries: Vec<IndexEntry>,
    data_root: Digest,
}

impl VerifiedNamespace {
    /// The namespace.
    #[must_use]
    pub const fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Its entries, in order. None: the namespace is proven absent from the block.
    #[must_use]
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// Whether the block has nothing of this namespace.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.entries.is_empty()
    }

    /// Its entries, without the proof that they were checked.
    #[must_use]
    pub fn into_entries(self) -> Vec<IndexEntry> {
        self.entries
    }

    /// What they were checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }
}
