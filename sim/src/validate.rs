//! Published numbers, and what this code makes of them.
//!
//! The tables are those of the sampling theorem (Al-Bassam, Sonnino, Buterin, arXiv:1809.09044, theorem
//! 2), for a client that draws distinct cells: `1 − ∏ (1 − (k+1)² / (4k² − i))`.

use std::num::{NonZeroU16, NonZeroU32};

use erasure::Width;
use light_client::sampler::{Confidence, confidence, samples_needed};
use serde::Serialize;

use crate::{Interval, Question, Z_999};

const LEVELS: [&str; 6] = ["99%", "99.9%", "99.99%", "1-2^-20", "1-2^-40", "1-2^-80"];

/// k, and the samples that reach each of [`LEVELS`].
const SAMPLES_NEEDED: [(u32, [usize; 6]); 6] = [
    (16, [14, 21, 28, 41, 80, 153]),
    (32, [15, 23, 30, 45, 89, 175]),
    (64, [16, 24, 31, 47, 93, 185]),
    (128, [16, 24, 32, 48, 95, 189]),
    (256, [16, 24, 32, 48, 96, 191]),
    (512, [16, 24, 32, 48, 96, 192]),
];

/// k, and the probability that a client notices with 15 and with 16 samples.
const DETECTION: [(u32, [f64; 2]); 3] =
    [(32, [0.99039, 0.99296]), (128, [0.98765, 0.99079]), (256, [0.98715, 0.99039])];

/// The last digit that [`DETECTION`] states.
const DETECTION_STEP: f64 = 1e-5;

const CLIENTS: NonZeroU32 = NonZeroU32::new(200_000).unwrap();
const SAMPLES: NonZeroU16 = NonZeroU16::new(16).unwrap();
const SEED: u64 = 1;

/// One published number against ours.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// What the number is.
    pub what: String,
    /// The published number.
    pub target: String,
    /// What this code finds.
    pub ours: String,
    /// Whether they agree.
    pub holds: bool,
}

/// Compares every published number that the simulator covers with what the light client's formula
/// gives, and with what [`Question::answer`] counts.
///
/// # Errors
/// A table of this module names an impossible width or confidence.
pub fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (k, row) in SAMPLES_NEEDED {
        for (level, target) in LEVELS.into_iter().zip(row) {
            let ours = samples_needed(Width::new(k)?, level.parse::<Confidence>()?);
            checks.push(Check {
                what: format!("samples for {level}, k = {k}"),
                target: target.to_string(),
                ours: ours.to_string(),
                holds: ours == target,
            });
        }
    }
    for (k, row) in DETECTION {
        let width = Width::new(k)?;
        let answer = Question { width, samples: SAMPLES, clients: CLIENTS, seed: SEED }.answer(&|_| ());
        for (samples, target) in [15, 16].into_iter().zip(row) {
            let ours = confidence(width, samples);
            checks.push(Check {
                what: format!("noticed with {samples} samples, k = {k}"),
                target: format!("{target:.5}"),
                ours: format!("{ours:.5}"),
                holds: (ours - target).abs() <= DETECTION_STEP / 2.0,
            });
            for point in answer.points.iter().filter(|point| point.samples == samples) {
                let Interval { low, high } = Interval::wilson(point.fooled, CLIENTS.get().into(), Z_999);
                checks.push(Check {
                    what: format!("the same, {CLIENTS} clients simulated, 99.9% interval"),
                    target: format!("{target:.5}"),
                    ours: format!("{:.5} to {:.5}", 1.0 - high, 1.0 - low),
                    holds: (1.0 - high..=1.0 - low).contains(&target),
                });
            }
        }
    }
    Ok(checks)
}
