//! Selective disclosure: 16 samples a client.
//!
//! The shares come from a simulation in another language, and may be those of a single crowd. Near the number of
//! clients that rebuilds a block one crowd differs much from the next, so a share may be off by what it was rounded
//! by, and by two standard deviations of one crowd.

use std::num::{NonZeroU16, NonZeroU32};

use erasure::Width;

use super::Check;
use crate::parallel::map;
use crate::{Adversary, Pattern, Question};

const SAMPLES: NonZeroU16 = NonZeroU16::new(16).unwrap();

/// k, clients, shares fooled: by a fixed smallest pattern, linkable, unlinkable.
const FOOLED: [(u32, u32, [f64; 3]); 7] = [
    (16, 30, [0.00, 1.00, 1.00]),
    (16, 86, [0.005, 0.93, 0.80]),
    (16, 200, [0.004, 0.40, 0.05]),
    (16, 1_000, [0.004, 0.085, 0.008]),
    (32, 350, [0.003, 0.97, 0.90]),
    (32, 1_000, [0.009, 0.34, 0.044]),
    (32, 3_000, [0.007, 0.12, 0.013]),
];

/// Clients that are simulated for each number, in crowds of that size.
const CLIENTS: u32 = 6_000;

pub(super) fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (k, clients, row) in FOOLED {
        let width = Width::new(k)?;
        let crowds = u64::from(CLIENTS.div_ceil(clients));
        let adversaries = [
            (Adversary::Minimal, "a fixed pattern"),
            (Adversary::Linkable, "linkable requests"),
            (Adversary::Unlinkable, "unlinkable requests"),
        ];
        for ((adversary, name), target) in adversaries.into_iter().zip(row) {
            let fooled = map(crowds, |seed| crowd(width, clients, adversary, seed));
            let shares: Vec<f64> = fooled.iter().map(|fooled| *fooled as f64 / f64::from(clients)).collect();
            let ours = shares.iter().sum::<f64>() / crowds as f64;
            let squares: f64 = shares.iter().map(|share| (share - ours) * (share - ours)).sum();
            let tolerance = tolerance(target, (squares / crowds as f64).sqrt());
            let what = format!("share fooled by {name}, k = {k}, {clients} clients");
            checks.push(Check::near(what, target, ours, tolerance, 3));
        }
    }
    Ok(checks)
}

/// Half of the last digit that is given, two or three decimals, and two deviations of one crowd.
fn tolerance(target: f64, deviation: f64) -> f64 {
    let hundredths = target * 100.0;
    let rounding = if (hundredths - hundredths.round()).abs() < 1e-9 { 5e-3 } else { 5e-4 };
    rounding + 2.0 * deviation
}

/// How many of one crowd are fooled.
fn crowd(width: Width, clients: u32, adversary: Adversary, seed: u64) -> u64 {
    let clients = NonZeroU32::new(clients).unwrap_or(NonZeroU32::MIN);
    let question = Question { width, samples: SAMPLES, clients, adversary, seed };
    if adversary == Adversary::Minimal {
        let pattern = Pattern::smallest(width, seed);
        let missed = |client: &u64| question.first_hidden(*client, &pattern).is_none();
        return (0..clients.get().into()).filter(missed).count() as u64;
    }
    crate::disclosure::fooled(&question, clients.get(), 1, &|_| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn a_share_may_be_off_by_its_rounding_and_by_what_crowds_differ() {
        let near = |got: f64, wanted: f64| assert!((got - wanted).abs() < 1e-12, "{got} {wanted}");
        near(tolerance(0.93, 0.0), 0.005);
        near(tolerance(0.085, 0.0), 0.000_5);
        near(tolerance(0.40, 0.01), 0.025);
        near(tolerance(1.0, 0.0), 0.005);
    }

    /// Only shares so small that a crowd with nobody fooled is no surprise may be found to be none.
    #[test]
    fn a_share_of_none_is_noticed() {
        let mut unnoticed = Vec::new();
        for check in checks().unwrap() {
            let (target, tolerance) = check.target.split_once(" ± ").unwrap();
            let [target, tolerance]: [f64; 2] = [target, tolerance].map(|number| number.parse().unwrap());
            if target <= tolerance {
                unnoticed.push(target);
            }
        }
        assert!(unnoticed.len() <= 5 && unnoticed.iter().all(|target| *target <= 0.005), "{unnoticed:?}");
    }
}
