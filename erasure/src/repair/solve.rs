//! Decoding lines, and what their cells are compared with: their root, and every cell held.

use super::{Inconsistency, LineRoot, Repair, RepairError, paths};
use crate::{
    Axis, Cell, Coordinates, DataRootParts, Digest, SHARE_BYTES, Sample, Width, code::Decoder, many,
};

/// Buffers for a line at work.
pub(super) struct Work {
    decoder: Decoder,
    pub(super) cells: Vec<Cell>,
    given: Vec<bool>,
    tree: Vec<Digest>,
}

impl Work {
    pub(super) fn new(width: Width) -> Self {
        let n = width.extended();
        let (cells, given) = (vec![[0; SHARE_BYTES]; n], vec![false; n]);
        Self { decoder: Decoder::new(width), cells, given, tree: vec![[0; 32]; 2 * n] }
    }

    /// Computes the tree over the cells; its root.
    pub(super) fn root(&mut self) -> Digest {
        let n = self.cells.len();
        self.tree.resize(2 * n, [0; 32]);
        many::leaves(&self.cells, &mut self.tree[n..]);
        paths::complete(&mut self.tree);
        self.tree[1]
    }
}

impl Repair {
    /// Decodes a line if that can be and wins something; whether it did.
    pub(super) fn solve(
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
    pub(super) fn settle(&mut self, axis: Axis, index: usize, work: &mut Work) -> Result<(), RepairError> {
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
    pub(super) fn prove(&mut self, position: usize, cell: &Cell, axis: Axis) -> Result<(), RepairError> {
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
    pub(super) fn doubt(&mut self) {
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
}
