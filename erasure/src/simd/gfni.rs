//! The transforms with GFNI on 512-bit registers.
//!
//! Symbols are 16 bits wide; a chunk of 64 bytes holds the low bytes of 32 of them, then the high bytes
//! (`reed-solomon-simd`'s layout). Two chunks make a [`Pair`] of registers, one of 64 low bytes, one of
//! the high ones, so that a product is four bit-matrix products and no shuffle. A line is cut into strips
//! of [`STRIP`] pairs; a strip of all its cells fits the first-level cache up to k = 256, is loaded by the
//! first pass over it and stored by the last, and each pass does two layers of butterflies.

use std::arch::x86_64::{
    __m256i, __m512i, _mm256_loadu_si256, _mm256_storeu_si256, _mm512_castsi256_si512,
    _mm512_castsi512_si256, _mm512_extracti64x4_epi64, _mm512_gf2p8affine_epi64_epi8, _mm512_inserti64x4,
    _mm512_set1_epi64, _mm512_setzero_si512, _mm512_ternarylogic_epi64, _mm512_xor_si512,
};

use reed_solomon_simd::engine::{GF_MODULUS, GfElement};

use super::matrices::{Matrices, SKEWS, matrices};
use crate::{
    Cell,
    code::{Line, LineMut},
};

/// Bytes of a pair.
const PAIR_BYTES: usize = 128;

/// Pairs of a cell that are transformed together.
const STRIP: usize = 1;

const STRIP_BYTES: usize = STRIP * PAIR_BYTES;

/// 64 symbols: their low bytes and their high bytes.
#[derive(Clone, Copy)]
struct Pair {
    low: __m512i,
    high: __m512i,
}

/// A strip of one cell.
type Strip = [Pair; STRIP];

/// Runs butterflies on each four strips that lie `distance` apart in a block of 4 `distance`. A macro, since
/// a closure does not always get inlined where its instructions are enabled; neither does one given to an
/// iterator.
macro_rules! each_four {
    ($strips:expr, $distance:expr, |$four:ident| $butterflies:expr) => {
        let (ab, cd) = $strips.split_at_mut(2 * $distance);
        let ((a, b), (c, d)) = (ab.split_at_mut($distance), cd.split_at_mut($distance));
        for (((a, b), c), d) in a.iter_mut().zip(b).zip(c).zip(d) {
            let $four = &mut [*a, *b, *c, *d];
            $butterflies;
            [*a, *b, *c, *d] = *$four;
        }
    };
}

/// Runs a butterfly on each two strips that lie half of all strips apart.
macro_rules! each_two {
    ($strips:expr, |$x:ident, $y:ident| $butterfly:expr) => {
        let (low, high) = $strips.split_at_mut($strips.len() / 2);
        for ($x, $y) in low.iter_mut().zip(high) {
            $butterfly;
        }
    };
}

/// The transforms; a value exists only where the processor has the instructions.
pub(crate) struct Gfni {
    strips: Vec<Strip>,
    /// What the cells of a line that is decoded are multiplied by.
    factors: Vec<Matrices>,
}

impl Gfni {
    /// Transforms on this processor; none when it lacks an instruction.
    pub(crate) fn detect() -> Option<Self> {
        let found = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("gfni");
        found.then(|| Self { strips: Vec::new(), factors: Vec::new() })
    }

    /// The second half of a line of 2k cells from its first; k is at least 8.
    pub(crate) fn encode(&mut self, k: usize, systematic: &impl Line, parity: &mut impl LineMut) {
        // SAFETY: `detect` found every feature the function needs.
        unsafe {
            self.resize(k);
            for at in (0..size_of::<Cell>()).step_by(STRIP_BYTES) {
                encode(&mut self.strips[..k], at, systematic, parity);
            }
        }
    }

