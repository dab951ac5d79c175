//! What one client learns from its samples.

use std::num::{NonZeroU16, NonZeroU32};

use erasure::Width;
use light_client::sampler::{Confidence, confidence, samples_needed};

use super::{Check, Source};
use crate::parallel::map;
use crate::rng::Rng;
use crate::{Adversary, Interval, Question, Z_999, miss_any};

const LEVELS: [&str; 6] = ["99%", "99.9%", "99.99%", "1-2^-20", "1-2^-40", "1-2^-80"];

/// k, and the samples that reach each of [`LEVELS`] (theorem 2).
const SAMPLES_NEEDED: [(u32, [usize; 6]); 6] = [
    (16, [14, 21, 28, 41, 80, 153]),
    (32, [15, 23, 30, 45, 89, 175]),
    (64, [16, 24, 31, 47, 93, 185]),
    (128, [16, 24, 32, 48, 95, 189]),
    (256, [16, 24, 32, 48, 96, 191]),
    (512, [16, 24, 32, 48, 96, 192]),
];

const DETECTION_SAMPLES: [usize; 10] = [2, 3, 5, 8, 10, 15, 16, 17, 20, 30];

/// k, and the probability that a client notices with each of [`DETECTION_SAMPLES`]; four decimals up to 10
/// samples, five from there on.
const DETECTION: [(u32, [f64; 10]); 6] = [
    (16, [0.4850, 0.6306, 0.8102, 0.9303, 0.9643, 0.99336, 0.99526, 0.99662, 0.99878, 0.99996]),
    (32, [0.4611, 0.6044, 0.7869, 0.9158, 0.9547, 0.99039, 0.99296, 0.99484, 0.99797, 0.99991]),
    (64, [0.4493, 0.5913, 0.7749, 0.9080, 0.9494, 0.98862, 0.99156, 0.99374, 0.99744, 0.99987]),
    (128, [0.4434, 0.5847, 0.7688, 0.9040, 0.9466, 0.98765, 0.99079, 0.99313, 0.99715, 0.99985]),
    (256, [0.4404, 0.5814, 0.7658, 0.9020, 0.9451, 0.98715, 0.99039, 0.99281, 0.99699, 0.99983]),
    (512, [0.4390, 0.5798, 0.7642, 0.9009, 0.9444, 0.98690, 0.99019, 0.99265, 0.99691, 0.99983]),
];

/// PeerDAS: columns, and those that must be missing for a block to be lost.
const COLUMNS: usize = 128;
const MISSING: usize = 65;

/// Columns, those of each peer and of ourselves, and peers until ours are covered (PeerDAS; for 128 and 16, 25.9
/// is published).
const CUSTODY: [(u64, u64, f64); 4] = [(32, 1, 32.0), (128, 16, 25.9), (128, 8, 42.7), (128, 4, 66.2)];

/// The code's rate, and the rows that a node samples for 2^-80: ⌈80 / −log₂((1 + rate) / 2)⌉ (ZODA, eprint 2025/034).
const ZODA: [(f64, u32); 2] = [(0.5, 193), (0.25, 118)];
const TWO_TO_MINUS_80: f64 = 1.0 / (1_u128 << 80) as f64;

const CLIENTS: NonZeroU32 = NonZeroU32::new(200_000).unwrap();
const SAMPLES: NonZeroU16 = NonZeroU16::new(16).unwrap();

