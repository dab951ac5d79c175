//! The code of a line: systematic RS[2k, k] over GF(2^16), Leopard's FFT as `reed-solomon-simd` has it.
//!
//! An inverse transform of k cells at skew k, then a forward one at skew 0, turns a line's first half
//! into its second, equal to that crate's `encode(k, k, …)`. The second half are a polynomial's values at
//! the points 0 … k-1, the first half its values at k … 2k-1. A line is decoded from k cells by
//! transforms of its own 2k points: each cell times the erasure locator there, inverse transform, formal
//! derivative, forward transform, each missing cell divided by the locator (Lin, Chung, Han, "Novel
//! polynomial basis and its application to Reed-Solomon erasure codes", section IV).
//!
//! A line's cells may lie anywhere ([`Line`], [`LineMut`]): a column's lie a row apart. Where the processor
//! allows, [`simd`](crate::simd) transforms them; elsewhere an engine of `reed-solomon-simd`.

mod field;

use reed_solomon_simd::engine::{DefaultEngine, Engine, GF_MODULUS, GfElement, ShardsRefMut, utils};

#[cfg(target_arch = "x86_64")]
use crate::simd::Gfni;
use crate::{Cell, SHARE_BYTES, Width};
use field::Locator;

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

/// The narrowest line that [`Gfni`] transforms.
#[cfg(target_arch = "x86_64")]
const MIN_GFNI_WIDTH: usize = 8;

/// What transforms.
enum Kernel {
    #[cfg(target_arch = "x86_64")]
    Gfni(Gfni),
    Library(Library),
}

impl Kernel {
    fn detect(width: Width) -> Self {
        #[cfg(target_arch = "x86_64")]
        if width.get() >= MIN_GFNI_WIDTH
            && let Some(gfni) = Gfni::detect()
        {
            return Self::Gfni(gfni);
        }
        Self::Library(Library::new(DefaultEngine::new(), width))
    }
}

/// The transforms by an engine of `reed-solomon-simd`, in a buffer that holds a line.
struct Library {
    engine: Box<dyn Engine + Send + Sync>,
    buffer: Vec<Cell>,
}

impl Library {
    fn new(engine: impl Engine + Send + Sync + 'static, width: Width) -> Self {
        Self { engine: Box::new(engine), buffer: vec![[0; SHARE_BYTES]; width.extended()] }
    }

    fn encode(&mut self, k: usize, systematic: &impl Line, parity: &mut impl LineMut) {
        let buffer = &mut self.buffer[..k];
        buffer.iter_mut().enumerate().for_each(|(i, cell)| *cell = *systematic.cell(i));
        self.engine.ifft(&mut shards(buffer), 0, k, k, k);
        self.engine.fft(&mut shards(buffer), 0, k, k, 0);
        buffer.iter().enumerate().for_each(|(i, cell)| *parity.cell_mut(i) = *cell);
    }

    /// `locator`: its logarithm at each point.
    fn decode(&mut self, line: &mut impl LineMut, erased: &[bool], locator: &[GfElement]) {
        let (n, buffer) = (erased.len(), self.buffer.as_mut_slice());
        for (point, cell) in buffer.iter_mut().enumerate() {
            if erased[point] {
                cell.fill(0);
            } else {
                *cell = *line.cell_mut(point);
                self.engine.mul(chunks(std::slice::from_mut(cell)), locator[point]);
            }
        }
        self.engine.ifft(&mut shards(buffer), 0, n, n, 0);
        for i in 1..n {
            let width = 1 << i.trailing_zeros();
            utils::xor_within(&mut shards(buffer), i - width, i, width);
        }
        self.engine.fft(&mut shards(buffer), 0, n, n, 0);
        for (point, cell) in buffer.iter_mut().enumerate().filter(|(point, _)| erased[*point]) {
            self.engine.mul(chunks(std::slice::from_mut(cell)), GF_MODULUS - locator[point]);
            *line.cell_mut(point) = *cell;
        }
    }
}

/// The engine's units: bytes that are transformed together.
fn chunks(cells: &mut [Cell]) -> &mut [[u8; 64]] {
    cells.as_flattened_mut().as_chunks_mut().0
}

fn shards(cells: &mut [Cell]) -> ShardsRefMut<'_> {
    ShardsRefMut::new(cells.len(), SHARE_BYTES / 64, chunks(cells))
}

/// Encoder of lines of one width.
pub(crate) struct Encoder {
    kernel: Kernel,
    width: Width,
}

impl Encoder {
    pub(crate) fn new(width: Width) -> Self {
        Self { kernel: Kernel::detect(width), width }
    }

    pub(crate) const fn width(&self) -> Width {
        self.width
    }

