//! Repair of a square from some of its cells.
//!
//! ```text
//! verified cells ──▶ decode each row, then each column, that holds k cells ──▶ repeat while something is won
//!                      │ compare with its root and with every cell held │ Q0 complete
//!                      ▼                                                ▼
//!                 Inconsistency               extend again, compare with the axis root ──▶ RepairedSquare
//! ```
//!
//! Every cell is kept with the path it came by, so what contradicts itself is proven: an
//! [`Inconsistency`] accuses the block, whoever served it, and no block that is an extended square has one.
//!
//! A line's root is known once a cell came through its tree (or its neighbour's). A line decoded before
//! that gives cells that no root vouches for yet: they are *guesses*, right if the block is. They help to
//! repair, never to accuse: when they contradict anything, all guesses are dropped, and from then on only
//! proven cells are decoded from, along lines whose roots are known. Then a block that is wrong ends in an
//! inconsistency as soon as k cells of the line that shows it, and its root, are here; until then, in
//! [`RepairError::NotEnough`].

mod inconsistency;
mod outcome;
mod paths;
mod solve;
mod unlock;

pub use inconsistency::{Inconsistency, LineRoot};
pub use outcome::{RepairError, RepairedSquare};
pub use unlock::Unlock;

use std::{fmt, num::NonZeroUsize};

use crate::{
    Axis, Cell, Committer, Coordinates, DataRootParts, Digest, SHARE_BYTES, VerifiedLine,
    VerifiedLineSamples, VerifiedSample, Width, square::lines,
};
use paths::Paths;
use solve::Work;

/// How a cell is held.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Holding {
    held: bool,
    /// Proven through its row's tree.
    by_row: bool,
    /// Proven through its column's tree.
    by_column: bool,
}

impl Holding {
    const fn proven(self) -> bool {
        self.by_row || self.by_column
    }

    const fn by(self, axis: Axis) -> bool {
        match axis {
            Axis::Row => self.by_row,
            Axis::Column => self.by_column,
        }
    }

    /// The line that proves the cell: this axis's if it does.
    const fn axis(self, preferred: Axis) -> Axis {
        if self.by(preferred) { preferred } else { preferred.crossing() }
    }
}

/// A square under repair.
///
/// It holds about five times the original square's bytes. Whoever repairs one block after the other keeps a
/// `Repair` and a [`Committer`], and calls [`restart`](Self::restart), [`finish_with`](Self::finish_with) and
/// [`Committer::recycle`]: in new memory, finding its pages takes as long again as the repair.
#[derive(Clone, PartialEq, Eq)]
pub struct Repair {
    data_root: Digest,
    parts: DataRootParts,
    cells: Vec<Cell>,
    holdings: Vec<Holding>,
    paths: Paths,
    /// By line, as the axis tree orders them: its cells are a codeword with its root.
    settled: Vec<bool>,
    /// A guess was wrong: none is made any more.
    doubted: bool,
    missing: usize,
    missing_original: usize,
}

