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
mod paths;

pub use inconsistency::{Inconsistency, LineRoot};

use std::{fmt, num::NonZeroUsize};

use crate::{
    Axis, Cell, CommittedSquare, Committer, Coordinates, DataRootParts, Digest, Index, OriginalSquare,
    SHARE_BYTES, Sample, VerifiedLine, VerifiedSample, Width,
    code::Decoder,
    many,
    proof::Hex,
    square::{ExtendedSquare, lines},
};
use paths::Paths;

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
    /// The cells held do not decode. Nobody is at fault: add more, [`Repair::unlock`] says which, and
    /// finish again.
    #[error("not enough cells: {missing} of {cells} still missing, and no line can be decoded")]
    NotEnough {
        /// Cells neither held nor decoded.
        missing: usize,
        /// Cells of the square.
        cells: usize,
    },
    /// The block contradicts itself; with it, a fraud proof can be made.
    #[error("the block commits to {0}")]
    Inconsistent(Box<Inconsistency>),
}

/// What is needed to decode a line, and to compare it with its root.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unlock {
    /// Row or column.
    pub axis: Axis,
    /// Which, below 2k.
    pub index: usize,
    /// How many more cells.
    pub needed: usize,
    /// Any of these will do, proven through this line's tree.
    pub cells: Vec<Coordinates>,
}

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

/// Buffers for a line at work.
struct Work {
    decoder: Decoder,
    cells: Vec<Cell>,
    given: Vec<bool>,
    tree: Vec<Digest>,
}

impl Work {
    fn new(width: Width) -> Self {
        let n = width.extended();
        let (cells, given) = (vec![[0; SHARE_BYTES]; n], vec![false; n]);
        Self { decoder: Decoder::new(width), cells, given, tree: vec![[0; 32]; 2 * n] }
    }

    /// Computes the tree over the cells; its root.
    fn root(&mut self) -> Digest {
        let n = self.cells.len();
        self.tree.resize(2 * n, [0; 32]);
        many::leaves(&self.cells, &mut self.tree[n..]);
        paths::complete(&mut self.tree);
        self.tree[1]
    }
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
        let at = sample.coordinates();
        let places = (at.position(self.width()), at.axis.leaf(self.width(), at.line()));
        let (Some(position), Some(line)) = places else {
            return Ok(());
        };
        self.paths.learn(line, sample.sample());
        self.prove(position, sample.cell(), at.axis)
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

    /// (row, column) of every cell that is neither held nor decoded yet.
    pub fn missing(&self) -> impl Iterator<Item = (usize, usize)> {
        let (n, holdings) = (self.width().extended(), self.holdings.iter().enumerate());
        holdings.filter(|(_, holding)| !holding.held).map(move |(i, _)| (i / n, i % n))
    }

