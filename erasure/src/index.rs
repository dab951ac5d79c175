//! The index: the sorted list of a block's blobs, and where each lies.
//!
//! The transaction blob's entry is the first; the others follow by (namespace, transaction order, blob
//! order), each starting where the one before ends. Placement is that sort and a running sum, so the
//! index is a pure function of the transaction blob.
//!
//! ```text
//! encoding: count: u32 BE ‖ count × entry
//! ```

use crate::{
    BlobMeta, DataRootParts, DecodeError, Digest, IndexEntry, LayoutError, Namespace, ProofError, Width,
    blob_commitment,
    commitment::{entry_inner, entry_leaf, index_root},
    entry::check_sequence,
    layout::{MAX_TRANSACTION_BLOB_BYTES, transaction_list},
    tree::Tree,
    wire::{Reader, bound, encoding},
};

/// The sorted list of a block's blobs, with its tree.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Index {
    entries: Vec<IndexEntry>,
    tree: Tree,
}

/// Where a block's blobs go.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    /// The entries, the transaction blob's first.
    pub index: Index,
    /// The smallest width that holds them.
    pub width: Width,
    /// Blob i of the index, counted after the transaction blob, is blob `order[i]` of the input.
    pub order: Vec<usize>,
}

impl Index {
    /// Places the transaction blob and `blobs`, given by (transaction order, blob order).
    ///
    /// # Errors
    /// The transaction blob is not [`transaction_blob`](crate::transaction_blob)'s output or too long;
    /// a blob is empty, in the reserved namespace or has foreign commitments out of order; or all
    /// together exceed `k_max`.
    pub fn place(
        transaction_blob: &[u8],
        blobs: Vec<BlobMeta>,
        k_max: Width,
    ) -> Result<Placement, LayoutError> {
        let (limit, got) = (MAX_TRANSACTION_BLOB_BYTES, transaction_blob.len());
        if got > limit {
            return Err(LayoutError::TransactionBlobTooLong { limit, got });
        }
        let declared = transaction_list(transaction_blob)?.len();
        if declared + 4 != got {
            return Err(LayoutError::TransactionBlobLength { declared, got: got - 4 });
        }
        let transactions = BlobMeta {
            namespace: Namespace::TRANSACTIONS,
            commitment: blob_commitment(&Namespace::TRANSACTIONS, transaction_blob),
            len: got as u64,
            signer: [0; 20],
            foreign: Vec::new(),
        };
        let mut blobs: Vec<(usize, BlobMeta)> = blobs.into_iter().enumerate().collect();
        blobs.sort_by_key(|(_, blob)| blob.namespace);
        let (order, blobs): (Vec<_>, Vec<_>) = blobs.into_iter().unzip();

        let limit = k_max.shares() as u64;
        let mut start = 0;
        let entries = std::iter::once(transactions).chain(blobs).map(|blob| {
            let entry = IndexEntry::at(start, blob);
            match u32::try_from(entry.end()) {
                Ok(end) if u64::from(end) <= limit => start = end,
                _ => {
                    return Err(LayoutError::TooManyShares { limit, got: entry.end() });
                }
            }
            Ok(entry)
        });
        let index = Self::from_entries(entries.collect::<Result<_, _>>()?)?;
        Ok(Placement { width: index.width(), index, order })
    }

    /// The index of these entries.
    fn from_entries(entries: Vec<IndexEntry>) -> Result<Self, LayoutError> {
        let Some((first, blobs)) = entries.split_first() else {
            return Err(LayoutError::NoTransactionBlob);
        };
        if !first.namespace.is_reserved() || first.start != 0 {
            return Err(LayoutError::NoTransactionBlob);
        }
        if let Some(entry) = blobs.iter().find(|entry| entry.namespace.is_reserved()) {
            return Err(LayoutError::ReservedNamespace { start: entry.start });
        }
        entries.iter().try_for_each(IndexEntry::check)?;
        check_sequence(&entries)?;
        let leaves = entries.iter().map(|entry| entry_leaf(&entry.encode())).collect();
        Ok(Self { tree: Tree::new(leaves, entry_inner), entries })
    }

    /// All entries, the transaction blob's first.
    #[must_use]
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The smallest width that holds all blobs.
    #[must_use]
    pub fn width(&self) -> Width {
        let shares = self.entries.last().map_or(0, IndexEntry::end);
        Width::fitting(shares, Width::MAX).unwrap_or(Width::MAX)
    }

    /// The commitment to the index: the data root's `index_root`.
    #[must_use]
    pub fn root(&self) -> Digest {
        index_root(self.count(), &self.tree.root())
    }

    /// The entries of a namespace, in order.
    #[must_use]
    pub fn namespace(&self, namespace: Namespace) -> &[IndexEntry] {
        let start = self.entries.partition_point(|entry| entry.namespace < namespace);
        let end = self.entries.partition_point(|entry| entry.namespace <= namespace);
        &self.entries[start..end]
    }

    /// Checks that this is the index of the block with this data root, and its square no wider than
    /// needed.
    ///
    /// # Errors
    /// `parts` or the index is another block's, or the width is not minimal.
    pub fn verify(self, parts: DataRootParts, data_root: &Digest) -> Result<VerifiedIndex, ProofError> {
        let got = DataRootParts { index_root: self.root(), ..parts }.data_root();
        ProofError::unless_equal(data_root, got)?;
        if parts.width != self.width() {
            return Err(ProofError::Width { expected: self.width(), got: parts.width });
        }
        Ok(VerifiedIndex { index: self, data_root: *data_root })
    }

    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.entries.len()).unwrap_or(u32::MAX)
    }

    pub(crate) fn tree(&self) -> &Tree {
        &self.tree
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.count().to_be_bytes());
        self.entries.iter().for_each(|entry| entry.write(out));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = read_count(reader)?;
        Ok(Self::from_entries(read_entries(reader, count)?)?)
    }
}
encoding!(Index);

/// Reads how many entries there are: at most one for every share of the largest square.
pub(crate) fn read_count(reader: &mut Reader<'_>) -> Result<usize, DecodeError> {
    bound("index entries", reader.u32()?.into(), 1, Width::MAX.shares() as u64)
}

/// Reads `count` entries, checking first that the input is long enough for them.
pub(crate) fn read_entries(reader: &mut Reader<'_>, count: usize) -> Result<Vec<IndexEntry>, DecodeError> {
    let (needed, got) = (count.saturating_mul(IndexEntry::MIN_BYTES), reader.remaining());
    if needed > got {
        return Err(DecodeError::Truncated { needed, got });
    }
    (0..count).map(|_| IndexEntry::read(reader)).collect()
}

/// An index, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedIndex {
    index: Index,
    data_root: Digest,
}

impl VerifiedIndex {
    /// The index.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// What it was checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }

    /// The index, without the proof that it was checked.
    #[must_use]
    pub fn into_index(self) -> Index {
        self.index
    }
}
