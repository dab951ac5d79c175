//! A contiguous range of shares: a blob, or a part of one.
//!
//! ```text
//! k: u16 ‖ start: u32 ‖ count: u32 ‖ index_root ‖ count cells ‖ hashes for each row ‖ hashes to the axis root
//! ```
//!
//! How many hashes there are follows from (k, start, count): O(log k) in all but the first and the last
//! row, which a range fills.

use std::ops::Range;

use super::{ProofError, extend};
use crate::{
    Axis, Cell, CommittedSquare, DataRootParts, DecodeError, Digest, Width,
    commitment::inner,
    many,
    square::share_rows,
    tree::{root_of_range, sibling_count},
    wire::{Reader, bound, encoding},
};

/// Shares with the hashes that lead to the data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RangeProof {
    pub(crate) width: Width,
    start: u32,
    pub(crate) index_root: Digest,
    cells: Vec<Cell>,
    siblings: Vec<Digest>,
}

impl CommittedSquare {
    /// The shares of a range with their proof; none when it is empty or leaves the square.
    #[must_use]
    pub fn range(&self, range: Range<u32>) -> Option<RangeProof> {
        let DataRootParts { width, index_root, .. } = self.parts();
        let (start, cells) = (range.start, self.shares(range.clone())?);
        let rows = share_rows(width, range.clone())?;
        let in_rows = rows.flat_map(|(row, columns)| self.line_tree(Axis::Row, row).siblings(columns));
        let mut siblings: Vec<Digest> = in_rows.collect();
        siblings.extend(self.axis_tree().siblings(rows_of(width, &range)));
        Some(RangeProof { width, start, index_root, cells, siblings })
    }
}

fn rows_of(width: Width, range: &Range<u32>) -> Range<usize> {
    range.start as usize / width.get()..(range.end as usize).div_ceil(width.get())
}

impl RangeProof {
    /// The range it claims.
    #[must_use]
    pub fn shares(&self) -> Range<u32> {
        self.start..self.start.saturating_add(u32::try_from(self.cells.len()).unwrap_or(u32::MAX))
    }

    /// Checks that these are the shares of that range of the block with this data root.
    ///
    /// # Errors
    /// They are another range's, another block's, or forged.
    pub fn verify(self, data_root: &Digest, range: Range<u32>) -> Result<VerifiedRange, ProofError> {
        if self.shares() != range {
            return Err(ProofError::Range { expected: range, got: self.shares() });
        }
        let (width, index_root) = (self.width, self.index_root);
        let axis_root = self.axis_root(range).ok_or(ProofError::Shape)?;
        ProofError::unless_equal(data_root, DataRootParts { width, axis_root, index_root }.data_root())?;
        Ok(VerifiedRange { start: self.start, bytes: self.cells.into_flattened(), data_root: *data_root })
    }

    fn axis_root(&self, range: Range<u32>) -> Option<Digest> {
        let n = self.width.extended();
        let (mut cells, mut siblings) = (self.cells.as_slice(), self.siblings.as_slice());
        let mut roots = Vec::new();
        for (_, columns) in share_rows(self.width, range.clone())? {
            let (here, below) = cells.split_at_checked(columns.len())?;
            let (path, rest) = siblings.split_at_checked(sibling_count(n, columns.clone()))?;
            let mut leaves = vec![[0; 32]; here.len()];
            many::leaves(here, &mut leaves);
            roots.push(root_of_range(inner, n, columns.start, leaves, path)?);
            (cells, siblings) = (below, rest);
        }
        root_of_range(inner, 2 * n, rows_of(self.width, &range).start, roots, siblings)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.extend(self.start.to_be_bytes());
        out.extend((self.shares().end - self.start).to_be_bytes());
        out.extend(self.index_root);
        extend(out, &self.cells);
        extend(out, &self.siblings);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, start, count) = (reader.width()?, reader.u32()?, reader.u32()?);
        let shares = width.shares() as u64;
        bound("first share", start.into(), 0, shares - 1)?;
        let cells = bound("shares", count.into(), 1, shares - u64::from(start))?;
        let (index_root, cells) = (reader.array()?, reader.cells(cells)?);
        let range = start..start + count;
        let rows = share_rows(width, range.clone()).into_iter().flatten();
        let in_rows: usize = rows.map(|(_, columns)| sibling_count(width.extended(), columns)).sum();
        let above = sibling_count(2 * width.extended(), rows_of(width, &range));
        Ok(Self { width, start, index_root, cells, siblings: reader.digests(in_rows + above)? })
    }
}
encoding!(RangeProof);

/// Shares, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedRange {
    start: u32,
    bytes: Vec<u8>,
    data_root: Digest,
}

impl VerifiedRange {
    /// The first share.
    #[must_use]
    pub const fn start(&self) -> u32 {
        self.start
    }

    /// The shares' bytes: a blob's, with the padding of its last share.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The shares' bytes.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// What they were checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }
}