pub(super) fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (k, row) in SAMPLES_NEEDED {
        for (level, target) in LEVELS.into_iter().zip(row) {
            let ours = samples_needed(Width::new(k)?, level.parse::<Confidence>()?);
            checks.push(Check::equal(format!("samples for {level}, k = {k}"), &target, &ours));
        }
    }
    for (k, row) in DETECTION {
        let width = Width::new(k)?;
        for (samples, target) in DETECTION_SAMPLES.into_iter().zip(row) {
            let what = format!("noticed with {samples} samples, k = {k}");
            let decimals = if samples > 10 { 5 } else { 4 };
            checks.push(Check::digits(what, target, confidence(width, samples), decimals));
        }
    }
    for k in [32, 128, 256] {
        let question = Question {
            width: Width::new(k)?,
            samples: SAMPLES,
            clients: CLIENTS,
            adversary: Adversary::Minimal,
            seed: 1,
        };
        let row = DETECTION.into_iter().find(|(width, _)| *width == k).map_or([0.0; 10], |(_, row)| row);
        for point in question.answer(&|_| ()).points {
            let Some(column) = DETECTION_SAMPLES.iter().position(|samples| *samples == point.samples) else {
                continue;
            };
            let Interval { low, high } = Interval::wilson(point.fooled, CLIENTS.get().into(), Z_999);
            // A target may be off by half of its last digit.
            let (slack, target) = (5e-5, row[column]);
            checks.push(Check {
                source: Source::WorkedOut,
                what: format!("{} samples, k = {k}: {CLIENTS} clients, 99.9% interval", point.samples),
                target: format!("{target:.5}"),
                ours: format!("{:.5} to {:.5}", 1.0 - high, 1.0 - low),
                holds: (1.0 - high - slack..=1.0 - low + slack).contains(&target),
            });
        }
    }

    // A quarter withheld, sampled with replacement (Common Prefix, 2022).
    let fooled = (0..16).map(|_| 0.75).product::<f64>();
    let one = Check::digits("Common Prefix: a client fooled, in percent", 1.002, 100.0 * fooled, 3);
    checks.push(one.published());
    let nobody = (0..400).map(|_| 1.0 - fooled).product::<f64>();
    checks.push(Check::digits(
        "Common Prefix: one of 400 fooled, in percent",
        98.22,
        100.0 * (1.0 - nobody),
        2,
    ));

    let passes = |samples| 100.0 * miss_any(COLUMNS, MISSING, samples);
    checks.push(Check::digits("PeerDAS: 8 of 128 columns pass, in percent", 0.271, passes(8), 3));
    checks.push(Check::digits("PeerDAS: 4 columns, in percent", 5.6, passes(4), 1));
    checks.push(Check::digits("PeerDAS: 16 columns, in millionths", 3.9, 1e4 * passes(16), 1));
    for (base, row) in [(8, [8, 12, 15, 18, 20, 23]), (16, [16, 20, 24, 27, 29, 32])] {
        for (failures, target) in row.into_iter().enumerate() {
            let what = format!("PeerDAS: samples instead of {base} if {failures} may fail");
            checks.push(Check::equal(what, &target, &extended(base, failures)));
        }
    }
    for (columns, custody, target) in CUSTODY {
        let trials = 20_000;
        let peers: u64 = map(trials, |trial| peers_to_cover(columns, custody, trial)).into_iter().sum();
        let what = format!("PeerDAS: peers until {custody} of {columns} columns are covered");
        let check = Check::near(what, target, peers as f64 / trials as f64, 0.5, 1);
        checks.push(if custody == 16 { check.published() } else { check });
    }
    for (rate, target) in ZODA {
        let miss = (1.0 + rate) / 2.0;
        let enough = (1..1_000).scan(1.0, |chance, rows| {
            *chance *= miss;
            Some((rows, *chance))
        });
        let ours =
            enough.take_while(|(_, chance)| *chance > TWO_TO_MINUS_80).map(|(rows, _)| rows + 1).last();
        checks.push(Check::equal(
            format!("ZODA: rows for 2^-80 at rate {rate}"),
            &target,
            &ours.unwrap_or(1),
        ));
    }
    Ok(checks)
}

/// Peers that come, each with `custody` columns of its own choice, until all of `custody` wanted ones are covered.
fn peers_to_cover(columns: u64, custody: u64, trial: u64) -> u64 {
    let mut rng = Rng::new("weft/sim-custody/1", [columns, custody, trial]);
    let mut all: Vec<u64> = (0..columns).collect();
    // The wanted ones are those below `custody`.
    let mut wanted: Vec<bool> = vec![true; custody as usize];
    (1..)
        .find(|_| {
            for place in 0..custody {
                let other = place + rng.below(columns - place);
                all.swap(place as usize, other as usize);
                if let Some(wanted) = wanted.get_mut(all[place as usize] as usize) {
                    *wanted = false;
                }
            }
            wanted.iter().all(|wanted| !wanted)
        })
        .unwrap_or(u64::MAX)
}

/// `get_extended_sample_count` of the PeerDAS specification: the samples of which `failures` may fail, as
/// telling as `base` of which none may.
fn extended(base: usize, failures: usize) -> usize {
    (base..COLUMNS).find(|samples| at_most(failures, *samples) <= at_most(0, base)).unwrap_or(COLUMNS)
}

/// The chance that at most `failures` of `samples` columns are missing: hypergeometric.
fn at_most(failures: usize, samples: usize) -> f64 {
    let mut term = miss_any(COLUMNS, MISSING, samples);
    let mut sum = term;
    for hit in 0..failures {
        term *= ((MISSING - hit) * (samples - hit)) as f64
            / ((hit + 1) * (COLUMNS - MISSING + hit + 1 - samples)) as f64;
        sum += term;
    }
    sum
}
