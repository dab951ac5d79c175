//! Random numbers that are the same on every machine.

use std::ops::Range;

use erasure::{Digest, keccak256};

/// The hash from which one random choice is made.
pub(crate) fn hash<const N: usize>(domain: &str, numbers: [u64; N]) -> Digest {
    keccak256(&[domain.as_bytes(), numbers.map(u64::to_be_bytes).as_flattened()].concat())
}

/// Spreads a number over all 64 bits, without collisions (the finaliser of SplitMix64; Steele, Lea, Flood,
/// "Fast splittable pseudorandom number generators", 2014).
pub(crate) fn mix(number: u64) -> u64 {
    let number = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    number ^ (number >> 31)
}

/// A stream of random numbers: SplitMix64 started from a hash. Whole numbers only, so that no machine's
/// rounding can tell two runs apart.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream with this name.
    pub(crate) fn new<const N: usize>(domain: &str, numbers: [u64; N]) -> Self {
        let mut start = [0; 8];
        start.copy_from_slice(&hash(domain, numbers)[..8]);
        Self(u64::from_be_bytes(start))
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        mix(self.0)
    }

    /// Uniform from 0 to `limit − 1`, to within `limit / 2⁶⁴`; 0 if `limit` is 0.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(limit)) >> 64) as u64
    }

    /// True in `percent` of 100 cases.
    pub(crate) fn percent(&mut self, percent: f64) -> bool {
        (self.next() as f64) < percent / 100.0 * 18_446_744_073_709_551_616.0
    }

    /// A number from 0 on, as often as its share of all says.
    pub(crate) fn pick(&mut self, shares: &[u64]) -> usize {
        let mut place = self.below(shares.iter().sum());
        let found = shares.iter().position(|share| {
            let here = place < *share;
            place = place.wrapping_sub(*share);
            here
        });
        found.unwrap_or(0)
    }

    /// This share of the nodes, rounded up.
    pub(crate) fn some(&mut self, of: Range<usize>, percent: u64) -> Vec<usize> {
        let mut nodes: Vec<usize> = of.collect();
        self.shuffle(&mut nodes);
        nodes.truncate((nodes.len() as u64 * percent).div_ceil(100) as usize);
        nodes
    }

    /// Puts the items in random order.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_spread_evenly_and_named_streams_differ() {
        let mut rng = Rng::new("weft/sim-test/1", [1]);
        let mut counts = [0_u32; 10];
        (0..100_000).for_each(|_| counts[rng.below(10) as usize] += 1);
        // Six standard deviations of a binomial are 570.
        assert!(counts.iter().all(|count| count.abs_diff(10_000) < 570), "{counts:?}");
        let hits = (0..100_000).filter(|_| rng.percent(12.5)).count();
        assert!(hits.abs_diff(12_500) < 630, "{hits}");
        assert_ne!(Rng::new("weft/sim-test/1", [2]).next(), Rng::new("weft/sim-test/1", [1]).next());
    }
}
