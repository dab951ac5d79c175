//! Which cells a client asks for: drawn from its secret, so that nobody can prepare for them.
//!
//! ```text
//!  key     = keccak256(domain ‖ seed ‖ height: u64 BE ‖ width: u32 BE)
//!  stream  = keccak256(key ‖ 0: u64 BE) ‖ keccak256(key ‖ 1: u64 BE) ‖ …
//! ```
//!
//! The same seed, height and width always give the same cells, so a retry, even after a restart,
//! asks for the cells that were refused before. The width is known only once a sample has been
//! verified: the [`probe`] is drawn from the corner that every width has, proves the width, and
//! counts for nothing. The [`draw`] that counts is uniform over the whole square, whatever width
//! the producer chose.

use std::collections::BTreeSet;
use std::fmt;

use erasure::{Axis, Coordinates, Digest, Width, keccak256};

const DRAW_DOMAIN: &[u8] = b"weft/sample-draw/1";
const PROBE_DOMAIN: &[u8] = b"weft/sample-probe/1";
const ORDER_DOMAIN: &[u8] = b"weft/sample-order/1";

/// A client's 32 secret bytes. Whoever knows them can serve this client its cells and hide the
/// rest of the block, so they are neither printed nor sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Seed([u8; 32]);

impl Seed {
    /// A seed from bytes that nobody else knows.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The secret bytes, for whoever stores them.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seed(secret)")
    }
}

/// The `samples` distinct cells that this seed draws from the block at `height`, in the order in
/// which to ask for them.
///
/// Uniform without replacement over the `4k²` positions; axes alternate from a drawn start, so
/// half of the cells (rounded either way) go through row trees and half through column trees.
/// Asking for more cells than there are gives all of them.
pub fn draw(seed: &Seed, height: u64, width: Width, samples: usize) -> Vec<Coordinates> {
    let mut stream = Stream::new(DRAW_DOMAIN, seed, height, width.get() as u32);
    let side = width.extended();
    let samples = samples.min(side * side);
    let first = usize::from(stream.next_u32() & 1 == 1);
    let mut taken = BTreeSet::new();
    let mut cells = Vec::with_capacity(samples);
    while cells.len() < samples {
        let (row, column) = stream.position(side);
        if taken.insert((row, column)) {
            let axis = axis((first + cells.len()) % 2 == 1);
            cells.push(Coordinates { row, column, axis });
        }
    }
    cells
}

/// The cell that is asked for first, to learn the width: one of the 16 that a square of every
/// width has.
pub fn probe(seed: &Seed, height: u64) -> Coordinates {
    let mut stream = Stream::new(PROBE_DOMAIN, seed, height, 0);
    let axis = axis(stream.next_u32() & 1 == 1);
    let (row, column) = stream.position(Width::MIN.extended());
    Coordinates { row, column, axis }
}

fn axis(column: bool) -> Axis {
    if column { Axis::Column } else { Axis::Row }
}

/// Secret bytes without end, all of them a function of the seed.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    key: Digest,
    counter: u64,
    block: Digest,
    used: usize,
}

impl Stream {
    fn new(domain: &[u8], seed: &Seed, height: u64, width: u32) -> Self {
        let key = keccak256(&[domain, &seed.0, &height.to_be_bytes(), &width.to_be_bytes()].concat());
        Self { key, counter: 0, block: [0; 32], used: 32 }
    }

    /// The stream that breaks ties between peers for the block at `height`.
    pub(crate) fn order(seed: &Seed, height: u64) -> Self {
        Self::new(ORDER_DOMAIN, seed, height, 0)
    }

    pub(crate) fn next_u32(&mut self) -> u32 {
        if self.used == self.block.len() {
            self.block = keccak256(&[&self.key[..], &self.counter.to_be_bytes()].concat());
            self.counter += 1;
            self.used = 0;
        }
        let mut word = [0; 4];
        word.copy_from_slice(&self.block[self.used..self.used + 4]);
        self.used += 4;
        u32::from_be_bytes(word)
    }

    /// A uniform position in a square whose side is a power of two of at most 2^16.
    fn position(&mut self, side: usize) -> (u16, u16) {
        let word = self.next_u32();
        let mask = (side - 1) as u16;
        ((word >> 16) as u16 & mask, word as u16 & mask)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;
    use proptest::prelude::*;

    fn width(k: u32) -> Width {
        Width::new(k).unwrap()
    }

    #[test]
    fn drawing_everything_gives_every_cell_once() {
        let cells = draw(&Seed::from_bytes([7; 32]), 1, width(2), 1_000);
        let positions: BTreeSet<_> = cells.iter().map(|at| (at.row, at.column)).collect();
        assert_eq!((cells.len(), positions.len()), (16, 16));
    }

    #[test]
    fn every_quadrant_is_drawn_about_equally_often() {
        let mut quadrants = [0_u32; 4];
        for seed in 0..100_u8 {
            for at in draw(&Seed::from_bytes([seed; 32]), 5, width(128), 24) {
                quadrants[usize::from(at.row >= 128) * 2 + usize::from(at.column >= 128)] += 1;
            }
        }
        // 600 expected each; six standard deviations of a binomial are 127.
        for count in quadrants {
            assert!(count.abs_diff(600) < 127, "{quadrants:?}");
        }
    }

    #[test]
    fn a_seed_does_not_print_its_bytes() {
        assert_eq!(format!("{:?}", Seed::from_bytes([0xab; 32])), "Seed(secret)");
    }

    proptest! {
        #[test]
        fn draws_are_distinct_in_bounds_half_by_each_axis_and_repeatable(
            seed: [u8; 32], height: u64, log in 1_u32..=9, samples in 0_usize..200,
        ) {
            let width = width(1 << log);
            let seed = Seed::from_bytes(seed);
            let cells = draw(&seed, height, width, samples);
            prop_assert_eq!(cells.len(), samples.min(width.extended().pow(2)));
            let positions: BTreeSet<_> = cells.iter().map(|at| (at.row, at.column)).collect();
            prop_assert_eq!(positions.len(), cells.len());
            let rows = cells.iter().filter(|at| at.axis == Axis::Row).count();
            prop_assert!(rows.abs_diff(cells.len() - rows) <= 1);
            let side = width.extended();
            prop_assert!(cells.iter().all(|at| usize::from(at.row.max(at.column)) < side));
            prop_assert_eq!(&cells, &draw(&seed, height, width, samples));
            // A smaller draw is the beginning of a larger one: raising the wanted confidence
            // keeps what was sampled before.
            let fewer = draw(&seed, height, width, samples / 2);
            prop_assert_eq!(&cells[..fewer.len()], &fewer[..]);
            let probe = probe(&seed, height);
            prop_assert!(probe.row < 4 && probe.column < 4);
        }

        #[test]
        fn another_seed_height_or_width_draws_other_cells(seed: [u8; 32], height in 0_u64..1 << 40) {
            let base = draw(&Seed::from_bytes(seed), height, width(128), 24);
            let mut other = seed;
            other[31] ^= 1;
            prop_assert_ne!(&base, &draw(&Seed::from_bytes(other), height, width(128), 24));
            prop_assert_ne!(&base, &draw(&Seed::from_bytes(seed), height + 1, width(128), 24));
            prop_assert_ne!(&base, &draw(&Seed::from_bytes(seed), height, width(256), 24));
        }
    }
}
