//! What the adversary withholds.

use erasure::{Coordinates, Width};

use crate::rng::{Rng, hash};

/// A set of withheld cells.
#[derive(Clone, Debug)]
pub struct Pattern {
    side: usize,
    /// One bit a cell, row by row.
    hidden: Vec<u64>,
}

impl Pattern {
    /// The smallest set of cells without which a square cannot be rebuilt, in rows and columns that the seed
    /// picks: where k+1 rows and k+1 columns cross (Al-Bassam, Sonnino, Buterin, arXiv:1809.09044, theorem 1).
    ///
    /// Every row and column then misses either nothing or k+1 of its 2k cells, one more than its code
    /// makes good.
    #[must_use]
    pub fn smallest(width: Width, seed: u64) -> Self {
        Self::avoiding(width, seed, &[])
    }

    /// A pattern of the same size in rows that hold as few of the `spared` cells as possible. It hides none of
    /// them unless they lie in k or more rows.
    #[must_use]
    pub fn avoiding(width: Width, seed: u64, spared: &[Coordinates]) -> Self {
        let lines = |axis: u64| {
            let mut order: Vec<usize> = (0..width.extended()).collect();
            order.sort_by_cached_key(|line| hash("weft/sim-pattern/1", [seed, axis, *line as u64]));
            order
        };
        let [mut rows, mut columns] = [lines(0), lines(1)];
        rows.sort_by_key(|row| spared.iter().filter(|at| usize::from(at.row) == *row).count());
        rows.truncate(width.get() + 1);
        columns.truncate(width.get() + 1);
        let mut pattern = Self::nothing(width);
        for row in rows {
            columns.iter().for_each(|column| pattern.hide(row * pattern.side + column));
        }
        pattern
    }

    /// `cells` cells that the seed picks.
    #[must_use]
    pub fn random(width: Width, seed: u64, cells: usize) -> Self {
        let mut pattern = Self::nothing(width);
        let mut order: Vec<u32> = (0..(pattern.side * pattern.side) as u32).collect();
        Rng::new("weft/sim-random-pattern/1", [seed]).shuffle(&mut order);
        order.into_iter().take(cells).for_each(|cell| pattern.hide(cell as usize));
        pattern
    }

    /// Hides nothing yet.
    pub(crate) fn nothing(width: Width) -> Self {
        let side = width.extended();
        Self { side, hidden: vec![0; (side * side).div_ceil(64)] }
    }

    /// Hides every cell.
    pub(crate) fn everything(width: Width) -> Self {
        let mut pattern = Self::nothing(width);
        pattern.hidden.fill(u64::MAX);
        pattern
    }

    /// Hides this cell no more, counted row by row.
    pub(crate) fn disclose(&mut self, cell: usize) {
        self.hidden[cell / 64] &= !(1 << (cell % 64));
    }

    /// Hides this cell too, counted row by row.
    pub(crate) fn hide(&mut self, cell: usize) {
        self.hidden[cell / 64] |= 1 << (cell % 64);
    }

    /// Whether this cell is withheld. One outside the square is not.
    #[must_use]
    pub fn hides(&self, at: Coordinates) -> bool {
        let cell = usize::from(at.row) * self.side + usize::from(at.column);
        self.hidden.get(cell / 64).is_some_and(|word| word >> (cell % 64) & 1 == 1)
    }

    /// How many cells are withheld.
    #[must_use]
    pub fn cells(&self) -> usize {
        self.hidden.iter().map(|word| word.count_ones() as usize).sum()
    }
}
