//! Repair: the square from any decodable set of its cells.
//!
//! ```text
//! add cells ──▶ decode each row, then each column, that holds k cells ──▶ repeat while something is won
//!                                                    │ Q0 complete
//!                              extend again, compare with the axis root ──▶ RepairedSquare
//! ```
//!
//! Cells come in verified, so an honest block's always agree. When they do not, or when they lead to
//! another axis root, the block is wrong whoever served it: [`RepairError::Split`],
//! [`RepairError::Inconsistent`] and [`RepairError::AxisRoot`] accuse the block, not a peer.

mod inconsistency;

pub use inconsistency::{Inconsistency, LineRoot};

use std::{fmt, num::NonZeroUsize};

use crate::{
    Axis, Cell, CommittedSquare, Committer, DataRootParts, Digest, Index, OriginalSquare, SHARE_BYTES,
    VerifiedLine, VerifiedSample, Width,
    code::Decoder,
    proof::Hex,
    square::{ExtendedSquare, lines},
};

/// The square cannot be repaired, or not from this.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RepairError {
    /// Parts, a cell or an index of another block. At fault: the caller.
    #[error("repairing the block with data root {}, got a part of {}", Hex(expected), Hex(got))]
    OtherBlock {
        /// The data root under repair.
        expected: Digest,
        /// The other.
        got: Digest,
    },
    /// The cells held do not decode. Nobody is at fault: add more and finish again.
    #[error("not enough cells: {missing} of {cells} still missing, and no line can be decoded")]
    NotEnough {
        /// Cells neither held nor decoded.
        missing: usize,
        /// Cells of the square.
        cells: usize,
    },
    /// Its row's tree and its column's commit to different cells at one place. The block is wrong.
    #[error("two different cells are proven at ({row}, {column})")]
    Split {
        /// The row.
        row: usize,
        /// The column.
        column: usize,
    },
    /// The cells of a line are of no codeword. The block is wrong.
    #[error("the cells of {axis} {index} are of no codeword")]
    Inconsistent {
        /// Row or column.
        axis: Axis,
        /// Which.
        index: usize,
    },
    /// The square decoded is not the one committed to. The block is wrong.
    #[error("the repaired square has axis root {}, committed is {}", Hex(got), Hex(expected))]
    AxisRoot {
        /// The committed one.
        expected: Digest,
        /// The repaired square's.
        got: Digest,
    },
}

/// A square under repair.
#[derive(Clone, PartialEq, Eq)]
pub struct Repair {
    data_root: Digest,
    parts: DataRootParts,
    cells: Vec<Cell>,
    held: Vec<bool>,
    missing: usize,
    missing_original: usize,
}

