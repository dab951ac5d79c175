//! How far a counted share may be from the true one.

use serde::Serialize;

/// Standard deviations either side that hold 95 % of a normal distribution.
pub const Z_95: f64 = 1.959_963_984_540_054;

/// Standard deviations either side that hold 99.9 % of a normal distribution.
pub const Z_999: f64 = 3.290_526_731_491_926;

/// Student's t for 95 % both sides, for 2, 3, … 10 measurements.
const STUDENT_95: [f64; 9] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262];

/// Where a probability, or a mean, lies, as far as counting can tell; both ends included.
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

    /// The mean of some measurements and its 95 % interval by Student's t; one measurement has an empty one.
    #[must_use]
    pub fn of_mean(values: &[f64]) -> (f64, Self) {
        let n = values.len().max(1) as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
        let t = match values.len() {
            0 | 1 => 0.0,
            n => STUDENT_95.get(n - 2).copied().unwrap_or(Z_95 * (1.0 + 2.0 / (n as f64 - 2.0))),
        };
        let half = t * (squares / (n - 1.0).max(1.0) / n).sqrt();
        (mean, Self { low: mean - half, high: mean + half })
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
    fn a_mean_lies_within_students_interval() {
        let (mean, interval) = Interval::of_mean(&[1.0, 2.0, 3.0]);
        assert_eq!(mean, 2.0);
        // 4.303 · 1 / √3.
        assert!((interval.high - 4.484).abs() < 1e-3 && (interval.low + 0.484).abs() < 1e-3, "{interval:?}");
        assert_eq!(Interval::of_mean(&[7.0]), (7.0, Interval { low: 7.0, high: 7.0 }));
    }

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
