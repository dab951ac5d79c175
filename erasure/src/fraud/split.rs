//! Split cell: a row's tree and a column's commit to different cells where the two lines cross.
//!
//! ```text
//! k: u16 ‖ row: u16 ‖ column: u16 ‖ index_root ‖ by row: half ‖ by column: half
//! half: leaf ‖ log₂ 2k hashes to the line's root ‖ log₂ 2k hashes to the root of all rows, or of all columns
//! ```
//!
//! The axis root is the hash of the two halves' roots.

use super::{FraudError, FraudKind, tree::climb};
use crate::{
    Axis, DataRootParts, DecodeError, Digest, ProofError, Sample, Width,
    commitment::{inner, leaf},
    proof::extend,
    wire::{Reader, bound},
};

/// A cell's digest with its path to the root of all lines of one axis.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Half {
    leaf: Digest,
    line_path: Vec<Digest>,
    axis_path: Vec<Digest>,
}

impl Half {
    fn new(width: Width, sample: &Sample) -> Option<Self> {
        let (leaf, depth) = (leaf(&sample.cell), width.extended().ilog2() as usize);
        let axis_path = sample.axis_path.get(..depth)?.to_vec();
        Some(Self { leaf, line_path: sample.line_path.clone(), axis_path })
    }

    fn root(&self, line: u16, place: u16) -> Digest {
        climb(line.into(), climb(place.into(), self.leaf, &self.line_path), &self.axis_path)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.leaf);
        extend(out, &self.line_path);
        extend(out, &self.axis_path);
    }

    fn read(reader: &mut Reader<'_>, width: Width) -> Result<Self, DecodeError> {
        let depth = width.extended().ilog2() as usize;
        let (leaf, line_path) = (reader.array()?, reader.digests(depth)?);
        Ok(Self { leaf, line_path, axis_path: reader.digests(depth)? })
    }
}

/// Two leaf digests at one place that differ, one in its row's tree, one in its column's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SplitCell {
    width: Width,
    row: u16,
    column: u16,
    index_root: Digest,
    by_row: Half,
    by_column: Half,
}

impl SplitCell {
    /// From two verified samples of one place, one by its row, one by its column; none when they are
    /// not that, or agree.
    #[must_use]
    pub fn new(by_row: &Sample, by_column: &Sample) -> Option<Self> {
        let (width, at, other) = (by_row.width, by_row.coordinates, by_column.coordinates);
        let axes = (at.axis, other.axis) == (Axis::Row, Axis::Column);
        let place = (at.row, at.column) == (other.row, other.column) && width == by_column.width;
        if !axes || !place || by_row.cell == by_column.cell {
            return None;
        }
        Some(Self {
            width,
            row: at.row,
            column: at.column,
            index_root: by_row.index_root,
            by_row: Half::new(width, by_row)?,
            by_column: Half::new(width, by_column)?,
        })
    }

    /// The row and the column.
    #[must_use]
    pub const fn place(&self) -> (u16, u16) {
        (self.row, self.column)
    }

    pub(super) fn check(&self, data_root: &Digest) -> Result<(), FraudError> {
        let (rows, columns) =
            (self.by_row.root(self.row, self.column), self.by_column.root(self.column, self.row));
        let (width, index_root) = (self.width, self.index_root);
        let parts = DataRootParts { width, axis_root: inner(&rows, &columns), index_root };
        ProofError::unless_equal(data_root, parts.data_root())?;
        FraudError::unless_founded(FraudKind::SplitCell, self.by_row.leaf != self.by_column.leaf)
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.extend(self.row.to_be_bytes());
        out.extend(self.column.to_be_bytes());
        out.extend(self.index_root);
        self.by_row.write(out);
        self.by_column.write(out);
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let width = reader.width()?;
        let last = width.extended() as u64 - 1;
        let (row, column) = (reader.u16()?, reader.u16()?);
        bound("row", row.into(), 0, last)?;
        bound("column", column.into(), 0, last)?;
        let index_root = reader.array()?;
        let by_row = Half::read(reader, width)?;
        Ok(Self { width, row, column, index_root, by_row, by_column: Half::read(reader, width)? })
    }
}