impl Repair {
    /// Starts with no cells of the block with this data root.
    ///
    /// # Errors
    /// The parts are another data root's.
    pub fn new(data_root: Digest, parts: DataRootParts) -> Result<Self, RepairError> {
        let (width, got) = (parts.width, parts.data_root());
        if got != data_root {
            return Err(RepairError::OtherBlock { expected: data_root, got });
        }
        let cells = width.extended() * width.extended();
        Ok(Self {
            data_root,
            parts,
            cells: vec![[0; SHARE_BYTES]; cells],
            held: vec![false; cells],
            missing: cells,
            missing_original: width.shares(),
        })
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// It is another block's, or differs from one held at its place.
    pub fn add(&mut self, sample: &VerifiedSample) -> Result<(), RepairError> {
        self.check_block(sample.data_root())?;
        match sample.coordinates().position(self.width()) {
            Some(position) => self.hold(position, sample.cell()),
            None => Ok(()),
        }
    }

    /// Adds a whole line.
    ///
    /// # Errors
    /// It is another block's, or one of its cells differs from one held at its place.
    pub fn add_line(&mut self, line: &VerifiedLine) -> Result<(), RepairError> {
        self.check_block(line.data_root())?;
        let mut places = line.axis().positions(self.width(), line.index()).zip(line.cells());
        places.try_for_each(|(position, cell)| self.hold(position, cell))
    }

    /// (row, column) of every cell that is neither held nor decoded yet.
    pub fn missing(&self) -> impl Iterator<Item = (usize, usize)> {
        let (n, held) = (self.width().extended(), self.held.iter().enumerate());
        held.filter(|(_, held)| !**held).map(move |(i, _)| (i / n, i % n))
    }

    /// Decodes what the cells held allow. When they are not enough, all that was won is kept: add more
    /// and call again.
    ///
    /// # Errors
    /// [`RepairError::NotEnough`]; or the block is wrong.
    pub fn finish(&mut self) -> Result<RepairedSquare, RepairError> {
        let mut decoder = Decoder::new(self.width());
        while self.missing_original > 0 {
            let missing = self.missing;
            for (axis, index) in lines(self.width()) {
                if self.missing_original > 0 {
                    self.solve(axis, index, &mut decoder)?;
                }
            }
            if self.missing == missing {
                return Err(RepairError::NotEnough { missing, cells: self.cells.len() });
            }
        }
        let k = self.width().get();
        let rows = self.cells.chunks_exact(2 * k).take(k);
        let shares: Vec<Cell> = rows.flat_map(|row| &row[..k]).copied().collect();
        let square = Committer::new(NonZeroUsize::MIN).extend(self.width(), &shares);
        let (expected, got) = (self.parts.axis_root, square.axis_root());
        if expected != got {
            return Err(RepairError::AxisRoot { expected, got });
        }
        Ok(RepairedSquare { square, parts: self.parts })
    }

    /// Decodes a line if it holds k cells and lacks one, and compares those it held.
    fn solve(&mut self, axis: Axis, index: usize, decoder: &mut Decoder) -> Result<(), RepairError> {
        let n = self.width().extended();
        let positions = || axis.positions(self.parts.width, index);
        let held: Vec<bool> = positions().map(|i| self.held[i]).collect();
        let count = held.iter().filter(|held| **held).count();
        if count < n / 2 || count == n {
            return Ok(());
        }
        let mut line: Vec<Cell> = positions().map(|i| self.cells[i]).collect();
        decoder.restore(&mut line, &held);
        for (i, cell) in axis.positions(self.parts.width, index).zip(&line) {
            self.hold(i, cell).map_err(|_| RepairError::Inconsistent { axis, index })?;
        }
        Ok(())
    }

    /// Takes a cell in, or compares it with the one held.
    fn hold(&mut self, position: usize, cell: &Cell) -> Result<(), RepairError> {
        let n = self.width().extended();
        let (row, column) = (position / n, position % n);
        if self.held[position] {
            let same = self.cells[position] == *cell;
            return if same { Ok(()) } else { Err(RepairError::Split { row, column }) };
        }
        self.cells[position] = *cell;
        self.held[position] = true;
        self.missing -= 1;
        self.missing_original -= usize::from(row < n / 2 && column < n / 2);
        Ok(())
    }

    fn check_block(&self, got: &Digest) -> Result<(), RepairError> {
        let expected = self.data_root;
        if expected == *got { Ok(()) } else { Err(RepairError::OtherBlock { expected, got: *got }) }
    }

    fn width(&self) -> Width {
        self.parts.width
    }
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Repair");
        debug.field("parts", &self.parts).field("missing", &self.missing).finish_non_exhaustive()
    }
}

/// A whole square, checked against the axis root; its index is yet to be read from its transactions.
#[derive(Clone, PartialEq, Eq)]
pub struct RepairedSquare {
    square: ExtendedSquare,
    parts: DataRootParts,
}

impl RepairedSquare {
    /// A copy of the k² shares: the transaction blob, then the blobs.
    #[must_use]
    pub fn original(&self) -> OriginalSquare {
        self.square.original()
    }

    /// What the data root is the hash of.
    #[must_use]
    pub const fn parts(&self) -> DataRootParts {
        self.parts
    }

    /// The square with its index, as the transaction blob gives it.
    ///
    /// # Errors
    /// The index is not the one committed to: either the caller's is wrong, or the block is.
    pub fn commit(self, index: Index) -> Result<CommittedSquare, RepairError> {
        let square = CommittedSquare::new(self.square, index);
        let (expected, got) = (self.parts.data_root(), square.data_root());
        if expected == got { Ok(square) } else { Err(RepairError::OtherBlock { expected, got }) }
    }
}

impl fmt::Debug for RepairedSquare {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RepairedSquare").field("parts", &self.parts).finish_non_exhaustive()
    }
}
