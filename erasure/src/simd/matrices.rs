//! Multiplication in GF(2^16), in `reed-solomon-simd`'s representation, as GFNI does it.

use std::sync::LazyLock;

use reed_solomon_simd::engine::{
    GF_MODULUS, GfElement,
    tables::{self, get_exp_log},
};

use crate::Width;

/// Multiplication by one element as four 8 × 8 bit matrices, from and to the low and the high bytes of
/// the factor: low to low, high to low, low to high, high to high. Rows as GFNI has them: row i, which
/// gives bit i, is byte 7 - i.
pub(super) type Matrices = [u64; 4];

/// The matrices of the transforms' skew factors, as many as the widest line needs.
pub(super) static SKEWS: LazyLock<Vec<Matrices>> = LazyLock::new(|| {
    let skews = &tables::get_skew()[..2 * Width::MAX.get()];
    skews.iter().map(|log| if *log == GF_MODULUS { [0; 4] } else { matrices(*log) }).collect()
});

/// Multiplication by the element with this logarithm.
pub(super) fn matrices(log: GfElement) -> Matrices {
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
}
