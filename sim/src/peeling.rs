//! Which cells can be decoded, without decoding them.
//!
//! A line of which k cells are known is known as a whole, and that may complete others: the rule by which
//! `erasure::Repair` works, on bits. Each cell is learned once, so a square costs its number of cells.

use erasure::Width;

use crate::rng::Rng;

/// A square of which some cells are known.
#[derive(Clone, Debug)]
pub struct Peeling {
    width: Width,
    words: usize,
    /// One bit a cell: row by row, and column by column.
    bits: [Vec<u64>; 2],
    /// Known cells of each row and of each column.
    counts: [Vec<u16>; 2],
    known: usize,
    /// Lines that just got k cells.
    solvable: Vec<(usize, usize)>,
}

impl Peeling {
    /// Nothing is known.
    #[must_use]
    pub fn new(width: Width) -> Self {
        let side = width.extended();
        let words = side.div_ceil(64);
        let (bits, counts) = (vec![0; side * words], vec![0; side]);
        Self {
            width,
            words,
            bits: [bits.clone(), bits],
            counts: [counts.clone(), counts],
            known: 0,
            solvable: Vec::new(),
        }
    }

    /// Adds a cell inside the square, and whatever becomes known with it.
    pub fn add(&mut self, row: usize, column: usize) {
        self.learn([row, column]);
        let side = self.width.extended();
        while let Some((axis, line)) = self.solvable.pop() {
            for word in 0..self.words {
                let inside = if side >= 64 { u64::MAX } else { (1 << side) - 1 };
                let mut missing = !self.bits[axis][line * self.words + word] & inside;
                while missing != 0 {
                    let across = word * 64 + missing.trailing_zeros() as usize;
                    missing &= missing - 1;
                    self.learn(if axis == 0 { [line, across] } else { [across, line] });
                }
            }
        }
    }

    fn learn(&mut self, at: [usize; 2]) {
        let place = |axis: usize| (at[axis] * self.words + at[1 - axis] / 64, 1_u64 << (at[1 - axis] % 64));
        let (word, bit) = place(0);
        if self.bits[0][word] & bit != 0 {
            return;
        }
        self.bits[0][word] |= bit;
        let (word, bit) = place(1);
        self.bits[1][word] |= bit;
        self.known += 1;
        for axis in [0, 1] {
            let count = &mut self.counts[axis][at[axis]];
            *count += 1;
            if usize::from(*count) == self.width.get() {
                self.solvable.push((axis, at[axis]));
            }
        }
    }

    /// Cells that are known by now.
    #[must_use]
    pub fn known(&self) -> usize {
        self.known
    }

    /// Whether the whole square is known.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.known == self.width.extended().pow(2)
    }

    /// How many cells in random order it takes until the square is known.
    #[must_use]
    pub fn threshold(width: Width, seed: u64) -> usize {
        let side = width.extended();
        let mut order: Vec<u32> = (0..(side * side) as u32).collect();
        Rng::new("weft/sim-peeling/1", [width.get() as u64, seed]).shuffle(&mut order);
        let mut square = Self::new(width);
        order
            .iter()
            .position(|cell| {
                square.add(*cell as usize / side, *cell as usize % side);
                square.complete()
            })
            .map_or(order.len(), |last| last + 1)
    }

    /// Whether a square is known that lost this share of its cells, in percent, each by itself.
    #[must_use]
    pub fn survives(width: Width, percent: f64, seed: u64) -> bool {
        let mut rng = Rng::new("weft/sim-loss/1", [seed]);
        let mut square = Self::new(width);
        for row in 0..width.extended() {
            for column in 0..width.extended() {
                if !rng.percent(percent) {
                    square.add(row, column);
                }
            }
        }
        square.complete()
    }
}
