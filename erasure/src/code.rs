//! The code of a line: systematic RS[2k, k] over GF(2^16), Leopard's FFT as `reed-solomon-simd` has it.
//!
//! `ifft` of k shards at skew k, then `fft` at skew 0, turns a line's first half into its second, equal
//! to that crate's `encode(k, k, …)`. The second half are a polynomial's values at the points 0 … k-1,
//! the first half its values at k … 2k-1.
//!
//! A line's cells may lie anywhere ([`Line`], [`LineMut`]): a column's lie a row apart. They are gathered
//! in a buffer that stays in cache, transformed there, and written where they belong.

use reed_solomon_simd::{
    ReedSolomonDecoder,
    engine::{DefaultEngine, Engine, ShardsRefMut},
};

use crate::{Cell, SHARE_BYTES, Width};

/// The engine's unit: bytes that are transformed together.
const CHUNK_BYTES: usize = 64;
const CHUNKS: usize = SHARE_BYTES / CHUNK_BYTES;

/// Cells of a line, wherever they lie.
pub(crate) trait Line {
    /// Cell `i` of the line.
    fn cell(&self, i: usize) -> &Cell;
}

/// A line to be written.
pub(crate) trait LineMut {
    /// Cell `i` of the line.
    fn cell_mut(&mut self, i: usize) -> &mut Cell;
}

impl Line for &[Cell] {
    fn cell(&self, i: usize) -> &Cell {
        &self[i]
    }
}

impl LineMut for &mut [Cell] {
    fn cell_mut(&mut self, i: usize) -> &mut Cell {
        &mut self[i]
    }
}

/// Encoder of lines of one width.
pub(crate) struct Encoder {
    engine: DefaultEngine,
    width: Width,
    buffer: Vec<Cell>,
}

impl Encoder {
    pub(crate) fn new(width: Width) -> Self {
        Self { engine: DefaultEngine::new(), width, buffer: vec![[0; SHARE_BYTES]; width.get()] }
    }

    pub(crate) const fn width(&self) -> Width {
        self.width
    }

    /// The second half of a line from its first.
    pub(crate) fn encode(&mut self, systematic: &impl Line, parity: &mut impl LineMut) {
        let k = self.width.get();
        self.buffer.iter_mut().enumerate().for_each(|(i, cell)| *cell = *systematic.cell(i));
        let chunks = self.buffer.as_flattened_mut().as_chunks_mut::<CHUNK_BYTES>().0;
        let mut shards = ShardsRefMut::new(k, CHUNKS, chunks);
        self.engine.ifft(&mut shards, 0, k, k, k);
        self.engine.fft(&mut shards, 0, k, k, 0);
        self.buffer.iter().enumerate().for_each(|(i, cell)| *parity.cell_mut(i) = *cell);
    }

    /// Fills the second half of a line of 2k cells from its first.
    pub(crate) fn complete(&mut self, line: &mut [Cell]) {
        let (systematic, mut parity) = line.split_at_mut(self.width.get());
        self.encode(&&*systematic, &mut parity);
    }
}
/// Decoder of lines of one width.
pub(crate) struct Decoder {
    decoder: ReedSolomonDecoder,
    encoder: Encoder,
}

impl Decoder {
    #[expect(clippy::expect_used, reason = "the code exists for every width and cells are even-sized")]
    pub(crate) fn new(width: Width) -> Self {
        let k = width.get();
        let decoder = ReedSolomonDecoder::new(k, k, SHARE_BYTES).expect("a width is a supported count");
        Self { decoder, encoder: Encoder::new(width) }
    }

    /// Replaces the cells of a line that are not held by those of the codeword that the held ones
    /// decode to; at least k must be held. Held cells are overwritten too: they come out changed if
    /// they are not of one codeword.
    #[expect(clippy::expect_used, reason = "places are distinct, below 2k, and at least k of them")]
    pub(crate) fn restore(&mut self, line: &mut [Cell], held: &[bool]) {
        let k = self.encoder.width.get();
        for (i, cell) in line.iter().enumerate().filter(|(i, _)| held[*i]) {
            let added = match i.checked_sub(k) {
                None => self.decoder.add_original_shard(i, cell),
                Some(parity) => self.decoder.add_recovery_shard(parity, cell),
            };
            added.expect("each place is given once");
        }
        let restored = self.decoder.decode().expect("k cells decode");
        for (i, cell) in restored.restored_original_iter() {
            line[i].copy_from_slice(cell);
        }
        drop(restored);
        self.encoder.complete(line);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use proptest::prelude::*;

    fn noise(count: usize, seed: u64) -> Vec<Cell> {
        let mut cells = vec![[0; SHARE_BYTES]; count];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes()).finalize_xof().fill(cells.as_flattened_mut());
        cells
    }

    #[test]
    fn parity_equals_the_crates_own_encoder_at_every_width() {
        for k in (1..=9).map(|log| 1 << log) {
            let width = Width::new(k).unwrap();
            let k = width.get();
            let mut line = noise(2 * k, 1);
            let systematic = line[..k].to_vec();
            Encoder::new(width).complete(&mut line);
            assert_eq!(line[..k], systematic);
            let expected = reed_solomon_simd::encode(k, k, &systematic).unwrap();
            assert!(line[k..].iter().zip(expected).all(|(cell, shard)| cell[..] == shard[..]));
        }
    }

    proptest! {
        #[test]
        fn any_k_cells_of_a_line_restore_it(
            log in 1..=7u32,
            order in any::<prop::sample::Index>(),
            seed in any::<u64>(),
        ) {
            let width = Width::new(1 << log).unwrap();
            let (k, n) = (width.get(), width.extended());
            let mut line = noise(n, seed);
            Encoder::new(width).complete(&mut line);
            // A permutation of the places from a multiplier that is odd, so coprime to 2k.
            let (step, shift) = (2 * order.index(n) + 1, seed as usize % n);
            let mut held = vec![false; n];
            (0..k).for_each(|i| held[(i * step + shift) % n] = true);
            let mut damaged = line.clone();
            damaged.iter_mut().zip(&held).filter(|(_, held)| !**held).for_each(|(c, _)| c.fill(0x55));
            let mut decoder = Decoder::new(width);
            for _ in 0..2 {
                let mut again = damaged.clone();
                decoder.restore(&mut again, &held);
                prop_assert_eq!(&again, &line);
            }
        }
    }
}
