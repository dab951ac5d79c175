//! One cell, through one of its two lines.
//!
//! ```text
//! k: u16 ‖ row: u16 ‖ column: u16 ‖ axis: u8 ‖ index_root ‖ cell ‖ log₂ 2k hashes ‖ log₂ 4k hashes
//! ```

use super::{ProofError, extend};
use crate::{
    Axis, Cell, CommittedSquare, Coordinates, DataRootParts, DecodeError, Digest, Width,
    commitment::{axis_root_of_line, inner, leaf},
    tree::root_of_range,
    wire::{Reader, encoding},
};

/// A cell with its path in its line's tree and that line's path to the axis root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sample {
    pub(crate) width: Width,
    pub(crate) coordinates: Coordinates,
    pub(crate) index_root: Digest,
    pub(crate) cell: Cell,
    pub(crate) line_path: Vec<Digest>,
    pub(crate) axis_path: Vec<Digest>,
}

impl CommittedSquare {
    /// The cell at a place with its proof; none outside of the square.
    #[must_use]
    pub fn sample(&self, at: Coordinates) -> Option<Sample> {
        let cell = *self.cell(at.row.into(), at.column.into())?;
        let DataRootParts { width, index_root, .. } = self.parts();
        let (line, place) = (at.axis.leaf(width, at.line())?, at.place());
        let line_path = self.line_tree(at.axis, at.line()).siblings(place..place + 1);
        let axis_path = self.axis_tree().siblings(line..line + 1);
        Some(Sample { width, coordinates: at, index_root, cell, line_path, axis_path })
    }
}

impl Sample {
    /// Bytes of the longest encoding: at width 512.
    pub const MAX_BYTES: usize = Self::bytes(Width::MAX);

    /// Bytes of an encoding at this width.
    #[must_use]
    pub const fn bytes(width: Width) -> usize {
        let line = width.extended().ilog2() as usize;
        2 + 2 + 2 + 1 + 32 + size_of::<Cell>() + 32 * (line + line + 1)
    }

    /// The cell, unchecked.
    #[must_use]
    pub const fn cell(&self) -> &Cell {
        &self.cell
    }

    /// The place it claims.
    #[must_use]
    pub const fn coordinates(&self) -> Coordinates {
        self.coordinates
    }

    /// Checks that this cell is at this place, through that line, of the block with this data root.
    ///
    /// # Errors
    /// It is another place's, another block's, or forged.
    pub fn verify(self, data_root: &Digest, at: Coordinates) -> Result<VerifiedSample, ProofError> {
        let (width, index_root) = (self.width, self.index_root);
        if self.coordinates != at {
            return Err(ProofError::Coordinates { expected: at, got: self.coordinates });
        }
        let cell = vec![leaf(&self.cell)];
        let axis_root = root_of_range(inner, width.extended(), at.place(), cell, &self.line_path)
            .and_then(|root| axis_root_of_line(width, at.axis, at.line(), root, &self.axis_path))
            .ok_or(ProofError::Shape)?;
        let parts = DataRootParts { width, axis_root, index_root };
        ProofError::unless_equal(data_root, parts.data_root())?;
        Ok(VerifiedSample { sample: self, axis_root, data_root: *data_root })
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.extend(self.coordinates.row.to_be_bytes());
        out.extend(self.coordinates.column.to_be_bytes());
        out.push(self.coordinates.axis.number());
        out.extend(self.index_root);
        out.extend(self.cell);
        extend(out, &self.line_path);
        extend(out, &self.axis_path);
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let width = reader.width()?;
        let (row, column, axis) = (reader.u16()?, reader.u16()?, Axis::read(reader)?);
        let depth = width.extended().ilog2() as usize;
        Ok(Self {
            width,
            coordinates: Coordinates { row, column, axis },
            index_root: reader.array()?,
            cell: reader.array()?,
            line_path: reader.digests(depth)?,
            axis_path: reader.digests(depth + 1)?,
        })
    }
}
encoding!(Sample);

impl Axis {
    pub(crate) const fn number(self) -> u8 {
        match self {
            Self::Row => 0,
            Self::Column => 1,
        }
    }

    pub(crate) fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        match reader.u8()? {
            0 => Ok(Self::Row),
            1 => Ok(Self::Column),
            got => Err(DecodeError::Axis { got }),
        }
    }
}

/// A cell, checked against a data root. It keeps its proof, to be served to others.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedSample {
    sample: Sample,
    axis_root: Digest,
    data_root: Digest,
}

impl VerifiedSample {
    /// The cell.
    #[must_use]
    pub const fn cell(&self) -> &Cell {
        &self.sample.cell
    }

    /// Its place, and the line that proved it.
    #[must_use]
    pub const fn coordinates(&self) -> Coordinates {
        self.sample.coordinates
    }

    /// The square's width.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.sample.width
    }

    /// What it was checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }

    /// What the data root is the hash of: enough to start a [`Repair`](crate::Repair).
    #[must_use]
    pub const fn parts(&self) -> DataRootParts {
        let Self { sample: Sample { width, index_root, .. }, axis_root, .. } = self;
        DataRootParts { width: *width, axis_root: *axis_root, index_root: *index_root }
    }

    /// The proof.
    #[must_use]
    pub const fn sample(&self) -> &Sample {
        &self.sample
    }
}