    /// The second half of a line from its first.
    pub(crate) fn encode(&mut self, systematic: &impl Line, parity: &mut impl LineMut) {
        let k = self.width.get();
        match &mut self.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Gfni(gfni) => gfni.encode(k, systematic, parity),
            Kernel::Library(library) => library.encode(k, systematic, parity),
        }
    }

    /// Fills the second half of a line of 2k cells from its first.
    pub(crate) fn complete(&mut self, line: &mut [Cell]) {
        let (systematic, mut parity) = line.split_at_mut(self.width.get());
        self.encode(&&*systematic, &mut parity);
    }
}

/// A line by its points: its second half is at the points 0 … k-1, its first at k … 2k-1.
struct Points<'a>(&'a mut [Cell]);

impl LineMut for Points<'_> {
    fn cell_mut(&mut self, point: usize) -> &mut Cell {
        let half = self.0.len() / 2;
        &mut self.0[point ^ half]
    }
}

/// Decoder of lines of one width.
pub(crate) struct Decoder {
    encoder: Encoder,
    locator: Locator,
    /// By point: 1 where erased, then the locator's logarithm.
    points: Vec<i32>,
    logs: Vec<GfElement>,
    erased: Vec<bool>,
}

impl Decoder {
    pub(crate) fn new(width: Width) -> Self {
        let (encoder, n) = (Encoder::new(width), width.extended());
        let (points, logs, erased) = (vec![0; n], vec![0; n], vec![false; n]);
        Self { encoder, locator: Locator::new(width), points, logs, erased }
    }

    /// Replaces all cells of a line but the first k that are held by those of the codeword that these k
    /// decode to; at least k must be held. The other held cells come out changed if they are not of
    /// that codeword.
    pub(crate) fn restore(&mut self, line: &mut [Cell], held: &[bool]) {
        let k = self.encoder.width.get();
        let mut given = 0;
        for (place, held) in held.iter().enumerate() {
            let erased = !held || given == k;
            given += usize::from(!erased);
            self.erased[place ^ k] = erased;
        }
        debug_assert_eq!(given, k);
        if self.erased[k..].iter().all(|erased| !erased) {
            return self.encoder.complete(line);
        }
        self.points.iter_mut().zip(&self.erased).for_each(|(point, erased)| *point = i32::from(*erased));
        self.locator.locate(&mut self.points);
        // Below the modulus, so 16 bits.
        self.logs.iter_mut().zip(&self.points).for_each(|(log, point)| *log = *point as GfElement);
        let mut line = Points(line);
        match &mut self.encoder.kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Gfni(gfni) => gfni.decode(&mut line, &self.erased, &self.logs),
            Kernel::Library(library) => library.decode(&mut line, &self.erased, &self.logs),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;
    use proptest::prelude::*;
    use reed_solomon_simd::engine::NoSimd;

    fn noise(count: usize, seed: u64) -> Vec<Cell> {
        let mut cells = vec![[0; SHARE_BYTES]; count];
        let mut hasher = blake3::Hasher::new();
        hasher.update(&seed.to_be_bytes()).finalize_xof().fill(cells.as_flattened_mut());
        cells
    }

    /// The kernel that this processor takes, the library's, and the one that runs everywhere.
    fn encoders(width: Width) -> [Encoder; 3] {
        let library = |engine: Library| Encoder { kernel: Kernel::Library(engine), width };
        let portable = library(Library::new(NoSimd::new(), width));
        [Encoder::new(width), library(Library::new(DefaultEngine::new(), width)), portable]
    }

    #[test]
    fn parity_equals_the_crates_own_encoder_at_every_width() {
        for k in (1..=9).map(|log| 1 << log) {
            let width = Width::new(k).unwrap();
            let k = width.get();
            let systematic = noise(k, 1);
            let expected = reed_solomon_simd::encode(k, k, &systematic).unwrap();
            for mut encoder in encoders(width) {
                let mut line = [systematic.clone(), noise(k, 2)].concat();
                encoder.complete(&mut line);
                assert_eq!(line[..k], systematic);
                assert!(line[k..].iter().zip(&expected).all(|(cell, shard)| cell[..] == shard[..]));
            }
        }
    }

    #[test]
    fn held_cells_past_the_first_k_are_compared_with_not_decoded_from() {
        let width = Width::new(8).unwrap();
        let mut line = noise(16, 3);
        Encoder::new(width).complete(&mut line);
        let mut damaged = line.clone();
        damaged[15][9] ^= 1;
        let held: Vec<bool> = (0..16).map(|i| i > 4).collect();
        Decoder::new(width).restore(&mut damaged, &held);
        assert_eq!(damaged, line);
    }

    proptest! {
        #[test]
        fn any_k_cells_of_a_line_restore_it(
            log in 1..=9u32,
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
            for encoder in encoders(width) {
                let mut decoder = Decoder { encoder, ..Decoder::new(width) };
                for _ in 0..2 {
                    let mut again = damaged.clone();
                    decoder.restore(&mut again, &held);
                    prop_assert!(again == line);
                }
            }
        }
    }
}
