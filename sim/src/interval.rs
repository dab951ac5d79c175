//! How far a counted share may be from the true one.

use serde::Serialize;

/// Standard deviations either side that hold 95 % of a normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Standard deviations either side that hold 99.9 % of a normal distribution.
pub const Z_999: f64 = 3.290_526_731_491_926;

/// Where a probability lies, as far as counting can tell; both ends from 0 to 1, both included.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Interval {
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

impl Interval {
    /// Wilson's score interval for a probability that showed in `hits` of `trials` (at least one) trials
    /// (E. B. Wilson, "Probable inference, the law of succession, and statistical inference", 1927).
    ///
    /// It needs no special case for rare events: zero hits give a lower end of 0 and a useful upper one.
    #[must_use]
    pub fn wilson(hits: u64, trials: u64, z: f64) -> Self {
        let (n, share) = (trials as f64, hits as f64 / trials as f64);
        let shrink = 1.0 + z * z / n;
        let centre = (share + z * z / (2.0 * n)) / shrink;
        let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / shrink;
        // At the ends the sum is 0 or 1 but for rounding.
        Self {
            low: if hits == 0 { 0.0 } else { centre - half },
            high: if hits == trials { 1.0 } else { centre + half },
        }
    }

    /// Whether the probability may be this one.
    #[must_use]
    pub fn contains(&self, probability: f64) -> bool {
        self.low <= probability && probability <= self.high
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wilson_agrees_with_worked_examples() {
        // hits, trials, ends to four decimals.
        for (hits, trials, low, high) in
            [(0, 10, 0.0, 0.2775), (5, 10, 0.2366, 0.7634), (10, 10, 0.7225, 1.0), (1, 100, 0.0018, 0.0545)]
        {
            let got = Interval::wilson(hits, trials, Z_95);
            assert!(
                (got.low - low).abs() < 5e-5 && (got.high - high).abs() < 5e-5,
                "{hits}/{trials}: {got:?}"
            );
            assert!(got.contains(hits as f64 / trials as f64));
        }
    }
}
