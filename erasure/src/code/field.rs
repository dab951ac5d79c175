//! GF(2^16) in `reed-solomon-simd`'s representation, and where a line's erasures are.

use std::sync::LazyLock;

use reed_solomon_simd::engine::{
    GF_MODULUS, GfElement,
    tables::{self, get_exp_log},
};

use crate::Width;

/// Multiplication by one element as four 8 × 8 bit matrices, from and to the low and the high bytes of
/// the factor: low to low, high to low, low to high, high to high. Rows as GFNI has them: row i, which
/// gives bit i, is byte 7 - i.
pub(crate) type Matrices = [u64; 4];

/// The matrices of the transforms' skew factors, as many as the widest line needs.
pub(crate) static SKEWS: LazyLock<Vec<Matrices>> = LazyLock::new(|| {
    let skews = &tables::get_skew()[..2 * Width::MAX.get()];
    skews.iter().map(|log| if *log == GF_MODULUS { [0; 4] } else { matrices(*log) }).collect()
});

/// Multiplication by the element with this logarithm.
pub(crate) fn matrices(log: GfElement) -> Matrices {
    let field = get_exp_log();
    let products: [GfElement; 16] =
        std::array::from_fn(|bit| tables::mul(1 << bit, log, &field.exp, &field.log));
    let matrix = |from: usize, to: u32| {
        let bytes = std::array::from_fn(|i| (products[from + i] >> to) as u8);
        transpose(u64::from_le_bytes(bytes)).swap_bytes()
    };
    [matrix(0, 0), matrix(8, 0), matrix(0, 8), matrix(8, 8)]
}

/// Bit 8 i + j to 8 j + i. Warren, Hacker's Delight, section 7-3.
const fn transpose(mut bits: u64) -> u64 {
    let swap = (bits ^ (bits >> 7)) & 0x00AA_00AA_00AA_00AA;
    bits ^= swap ^ (swap << 7);
    let swap = (bits ^ (bits >> 14)) & 0x0000_CCCC_0000_CCCC;
    bits ^= swap ^ (swap << 14);
    let swap = (bits ^ (bits >> 28)) & 0x0000_0000_F0F0_F0F0;
    bits ^ swap ^ (swap << 28)
}

/// The erasure locator of lines of one width: for each of the 2k points p, the logarithm of
/// Π (p - e) over all erased points e other than p.
///
/// That sum of logarithms is a convolution over XOR, since p - e is p ^ e: two Walsh-Hadamard transforms
/// of 2k numbers modulo 65,535, the logarithms' own transform computed once.
pub(crate) struct Locator {
    /// The transform of the logarithms, divided by its size.
    logs: Vec<i32>,
}

const MODULUS: i32 = GF_MODULUS as i32;

impl Locator {
    pub(crate) fn new(width: Width) -> Self {
        let n = width.extended();
        let mut logs: Vec<i32> = get_exp_log().log[..n].iter().map(|log| i32::from(*log)).collect();
        logs[0] = 0;
        walsh_hadamard(&mut logs);
        // 65,536 is 1 modulo 65,535, so 65,536 / n divides by n.
        let inverse = (1 << 16) / n as i64;
        let scaled = |log: &mut i32| *log = (i64::from(*log) * inverse).rem_euclid(MODULUS.into()) as i32;
        logs.iter_mut().for_each(scaled);
        Self { logs }
    }

    /// `points`: 1 where a point is erased, 0 elsewhere; becomes the locator's logarithms.
    pub(crate) fn locate(&self, points: &mut [i32]) {
        // At most n in size, then less than 2^16 times n: both fit.
        walsh_hadamard(points);
        points
            .iter_mut()
            .zip(&self.logs)
            .for_each(|(point, log)| *point = (*point * log).rem_euclid(MODULUS));
        walsh_hadamard(points);
        points.iter_mut().for_each(|point| *point = point.rem_euclid(MODULUS));
    }
}

fn walsh_hadamard(values: &mut [i32]) {
    let mut half = 1;
    while half < values.len() {
        for block in values.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (low, high) in low.iter_mut().zip(high) {
                (*low, *high) = (*low + *high, *low - *high);
            }
        }
        half *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_multiply() {
        let field = get_exp_log();
        let mut factor = 1u16;
        for log in (0..GF_MODULUS).step_by(257) {
            factor = factor.wrapping_mul(40_503) | 1;
            let [low, high] = factor.to_le_bytes();
            let row =
                |matrix: u64, byte: u8, bit: u32| ((matrix >> (8 * (7 - bit))) as u8 & byte).count_ones() & 1;
            let [ll, hl, lh, hh] = matrices(log);
            let product = (0..8).map(|bit| {
                let low_bit = row(ll, low, bit) ^ row(hl, high, bit);
                let high_bit = row(lh, low, bit) ^ row(hh, high, bit);
                low_bit << bit | high_bit << (8 + bit)
            });
            assert_eq!(product.sum::<u32>(), u32::from(tables::mul(factor, log, &field.exp, &field.log)));
        }
    }

    #[test]
    fn locators_are_products_of_differences() {
        for width in (1..=9).filter_map(|log| Width::new(1 << log).ok()) {
            let n = width.extended();
            let erased: Vec<usize> = (0..n).filter(|point| point * point % 7 < 3).collect();
            let mut points = vec![0; n];
            erased.iter().for_each(|point| points[*point] = 1);
            Locator::new(width).locate(&mut points);
            for (point, log) in points.iter().enumerate() {
                let others = erased.iter().filter(|other| **other != point);
                let logs = others.map(|other| i64::from(get_exp_log().log[point ^ other]));
                assert_eq!(i64::from(*log), logs.sum::<i64>() % i64::from(GF_MODULUS));
            }
        }
    }
}
