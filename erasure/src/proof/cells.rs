//! Several cells of one line, sharing their paths.
//!
//! ```text
//! k: u16 ‖ axis: u8 ‖ index: u16 ‖ count: u16 ‖ count × place: u16 ‖ index_root ‖ count cells
//!        ‖ hashes to the line's root ‖ log₂ 4k hashes to the axis root
//! ```
//!
//! Places ascend. How many hashes lead to the line's root follows from them: the nodes that the cells do not
//! give, bottom up, left before right.

use super::{ProofError, extend};
use crate::{
    Axis, Cell, CommittedSquare, Coordinates, DataRootParts, DecodeError, Digest, Width,
    commitment::{axis_root_of_line, inner},
    many,
    tree::{root_of_places, siblings_of_places},
    wire::{Reader, bound, encoding},
};

/// Cells of a line with the hashes that lead to the data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LineSamples {
    width: Width,
    axis: Axis,
    index: u16,
    index_root: Digest,
    places: Vec<u16>,
    cells: Vec<Cell>,
    siblings: Vec<Digest>,
    axis_path: Vec<Digest>,
}

impl CommittedSquare {
    /// The cells at these places of a line with their proof; none when the line or a place is outside of
    /// the square, when there is none, or when they do not ascend.
    #[must_use]
    pub fn line_samples(&self, axis: Axis, index: usize, places: &[u16]) -> Option<LineSamples> {
        let DataRootParts { width, index_root, .. } = self.parts();
        let line = axis.leaf(width, index)?;
        if places.is_empty() || !places.is_sorted_by(|a, b| a < b) {
            return None;
        }
        let cells = places.iter().map(|place| {
            let Coordinates { row, column, .. } = Coordinates::on(axis, index, usize::from(*place));
            self.cell(row.into(), column.into()).copied()
        });
        Some(LineSamples {
            width,
            axis,
            index: u16::try_from(index).ok()?,
            index_root,
            cells: cells.collect::<Option<_>>()?,
            siblings: self.line_tree(axis, index).siblings_of(places.iter().map(|place| usize::from(*place))),
            places: places.to_vec(),
            axis_path: self.axis_tree().siblings(line..line + 1),
        })
    }
}

impl LineSamples {
    /// The line it claims.
    #[must_use]
    pub const fn line(&self) -> (Axis, usize) {
        (self.axis, self.index as usize)
    }

    /// The places it claims.
    #[must_use]
    pub fn places(&self) -> &[u16] {
        &self.places
    }

    pub(crate) fn cells(&self) -> &[Cell] {
        &self.cells
    }

    /// The nodes of the line's tree that the cells do not give.
    pub(crate) fn siblings(&self) -> &[Digest] {
        &self.siblings
    }

    /// The path from the line's root to the axis root.
    pub(crate) fn axis_path(&self) -> &[Digest] {
        &self.axis_path
    }

    /// Checks that these are the cells at these places of that line of the block with this data root.
    ///
    /// # Errors
    /// They are another line's or other places', another block's, or forged.
    pub fn verify(
        self,
        data_root: &Digest,
        axis: Axis,
        index: usize,
        places: &[u16],
    ) -> Result<VerifiedLineSamples, ProofError> {
        let (expected, got) = ((axis, index), (self.axis, usize::from(self.index)));
        if expected != got {
            return Err(ProofError::Line { expected, got });
        }
        if places != self.places {
            return Err(ProofError::Shape);
        }
        let (width, index_root) = (self.width, self.index_root);
        let axis_root = self.axis_root().ok_or(ProofError::Shape)?;
        ProofError::unless_equal(data_root, DataRootParts { width, axis_root, index_root }.data_root())?;
        Ok(VerifiedLineSamples { samples: self, data_root: *data_root })
    }

    fn axis_root(&self) -> Option<Digest> {
        let (width, axis) = (self.width, self.axis);
        let mut leaves = vec![[0; 32]; self.cells.len()];
        many::leaves(&self.cells, &mut leaves);
        let leaves = self.places.iter().map(|place| usize::from(*place)).zip(leaves).collect();
        let root = root_of_places(inner, width.extended(), leaves, &self.siblings)?;
        axis_root_of_line(width, axis, self.index.into(), root, &self.axis_path)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.extend(self.width.as_u16().to_be_bytes());
        out.push(self.axis.number());
        out.extend(self.index.to_be_bytes());
        out.extend((self.places.len() as u16).to_be_bytes());
        out.extend(self.places.iter().flat_map(|place| place.to_be_bytes()));
        out.extend(self.index_root);
        extend(out, &self.cells);
        extend(out, &self.siblings);
        extend(out, &self.axis_path);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (width, axis, index) = (reader.width()?, Axis::read(reader)?, reader.u16()?);
        let n = width.extended();
        let count = bound("cells", reader.u16()?.into(), 1, n as u64)?;
        let mut places = Vec::with_capacity(count);
        for left in (0..count).rev() {
            let least = places.last().map_or(0, |place: &u16| u64::from(*place) + 1);
            let place = reader.u16()?;
            bound("place", place.into(), least, (n - 1 - left) as u64)?;
            places.push(place);
        }
        let hashes = siblings_of_places(n, places.iter().map(|place| usize::from(*place))).len();
        Ok(Self {
            width,
            axis,
            index,
            places,
            index_root: reader.array()?,
            cells: reader.cells(count)?,
            siblings: reader.digests(hashes)?,
            axis_path: reader.digests((2 * n).ilog2() as usize)?,
        })
    }
}
encoding!(LineSamples);

/// Cells of a line, checked against a data root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct VerifiedLineSamples {
    samples: LineSamples,
    data_root: Digest,
}

impl VerifiedLineSamples {
    /// The cells, each with its place and the line that proved it.
    pub fn cells(&self) -> impl Iterator<Item = (Coordinates, &Cell)> {
        let LineSamples { axis, index, places, cells, .. } = &self.samples;
        let at = |place: &u16| Coordinates::on(*axis, usize::from(*index), usize::from(*place));
        places.iter().map(at).zip(cells)
    }

    /// The square's width.
    #[must_use]
    pub const fn width(&self) -> Width {
        self.samples.width
    }

    /// What they were checked against.
    #[must_use]
    pub const fn data_root(&self) -> &Digest {
        &self.data_root
    }

    /// The proof.
    #[must_use]
    pub const fn samples(&self) -> &LineSamples {
        &self.samples
    }
}
