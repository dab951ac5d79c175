//! How sure `n` sampled cells make a client, and how many cells a wanted certainty takes.
//!
//! The smallest set of cells whose loss defeats two-dimensional repair is a (k+1) × (k+1)
//! sub-grid of the 2k × 2k extended square (Al-Bassam, Sonnino, Buterin, arXiv:1809.09044,
//! theorems 1 and 2). A client that draws `n` distinct cells uniformly misses all of it with
//! probability `∏ (1 − (k+1)² / (4k² − i))` over `i` in `0..n`.

use std::fmt;
use std::str::FromStr;

use erasure::Width;
use thiserror::Error;

/// How sure a client wants to be that a block was published: a probability below one, kept as
/// the probability of being fooled so that `1 − 2⁻⁸⁰` is exact.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Confidence {
    miss: f64,
}

/// A confidence that is not a probability strictly between zero and one. The caller is at fault.
#[derive(Clone, Debug, Error, PartialEq)]
#[error("confidence {got} is not between 0 and 1: write 0.999, 99.9% or 1-2^-20")]
pub struct ConfidenceError {
    got: String,
}

impl Confidence {
    /// 99.9 %, what a client asks for unless told otherwise.
    pub const DEFAULT: Self = Self { miss: 0.001 };

    /// A confidence given as the probability of noticing, for example `0.999`.
    pub fn new(probability: f64) -> Result<Self, ConfidenceError> {
        Self::from_miss(1.0 - probability).map_err(|_| ConfidenceError { got: probability.to_string() })
    }

    /// A confidence given as the probability of being fooled, for example `2⁻⁸⁰`.
    pub fn from_miss(miss: f64) -> Result<Self, ConfidenceError> {
        if miss > 0.0 && miss < 1.0 {
            return Ok(Self { miss });
        }
        Err(ConfidenceError { got: (1.0 - miss).to_string() })
    }

    /// The probability of being fooled.
    pub fn miss(self) -> f64 {
        self.miss
    }

    /// The probability of noticing.
    pub fn probability(self) -> f64 {
        1.0 - self.miss
    }
}

impl Default for Confidence {
    fn default() -> Self {
        Self::DEFAULT
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough decimals to show the first digit that is not a nine.
        let decimals = (-self.miss.log10()).ceil().clamp(0.0, 30.0) as usize;
        if self.miss < 1e-12 {
            return write!(f, "1-2^-{:.0}", -self.miss.log2());
        }
        write!(f, "{:.*}%", decimals.saturating_sub(2), self.probability() * 100.0)
    }
}

impl FromStr for Confidence {
    type Err = ConfidenceError;

    /// Reads `0.999`, `99.9%` or `1-2^-20`.
    fn from_str(text: &str) -> Result<Self, ConfidenceError> {
        let refused = || ConfidenceError { got: text.to_owned() };
        let number = |digits: &str| digits.trim().parse::<f64>().map_err(|_| refused());
        let miss = if let Some(bits) = text.strip_prefix("1-2^-") {
            (-number(bits)?).exp2()
        } else if let Some(percent) = text.strip_suffix('%') {
            // From 100 down, so that 99.9 % does not pick up an error of the division first.
            (100.0 - number(percent)?) / 100.0
        } else {
            1.0 - number(text)?
        };
        Self::from_miss(miss).map_err(|_| refused())
    }
}

/// Probability that the next cell misses the smallest unrecoverable pattern, given that the
/// `drawn` cells before it did.
fn next_misses(width: Width, drawn: usize) -> f64 {
    let k = width.get() as f64;
    (1.0 - (k + 1.0) * (k + 1.0) / (4.0 * k * k - drawn as f64)).max(0.0)
}

/// Probability that `samples` distinct, uniformly drawn cells all miss the smallest pattern of
/// withheld cells that makes a block of this width unrecoverable.
///
/// Exactly zero once more cells are drawn than there are outside the pattern.
pub fn miss_probability(width: Width, samples: usize) -> f64 {
    (0..samples).map(|drawn| next_misses(width, drawn)).product()
}

/// Probability that `samples` distinct, uniformly drawn cells hit the smallest pattern of
/// withheld cells that makes a block of this width unrecoverable: `1 − miss_probability`.
pub fn confidence(width: Width, samples: usize) -> f64 {
    1.0 - miss_probability(width, samples)
}