    /// Decodes a line of 2k cells, in the order of their points: `erased` cells are replaced. `locator`: its
    /// logarithm at each point.
    pub(crate) fn decode(&mut self, line: &mut impl LineMut, erased: &[bool], locator: &[GfElement]) {
        let factor =
            |(log, erased): (&GfElement, &bool)| matrices(if *erased { GF_MODULUS - log } else { *log });
        self.factors.clear();
        self.factors.extend(locator.iter().zip(erased).map(factor));
        // SAFETY: `detect` found every feature the function needs.
        unsafe {
            self.resize(erased.len());
            for at in (0..size_of::<Cell>()).step_by(STRIP_BYTES) {
                decode(&mut self.strips[..erased.len()], at, line, erased, &self.factors);
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    fn resize(&mut self, strips: usize) {
        if self.strips.len() < strips {
            let zero = _mm512_setzero_si512();
            self.strips.resize(strips, [Pair { low: zero, high: zero }; STRIP]);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn encode(strips: &mut [Strip], at: usize, systematic: &impl Line, parity: &mut impl LineMut) {
    let k = strips.len();
    let skews = &SKEWS[..2 * k];
    for (first, group) in (0..k).step_by(4).zip(strips.as_chunks_mut::<4>().0) {
        for (i, strip) in group.iter_mut().enumerate() {
            *strip = load(systematic.cell(first + i), at);
        }
        inverse(group, k + first, 1, skews);
    }
    let mut distance = 4;
    while 4 * distance < k {
        inverse_pass(strips, distance, k, skews);
        distance *= 4;
    }
    // The last layers of the inverse transform and the first of the forward one are on the same cells.
    if 4 * distance == k {
        each_four!(strips, distance, |four| {
            inverse(four, k + distance - 1, distance, skews);
            forward_first(four, distance, skews);
        });
    } else {
        each_two!(strips, |x, y| {
            butterfly_inverse(x, y, &skews[k + distance - 1]);
            add(y, x);
        });
    }
    while distance > 4 {
        distance /= 4;
        forward_pass(strips, distance, skews);
    }
    for (first, group) in (0..k).step_by(4).zip(strips.as_chunks_mut::<4>().0) {
        if first == 0 {
            forward_first(group, 1, skews);
        } else {
            forward(group, first, 1, skews);
        }
        for (i, strip) in group.iter().enumerate() {
            store(parity.cell_mut(first + i), at, strip);
        }
    }
}

#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn decode(strips: &mut [Strip], at: usize, line: &mut impl LineMut, erased: &[bool], factors: &[Matrices]) {
    let n = strips.len();
    let skews = &SKEWS[..n];
    let zero = _mm512_setzero_si512();
    for (point, strip) in strips.iter_mut().enumerate() {
        *strip = [Pair { low: zero, high: zero }; STRIP];
        if !erased[point] {
            add_product(strip, &load(line.cell_mut(point), at), &factors[point]);
        }
    }
    let mut distance = 1;
    while 4 * distance <= n {
        inverse_pass(strips, distance, 0, skews);
        distance *= 4;
    }
    if 2 * distance == n {
        each_two!(strips, |x, y| add(y, x));
    }
    for i in 1..n {
        let width = 1 << i.trailing_zeros();
        let (before, from) = strips.split_at_mut(i);
        for (x, y) in before[i - width..].iter_mut().zip(&*from) {
            add(x, y);
        }
    }
    if 2 * distance == n {
        each_two!(strips, |x, y| add(y, x));
    }
    while distance > 1 {
        distance /= 4;
        forward_pass(strips, distance, skews);
    }
    for (point, strip) in strips.iter().enumerate().filter(|(point, _)| erased[*point]) {
        let mut cell = [Pair { low: zero, high: zero }; STRIP];
        add_product(&mut cell, strip, &factors[point]);
        store(line.cell_mut(point), at, &cell);
    }
}

/// Two layers of the inverse transform at skew `skew`, of butterflies `distance` and 2 `distance` wide.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn inverse_pass(strips: &mut [Strip], distance: usize, skew: usize, skews: &[Matrices]) {
    for (block, strips) in strips.chunks_exact_mut(4 * distance).enumerate() {
        let base = skew + block * 4 * distance + distance - 1;
        each_four!(strips, distance, |four| inverse(four, base, distance, skews));
    }
}

/// Two layers of the forward transform at skew 0.
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn forward_pass(strips: &mut [Strip], distance: usize, skews: &[Matrices]) {
    for (block, strips) in strips.chunks_exact_mut(4 * distance).enumerate() {
        let base = block * 4 * distance + distance - 1;
        if block == 0 {
            each_four!(strips, distance, |four| forward_first(four, distance, skews));
        } else {
            each_four!(strips, distance, |four| forward(four, base, distance, skews));
        }
    }
}

/// Two inverse layers of four strips. Their factors' places follow from the block's first.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn inverse([a, b, c, d]: &mut [Strip; 4], base: usize, distance: usize, skews: &[Matrices]) {
    butterfly_inverse(a, b, &skews[base]);
    butterfly_inverse(c, d, &skews[base + 2 * distance]);
    butterfly_inverse(a, c, &skews[base + distance]);
    butterfly_inverse(b, d, &skews[base + distance]);
}

/// Two forward layers of four strips.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn forward([a, b, c, d]: &mut [Strip; 4], base: usize, distance: usize, skews: &[Matrices]) {
    butterfly_forward(a, c, &skews[base + distance]);
    butterfly_forward(b, d, &skews[base + distance]);
    butterfly_forward(a, b, &skews[base]);
    butterfly_forward(c, d, &skews[base + 2 * distance]);
}

/// The same in the first block at skew 0, where all factors but one are zero.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn forward_first([a, b, c, d]: &mut [Strip; 4], distance: usize, skews: &[Matrices]) {
    add(c, a);
    add(d, b);
    add(b, a);
    butterfly_forward(c, d, &skews[3 * distance - 1]);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn butterfly_forward(x: &mut Strip, y: &mut Strip, factor: &Matrices) {
    add_product(x, y, factor);
    add(y, x);
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn butterfly_inverse(x: &mut Strip, y: &mut Strip, factor: &Matrices) {
    add(y, x);
    add_product(x, y, factor);
}

#[inline]
#[target_feature(enable = "avx512f")]
fn add(x: &mut Strip, y: &Strip) {
    for (x, y) in x.iter_mut().zip(y) {
        x.low = _mm512_xor_si512(x.low, y.low);
        x.high = _mm512_xor_si512(x.high, y.high);
    }
}

#[inline]
#[target_feature(enable = "avx512f,avx512bw,gfni")]
fn add_product(x: &mut Strip, y: &Strip, factor: &Matrices) {
    /// a ⊕ b ⊕ c as a truth table.
    const XOR: i32 = 0x96;
    let [low_low, high_low, low_high, high_high] =
        factor.map(|matrix| _mm512_set1_epi64(matrix.cast_signed()));
    for (x, y) in x.iter_mut().zip(y) {
        let low = _mm512_gf2p8affine_epi64_epi8::<0>(y.low, low_low);
        let high = _mm512_gf2p8affine_epi64_epi8::<0>(y.high, high_low);
        x.low = _mm512_ternarylogic_epi64::<XOR>(x.low, low, high);
        let low = _mm512_gf2p8affine_epi64_epi8::<0>(y.low, low_high);
        let high = _mm512_gf2p8affine_epi64_epi8::<0>(y.high, high_high);
        x.high = _mm512_ternarylogic_epi64::<XOR>(x.high, low, high);
    }
}

/// The strip of a cell that starts at byte `at`.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(cell: &Cell, at: usize) -> Strip {
    let pairs = cell[at..at + STRIP_BYTES].as_chunks::<PAIR_BYTES>().0;
    let zero = _mm512_setzero_si512();
    let mut strip = [Pair { low: zero, high: zero }; STRIP];
    for (pair, bytes) in strip.iter_mut().zip(pairs) {
        let from: *const __m256i = bytes.as_ptr().cast();
        // SAFETY: the four times 32 bytes from `from` on are the 128 of `bytes`; no alignment is needed.
        unsafe {
            let (a, b) = (_mm256_loadu_si256(from), _mm256_loadu_si256(from.add(1)));
            let (c, d) = (_mm256_loadu_si256(from.add(2)), _mm256_loadu_si256(from.add(3)));
            pair.low = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(a), c);
            pair.high = _mm512_inserti64x4::<1>(_mm512_castsi256_si512(b), d);
        }
    }
    strip
}

/// Puts a strip back where [`load`] takes it from.
#[inline]
#[target_feature(enable = "avx512f")]
fn store(cell: &mut Cell, at: usize, strip: &Strip) {
    let pairs = cell[at..at + STRIP_BYTES].as_chunks_mut::<PAIR_BYTES>().0;
    for (bytes, pair) in pairs.iter_mut().zip(strip) {
        let to: *mut __m256i = bytes.as_mut_ptr().cast();
        // SAFETY: the four times 32 bytes from `to` on are the 128 of `bytes`; no alignment is needed.
        unsafe {
            _mm256_storeu_si256(to, _mm512_castsi512_si256(pair.low));
            _mm256_storeu_si256(to.add(1), _mm512_castsi512_si256(pair.high));
            _mm256_storeu_si256(to.add(2), _mm512_extracti64x4_epi64::<1>(pair.low));
            _mm256_storeu_si256(to.add(3), _mm512_extracti64x4_epi64::<1>(pair.high));
        }
    }
}
