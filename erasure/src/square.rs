//! The extended square with its commitments: what proofs are made from.
//!
//! ```text
//!        k     k
//!     ┌─────┬─────┐
//!   k │ Q0  │ Q1  │   Q0 original, Q1 extends its rows,
//!     ├─────┼─────┤   Q2 its columns, Q3 either of them
//!   k │ Q2  │ Q3  │
//!     └─────┴─────┘
//! ```
//!
//! A cell's digest is computed once; its row's tree, its column's and its blob's are built from it.

use std::{fmt, ops::Range};

use crate::{
    Axis, Cell, DataRootParts, Digest, Index, IndexEntry, OriginalSquare, Width,
    commitment::blob_commitment_of_leaves, simd::Cells, tree::Tree,
};

/// The 2k × 2k cells, their digests and the tree over the line roots.
///
/// Cells and digests lie row by row, [`stride`] apart.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ExtendedSquare {
    width: Width,
    cells: Cells,
    digests: Vec<Digest>,
    lines: Tree,
}

/// From one row's start to the next one's. A power of two would put all cells of a column into the same
/// few sets of a cache, so a wide row is followed by one place that stays zero.
pub(crate) const fn stride(width: Width) -> usize {
    let n = width.extended();
    if n < 128 { n } else { n + 1 }
}

impl ExtendedSquare {
    /// What the [`Committer`](crate::Committer) computed.
    pub(crate) fn new(width: Width, cells: Cells, digests: Vec<Digest>, lines: Tree) -> Self {
        Self { width, cells, digests, lines }
    }

    pub(crate) fn width(&self) -> Width {
        self.width
    }

    pub(crate) fn axis_root(&self) -> Digest {
        self.lines.root()
    }

    pub(crate) fn cell(&self, row: usize, column: usize) -> Option<&Cell> {
        let n = self.width.extended();
        if row < n && column < n { self.cells.get(row * stride(self.width) + column) } else { None }
    }

    /// The shares of a range of the original square, by row; none when it leaves the square.
    pub(crate) fn share_rows(&self, range: Range<u32>) -> Option<impl Iterator<Item = Range<usize>>> {
        let stride = stride(self.width);
        let rows = share_rows(self.width, range)?;
        Some(rows.map(move |(row, columns)| row * stride + columns.start..row * stride + columns.end))
    }

    pub(crate) fn original(&self) -> OriginalSquare {
        let k = self.width.get();
        let rows = self.cells.chunks_exact(stride(self.width)).take(k);
        let shares: Vec<Cell> = rows.flat_map(|row| &row[..k]).copied().collect();
        OriginalSquare::from_cells(self.width, shares)
    }
}

/// Every line, as the axis tree orders them.
pub(crate) fn lines(width: Width) -> impl Iterator<Item = (Axis, usize)> {
    let of = move |axis| (0..width.extended()).map(move |index| (axis, index));
    of(Axis::Row).chain(of(Axis::Column))
}

/// A non-empty range of shares as (row, columns); none when it is empty or leaves the square.
pub(crate) fn share_rows(
    width: Width,
    range: Range<u32>,
) -> Option<impl Iterator<Item = (usize, Range<usize>)> + Clone> {
    let (start, end, k) = (range.start as usize, range.end as usize, width.get());
    let rows = start / k..end.div_ceil(k);
    let columns = move |row: usize| start.max(row * k) - row * k..end.min((row + 1) * k) - row * k;
    (start < end && end <= width.shares()).then(|| rows.map(move |row| (row, columns(row))))
}

/// A block's extended square under its data root.
#[derive(Clone, PartialEq, Eq)]
pub struct CommittedSquare {
    square: ExtendedSquare,
    index: Index,
    parts: DataRootParts,
    data_root: Digest,
}

impl CommittedSquare {
    pub(crate) fn new(square: ExtendedSquare, index: Index) -> Self {
        let (width, axis_root) = (square.width(), square.axis_root());
        let parts = DataRootParts { width, axis_root, index_root: index.root() };
        Self { square, index, parts, data_root: parts.data_root() }
    }

    /// The commitment to all of it.
    #[must_use]
    pub const fn data_root(&self) -> Digest {
        self.data_root
    }

    /// What the data root is the hash of.
    #[must_use]
    pub const fn parts(&self) -> DataRootParts {
        self.parts
    }

    /// The original square's width.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.parts.width
    }

    /// The block's blobs.
    #[must_use]
    pub const fn index(&self) -> &Index {
        &self.index
    }

    /// The cell at a place; none outside of the square.
    #[must_use]
    pub fn cell(&self, row: usize, column: usize) -> Option<&Cell> {
        self.square.cell(row, column)
    }

    /// The root of a line; none outside of the square.
    #[must_use]
    pub fn root(&self, axis: Axis, index: usize) -> Option<Digest> {
        self.square.lines.leaf(axis.leaf(self.width(), index)?)
    }

    /// A blob's bytes; none when its range leaves the square.
    #[must_use]
    pub fn blob_bytes(&self, entry: &IndexEntry) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        for row in self.square.share_rows(entry.range())? {
            bytes.extend_from_slice(self.square.cells[row].as_flattened());
        }
        bytes.truncate(usize::try_from(entry.len).ok()?);
        Some(bytes)
    }

    /// The blob commitment of what lies where `entry` says, whatever commitment it holds; none when
    /// its range leaves the square. Bytes after the blob's end count: they should be zero.
    #[must_use]
    pub fn blob_commitment(&self, entry: &IndexEntry) -> Option<Digest> {
        let rows = self.square.share_rows(entry.range())?;
        let leaves = rows.flat_map(|row| &self.square.digests[row]).copied().collect();
        Some(blob_commitment_of_leaves(&entry.namespace, entry.len, leaves))
    }

    /// A copy of the k² shares.
    #[must_use]
    pub fn original(&self) -> OriginalSquare {
        self.square.original()
    }

    /// Bytes of memory that cells, digests and the tree over the lines take: at most 4.3 for each byte of an
    /// original square of 16 shares a line or more.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let ExtendedSquare { cells, digests, lines, .. } = &self.square;
        size_of_val(&**cells) + size_of_val(&**digests) + lines.nodes() * size_of::<Digest>()
    }

    /// The cells of a range of shares; none when it is empty or leaves the square.
    pub(crate) fn shares(&self, range: Range<u32>) -> Option<Vec<Cell>> {
        let rows = self.square.share_rows(range)?;
        Some(rows.flat_map(|row| &self.square.cells[row]).copied().collect())
    }

    /// Its cells and digests, to be overwritten by another square's.
    pub(crate) fn into_buffers(self) -> (Cells, Vec<Digest>) {
        (self.square.cells, self.square.digests)
    }

    /// The tree over a line's cells; the line must exist.
    pub(crate) fn line_tree(&self, axis: Axis, index: usize) -> Tree {
        let (n, stride) = (self.width().extended(), stride(self.width()));
        let (first, step) = match axis {
            Axis::Row => (index * stride, 1),
            Axis::Column => (index, stride),
        };
        Tree::complete((0..n).map(|i| self.square.digests[first + i * step]).collect())
    }

    /// The tree over all line roots.
    pub(crate) fn axis_tree(&self) -> &Tree {
        &self.square.lines
    }
}

impl fmt::Debug for CommittedSquare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CommittedSquare").field("parts", &self.parts).finish_non_exhaustive()
    }
}