    /// The cells that would unlock the next line: the one that lacks the fewest. None when no line lacks
    /// any.
    #[must_use]
    pub fn unlock(&self) -> Option<Unlock> {
        let (k, n) = (self.width().get(), self.width().extended());
        let unsettled = lines(self.width()).zip(&self.settled).filter(|(_, settled)| !**settled);
        let needs = unsettled.map(|((axis, index), _)| {
            let usable = self.holdings_of(axis, index).filter(|holding| self.usable(*holding)).count();
            let known = axis.leaf(self.width(), index).is_some_and(|line| self.paths.root(line).is_some());
            (k.saturating_sub(usable).max(usize::from(self.doubted && !known)), axis, index)
        });
        let (needed, axis, index) =
            needs.filter(|(needed, ..)| *needed > 0).min_by_key(|(needed, ..)| *needed)?;
        let at = |place| Coordinates::on(axis, index, place);
        let places = (0..n).zip(self.holdings_of(axis, index));
        let cells: Vec<Coordinates> =
            places.filter(|(_, holding)| !self.usable(*holding)).map(|(place, _)| at(place)).collect();
        // Of a line of which only the root is missing, any cell brings it.
        let cells = if cells.is_empty() { (0..n).map(at).collect() } else { cells };
        Some(Unlock { axis, index, needed, cells })
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

    /// Decodes a line if that can be and wins something; whether it did.
    fn solve(
        &mut self,
        axis: Axis,
        index: usize,
        thorough: bool,
        work: &mut Work,
    ) -> Result<bool, RepairError> {
        let (k, n) = (self.width().get(), self.width().extended());
        let Some(line) = axis.leaf(self.width(), index).filter(|line| !self.settled[*line]) else {
            return Ok(false);
        };
        let (mut held, mut proven) = (0, 0);
        for holding in self.holdings_of(axis, index) {
            held += usize::from(holding.held);
            proven += usize::from(holding.proven());
        }
        let root = self.paths.root(line);
        let sure = proven >= k && root.is_some();
        let guess = held >= k && !self.doubted && (root.is_some() || held < n);
        if !(sure || guess) || held == n && !thorough {
            return Ok(false);
        }
        for (place, position) in axis.positions(self.width(), index).enumerate() {
            let holding = self.holdings[position];
            work.cells[place] = self.cells[position];
            work.given[place] = if sure { holding.proven() } else { holding.held };
        }
        work.decoder.restore(&mut work.cells, &work.given);
        match root {
            Some(root) if work.root() == root => self.settle(axis, index, work)?,
            Some(root) if sure => return Err(self.bad_encoding(axis, index, root)),
            Some(_) => self.doubt(),
            None => self.guess(axis, index, &work.cells),
        }
        Ok(true)
    }

    /// Takes in a line's cells, whose tree has its root.
    fn settle(&mut self, axis: Axis, index: usize, work: &mut Work) -> Result<(), RepairError> {
        if let Some(line) = axis.leaf(self.width(), index) {
            self.paths.learn_tree(line, &mut work.tree);
            self.settled[line] = true;
        }
        let mut places = axis.positions(self.width(), index).zip(&work.cells);
        places.try_for_each(|(position, cell)| self.prove(position, cell, axis))
    }

    /// Takes in cells that no root vouches for, unless one contradicts what is held.
    fn guess(&mut self, axis: Axis, index: usize, cells: &[Cell]) {
        let places = || axis.positions(self.parts.width, index).zip(cells);
        if places().any(|(position, cell)| self.holdings[position].held && self.cells[position] != *cell) {
            return self.doubt();
        }
        let width = self.width();
        axis.positions(width, index).zip(cells).for_each(|(position, cell)| self.hold(position, cell));
    }

    /// Takes in a cell that was proven through a line; a guess gives way to it.
    fn prove(&mut self, position: usize, cell: &Cell, axis: Axis) -> Result<(), RepairError> {
        let holding = self.holdings[position];
        if holding.held && self.cells[position] != *cell {
            if holding.by(axis.crossing()) {
                let (here, crossing) = (axis, axis.crossing());
                let sample = Box::new(self.sample(position, cell, here));
                let held = Box::new(self.sample(position, &self.cells[position], crossing));
                let (by_row, by_column) = if axis == Axis::Row { (sample, held) } else { (held, sample) };
                return Err(RepairError::Inconsistent(Box::new(Inconsistency::SplitCell {
                    by_row,
                    by_column,
                })));
            }
            self.doubt();
        }
        self.hold(position, cell);
        match axis {
            Axis::Row => self.holdings[position].by_row = true,
            Axis::Column => self.holdings[position].by_column = true,
        }
        Ok(())
    }

    fn hold(&mut self, position: usize, cell: &Cell) {
        if !self.holdings[position].held {
            self.cells[position] = *cell;
            self.holdings[position].held = true;
            self.missing -= 1;
            self.missing_original -= usize::from(self.is_original(position));
        }
    }

    /// Drops all guesses, for good.
    fn doubt(&mut self) {
        self.doubted = true;
        for position in 0..self.holdings.len() {
            if self.holdings[position].held && !self.holdings[position].proven() {
                self.holdings[position].held = false;
                self.missing += 1;
                self.missing_original += usize::from(self.is_original(position));
            }
        }
    }

    /// The first k proven cells of a line, against its root.
    fn bad_encoding(&self, axis: Axis, index: usize, root: Digest) -> RepairError {
        let proven = axis.positions(self.width(), index).filter(|i| self.holdings[*i].proven());
        let cells = proven
            .take(self.width().get())
            .map(|position| self.sample(position, &self.cells[position], self.holdings[position].axis(axis)));
        let path = axis.leaf(self.width(), index).map(|line| self.paths.of_line(line)).unwrap_or_default();
        let line = LineRoot { axis, index: index as u16, root, path };
        RepairError::Inconsistent(Box::new(Inconsistency::BadEncoding { line, cells: cells.collect() }))
    }

    /// The proof of a cell through a line that it was learned by.
    fn sample(&self, position: usize, cell: &Cell, axis: Axis) -> Sample {
        let (n, DataRootParts { width, index_root, .. }) = (self.width().extended(), self.parts);
        let (row, column) = ((position / n) as u16, (position % n) as u16);
        let coordinates = Coordinates { row, column, axis };
        let line = axis.leaf(width, coordinates.line()).unwrap_or_default();
        let line_path = self.paths.of_cell(line, coordinates.place());
        Sample { width, coordinates, index_root, cell: *cell, line_path, axis_path: self.paths.of_line(line) }
    }

    fn holdings_of(&self, axis: Axis, index: usize) -> impl Iterator<Item = Holding> {
        axis.positions(self.width(), index).map(|position| self.holdings[position])
    }

    /// Whether a line can be decoded from the cell.
    const fn usable(&self, holding: Holding) -> bool {
        holding.held && (!self.doubted || holding.proven())
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
