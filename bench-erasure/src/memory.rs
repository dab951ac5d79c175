//! What the machine's memory and its hashing lanes can do by themselves.

use std::hint::black_box;

use erasure::{Namespace, SHARE_BYTES, blob_commitment};

use crate::time;

/// Bytes that no cache of a core holds.
const BYTES: usize = 64 << 20;

const ROUNDS: usize = 12;

/// Best of several, on one thread.
pub(crate) struct Memory {
    /// Bytes read a second.
    pub(crate) read: f64,
    /// Bytes copied a second.
    pub(crate) copy: f64,
    /// Seconds to hash a cell and two inner nodes, from cache.
    pub(crate) hash_cell: f64,
}

pub(crate) fn measure() -> Memory {
    let from = vec![1u64; BYTES / 8];
    let mut to = vec![2u64; BYTES / 8];
    let best = |run: &mut dyn FnMut()| (0..ROUNDS).map(|_| time(&mut *run).0).fold(f64::INFINITY, f64::min);
    let read = best(&mut || {
        let sums = from.as_chunks::<16>().0.iter().fold([0u64; 16], |mut sums, chunk| {
            sums.iter_mut().zip(chunk).for_each(|(sum, word)| *sum ^= word);
            sums
        });
        black_box(sums);
    });
    let copy = best(&mut || {
        to.copy_from_slice(&from);
        black_box(&to);
    });
    // A blob's commitment is a leaf and an inner node for each cell; a square has two inner nodes for
    // each. A leaf is eight blocks, an inner node one.
    let cells = 512;
    let blob = vec![7; cells * SHARE_BYTES];
    let namespace = Namespace::from_user_id([1; 10]);
    let hash = best(&mut || {
        for _ in 0..64 {
            black_box(blob_commitment(&namespace, &blob));
        }
    });
    let hash_cell = hash / (64 * cells) as f64 * 10.0 / 9.0;
    Memory { read: BYTES as f64 / read, copy: BYTES as f64 / copy, hash_cell }
}