/// The fewest distinct cells that reach the wanted confidence at this width.
///
/// Never more than `k(3k − 2)`, the number of cells that always suffices to rebuild the block.
pub fn samples_needed(width: Width, wanted: Confidence) -> usize {
    let mut miss = 1.0;
    let mut samples = 0;
    while miss > wanted.miss {
        miss *= next_misses(width, samples);
        samples += 1;
    }
    samples
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn width(k: u32) -> Width {
        Width::new(k).unwrap()
    }

    fn two_to_minus(bits: i32) -> Confidence {
        Confidence::from_miss(f64::from(-bits).exp2()).unwrap()
    }

    /// Published table: k, then the samples for 99 %, 99.9 %, 99.99 %, 1−2⁻²⁰, 1−2⁻⁴⁰, 1−2⁻⁸⁰.
    const NEEDED: [(u32, [usize; 6]); 6] = [
        (16, [14, 21, 28, 41, 80, 153]),
        (32, [15, 23, 30, 45, 89, 175]),
        (64, [16, 24, 31, 47, 93, 185]),
        (128, [16, 24, 32, 48, 95, 189]),
        (256, [16, 24, 32, 48, 96, 191]),
        (512, [16, 24, 32, 48, 96, 192]),
    ];

    /// Published table: k, then the chance of noticing at [`DETECTION_SAMPLES`].
    const DETECTION: [(u32, [f64; 10]); 6] = [
        (16, [0.4850, 0.6306, 0.8102, 0.9303, 0.9643, 0.99336, 0.99526, 0.99662, 0.99878, 0.99996]),
        (32, [0.4611, 0.6044, 0.7869, 0.9158, 0.9547, 0.99039, 0.99296, 0.99484, 0.99797, 0.99991]),
        (64, [0.4493, 0.5913, 0.7749, 0.9080, 0.9494, 0.98862, 0.99156, 0.99374, 0.99744, 0.99987]),
        (128, [0.4434, 0.5847, 0.7688, 0.9040, 0.9466, 0.98765, 0.99079, 0.99313, 0.99715, 0.99985]),
        (256, [0.4404, 0.5814, 0.7658, 0.9020, 0.9451, 0.98715, 0.99039, 0.99281, 0.99699, 0.99983]),
        (512, [0.4390, 0.5798, 0.7642, 0.9009, 0.9444, 0.98690, 0.99019, 0.99265, 0.99691, 0.99983]),
    ];
    const DETECTION_SAMPLES: [usize; 10] = [2, 3, 5, 8, 10, 15, 16, 17, 20, 30];

    #[test]
    fn samples_needed_agrees_with_the_published_table() {
        let wanted = [
            Confidence::new(0.99).unwrap(),
            Confidence::DEFAULT,
            "99.99%".parse().unwrap(),
            two_to_minus(20),
            two_to_minus(40),
            two_to_minus(80),
        ];
        for (k, expected) in NEEDED {
            let got = wanted.map(|wanted| samples_needed(width(k), wanted));
            assert_eq!(got, expected, "k = {k}");
        }
    }

    #[test]
    fn confidence_agrees_with_the_published_table() {
        for (k, expected) in DETECTION {
            for (samples, expected) in DETECTION_SAMPLES.into_iter().zip(expected) {
                let got = confidence(width(k), samples);
                // One unit of the table's last digit: it does not always round to the nearest.
                let last_digit = if expected < 0.98 { 1e-4 } else { 1e-5 };
                assert!(
                    (got - expected).abs() <= last_digit,
                    "k = {k}, {samples} samples: {got} is not {expected}"
                );
            }
        }
    }

    #[test]
    fn small_squares_reach_certainty_with_the_cells_that_always_suffice() {
        for k in [2, 4, 8, 16] {
            let enough = (k * (3 * k - 2)) as usize;
            assert_eq!(miss_probability(width(k), enough), 0.0, "k = {k}");
            assert!(miss_probability(width(k), enough - 1) > 0.0, "k = {k}");
            assert_eq!(miss_probability(width(k), 4 * enough), 0.0, "k = {k}");
            assert!(samples_needed(width(k), two_to_minus(200)) <= enough, "k = {k}");
        }
    }

    #[test]
    fn a_confidence_reads_as_probability_percent_or_power_of_two() {
        let close = |text: &str, miss: f64| {
            let got: Confidence = text.parse().unwrap();
            assert!((got.miss() / miss - 1.0).abs() < 1e-9, "{text}: {got:?}");
        };
        close("0.999", 1e-3);
        close("99.9%", 1e-3);
        close("1-2^-80", (-80f64).exp2());
        assert_eq!(Confidence::DEFAULT.to_string(), "99.9%");
        assert_eq!(two_to_minus(80).to_string(), "1-2^-80");
        assert_eq!(Confidence::new(0.5).unwrap().to_string(), "50%");
    }

    #[test]
    fn a_confidence_of_one_or_nonsense_is_refused() {
        for text in ["1", "0", "1.5", "-1", "100%", "0%", "NaN", "inf", "1-2^-0", "", "sure"] {
            assert!(text.parse::<Confidence>().is_err(), "{text}");
        }
        assert!(Confidence::new(1.0).is_err());
        assert!(Confidence::new(f64::NAN).is_err());
    }
}
