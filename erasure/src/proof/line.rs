//! A line, by its first k cells: the other k follow from them.
//!
//! ```text
//! k: u16 ‖ axis: u8 ‖ index: u16 ‖ index_root ‖ k cells ‖ log₂ 4k hashes
//! ```

use super::{ProofError, extend};
use crate::{
    Axis, Cell, CommittedSquare, DataRootParts, DecodeError, Digest, SHARE_BYTES, Width,
    code::Encoder,
    commitment::axis_root_of_line,
    many,
    wire::{Reader, encoding},
};

/// The first k cells of a line with the line's path to the axis root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Line {
    width: Width,
    axis: Axis,
    index: u16,
    index_root: Digest,
    cells: Vec<Cell>,
    path: Vec<Digest>,
}

impl CommittedSquare {
    /// A line with its proof; none outside of the square.
    #[must_use]
    pub fn line(&self, axis: Axis, index: usize) -> Option<Line> {
        let DataRootParts { width, index_root, .. } = self.parts();
        let place = axis.leaf(width, index)?;
        let cells = (0..width.get()).map(|i| match axis {
            Axis::Row => self.cell(index, i).copied(),
            Axis::Column => self.cell(i, index).copied(),
        });
        Some(Line {
            width,
            axis,
            index: u16::try_from(index).ok()?,
            index_root,
            cells: cells.collect::<Option<_>>()?,
            path: self.axis_tree().siblings(place..place + 1),
        })
    }
}

impl Line {
    /// Checks that this is that line of the block with this data root, by extending it: a line that
    /// verifies is a codeword.
    ///
    /// # Errors
    /// It is another line's, another block's, forged, or the committed line is no codeword.
    pub fn verify(
        mut self,
        data_root: &Digest,
        axis: Axis,
        index: usize,
    ) -> Result<VerifiedLine, ProofError> {
        let (expected, got) = ((axis, index), (self.axis, usize::from(self.index)));
        if expected != got {
            return Err(ProofError::Line { expected, got });
        }
        let (width, index_root) = (self.width, self.index_root);
        self.cells.resize(width.extended(), [0; SHARE_BYTES]);
        Encoder::new(width).complete(&mut self.cells);
        let mut leaves = vec![[0; 32]; width.extended()];
        many::leaves(&self.cells, &mut leaves);
        let root = many::root(leaves);
        let axis_root = axis_root_of_line(width, axis, index, root, &self.path);
        let axis_root = axis_root.ok_or(ProofError::Shape)?;
        ProofError::unless_equal(data_root, DataRootParts { width, axis_root, index_root }.data_root())?;
        Ok(VerifiedLine { axis, index, width, cells: self.cells, path: self.path, data_root: *data_root })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.push(self.axis.number());
        out.extend(self.index.to_be_bytes());
        out.extend(self.index_root);
        extend(out, &self.cells);
        extend(out, &self.path);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let width = reader.width()?;
        Ok(Self {
            width,
            axis: Axis::read(reader)?,
            index: reader.u16()?,
            index_root: reader.array()?,
            cells: reader.cells(width.get())?,
            path: reader.digests((2 * width.extended()).ilog2() as usize)?,
        })
    }
}
encoding!(Line);

/// A whole line, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedLine {
    axis: Axis,
    index: usize,
    width: Width,
    cells: Vec<Cell>,
    path: Vec<Digest>,
    data_root: Digest,
}

impl VerifiedLine {
    /// Whether it is a row or a column.
    #[must_use]
    pub const fn axis(&self) -> Axis {
        self.axis
    }

    /// Which one, below 2k.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index
    }

    /// The square's width.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.width
    }

    /// Its 2k cells.
    #[must_use]
    pub fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// Its root's path to the axis root.
    pub(crate) fn path(&self) -> &[Digest] {
        &self.path
    }

    /// What it was checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }
}
