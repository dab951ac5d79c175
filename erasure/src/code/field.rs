//! Where a line's erasures are, in GF(2^16) as `reed-solomon-simd` represents it.

use reed_solomon_simd::engine::{GF_MODULUS, tables::get_exp_log};

use crate::Width;

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