impl Repair {
    /// Starts with no cells of the block with this data root, in new buffers.
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
            holdings: vec![Holding::default(); cells],
            paths: Paths::new(width),
            settled: vec![false; 2 * width.extended()],
            doubted: false,
            missing: cells,
            missing_original: width.shares(),
        })
    }

    /// Starts over with another block, in the same buffers if it is as wide.
    ///
    /// # Errors
    /// The parts are another data root's; nothing changes.
    pub fn restart(&mut self, data_root: Digest, parts: DataRootParts) -> Result<(), RepairError> {
        if parts.width != self.width() {
            *self = Self::new(data_root, parts)?;
            return Ok(());
        }
        let got = parts.data_root();
        if got != data_root {
            return Err(RepairError::OtherBlock { expected: data_root, got });
        }
        (self.data_root, self.parts, self.doubted) = (data_root, parts, false);
        (self.missing, self.missing_original) = (self.cells.len(), parts.width.shares());
        self.holdings.fill(Holding::default());
        self.settled.fill(false);
        self.paths.forget();
        Ok(())
    }

    /// Adds a cell.
    ///
    /// # Errors
    /// It is another block's, or differs from one proven through the other of its lines.
    pub fn add(&mut self, sample: &VerifiedSample) -> Result<(), RepairError> {
        self.check_block(sample.data_root())?;
        self.paths.learn(sample.sample());
        self.add_cell(sample.coordinates(), sample.cell())
    }

    /// Adds cells of a line that were proven together.
    ///
    /// # Errors
    /// They are another block's, or one differs from one proven through its other line.
    pub fn add_samples(&mut self, samples: &VerifiedLineSamples) -> Result<(), RepairError> {
        self.check_block(samples.data_root())?;
        self.paths.learn_together(samples.samples());
        samples.cells().try_for_each(|(at, cell)| self.add_cell(at, cell))
    }

    /// Adds a whole line.
    ///
    /// # Errors
    /// It is another block's, or one of its cells differs from one proven through its other line.
    pub fn add_line(&mut self, line: &VerifiedLine) -> Result<(), RepairError> {
        self.check_block(line.data_root())?;
        let (axis, index) = (line.axis(), line.index());
        let Some(place) = axis.leaf(self.width(), index) else {
            return Ok(());
        };
        let mut work = Work::new(self.width());
        work.cells.copy_from_slice(line.cells());
        let root = work.root();
        self.paths.learn_root(place, root, line.path());
        self.settle(axis, index, &mut work)
    }

    /// Takes in a cell whose path is known.
    fn add_cell(&mut self, at: Coordinates, cell: &Cell) -> Result<(), RepairError> {
        at.position(self.width()).map_or(Ok(()), |position| self.prove(position, cell, at.axis))
    }

    /// (row, column) of every cell that is neither held nor decoded yet.
    pub fn missing(&self) -> impl Iterator<Item = (usize, usize)> {
        let (n, holdings) = (self.width().extended(), self.holdings.iter().enumerate());
        holdings.filter(|(_, holding)| !holding.held).map(move |(i, _)| (i / n, i % n))
    }

    /// Decodes what the cells held allow. When they are not enough, all that was won is kept: add more
    /// and call again.
    ///
    /// # Errors
    /// [`RepairError::NotEnough`], or the block is wrong.
    pub fn finish(&mut self) -> Result<RepairedSquare, RepairError> {
        self.finish_with(&mut Committer::new(NonZeroUsize::MIN))
    }

    /// The same with the threads and the buffers of a committer.
    ///
    /// # Errors
    /// The same.
    pub fn finish_with(&mut self, committer: &mut Committer) -> Result<RepairedSquare, RepairError> {
        let mut work = Work::new(self.width());
        // Past the original square, only to find out what is wrong.
        let mut thorough = false;
        loop {
            let mut progress = false;
            for (axis, index) in lines(self.width()) {
                if thorough || self.missing_original > 0 {
                    progress |= self.solve(axis, index, thorough, &mut work)?;
                }
            }
            if !thorough && self.missing_original == 0 {
                let square = committer.extend(self.width(), &self.cells, self.width().extended());
                if square.axis_root() == self.parts.axis_root {
                    return Ok(RepairedSquare { square, parts: self.parts });
                }
                thorough = true;
                self.doubt();
            } else if !progress {
                return Err(RepairError::NotEnough { missing: self.missing, cells: self.cells.len() });
            }
        }
    }

    fn holdings_of(&self, axis: Axis, index: usize) -> impl Iterator<Item = Holding> {
        axis.positions(self.width(), index).map(|position| self.holdings[position])
    }

    fn is_original(&self, position: usize) -> bool {
        let (k, n) = (self.width().get(), self.width().extended());
        position / n < k && position % n < k
    }

    fn check_block(&self, got: &Digest) -> Result<(), RepairError> {
        let expected = self.data_root;
        if expected == *got { Ok(()) } else { Err(RepairError::OtherBlock { expected, got: *got }) }
    }

    const fn width(&self) -> Width {
        self.parts.width
    }
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Repair");
        debug.field("parts", &self.parts).field("missing", &self.missing).finish_non_exhaustive()
    }
}
