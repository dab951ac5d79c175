//! What the adversary withholds.

use erasure::{Coordinates, Digest, Width, keccak256};

/// The smallest set of cells without which a square cannot be rebuilt: where k+1 rows and k+1 columns
/// cross (Al-Bassam, Sonnino, Buterin, arXiv:1809.09044, theorem 1).
///
/// Every row and column then misses either nothing or k+1 of its 2k cells, one more than its code
/// makes good.
#[derive(Clone, Debug)]
pub struct Pattern {
    rows: Vec<bool>,
    columns: Vec<bool>,
}

impl Pattern {
    /// The pattern of this width whose rows and columns the seed picks.
    #[must_use]
    pub fn smallest(width: Width, seed: u64) -> Self {
        let lines = |axis| {
            let mut order: Vec<usize> = (0..width.extended()).collect();
            order.sort_by_cached_key(|line| hash("weft/sim-pattern/1", [seed, axis, *line as u64]));
            let mut withheld = vec![false; width.extended()];
            for line in &order[..=width.get()] {
                withheld[*line] = true;
            }
            withheld
        };
        Self { rows: lines(0), columns: lines(1) }
    }

    /// Whether this cell is withheld.
    #[must_use]
    pub fn hides(&self, at: Coordinates) -> bool {
        let withheld = |lines: &[bool], line: u16| lines.get(usize::from(line)).copied().unwrap_or(false);
        withheld(&self.rows, at.row) && withheld(&self.columns, at.column)
    }
}

/// The hash from which one random choice is made.
pub(crate) fn hash<const N: usize>(domain: &str, numbers: [u64; N]) -> Digest {
    keccak256(&[domain.as_bytes(), numbers.map(u64::to_be_bytes).as_flattened()].concat())
}
