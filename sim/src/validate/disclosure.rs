//! Selective disclosure: 16 samples a client.
//!
//! The published shares come from a simulation whose number of crowds is not stated. Near the number of clients
//! that rebuilds a block one crowd differs much from the next, so a share may be off by two standard deviations
//! of a single crowd where those are more than the 0.03 allowed elsewhere.

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

/// Clients that are simulated for each number, in crowds of the published size.
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
            let tolerance = f64::max(0.03, 2.0 * (squares / crowds as f64).sqrt());
            let what = format!("share fooled by {name}, k = {k}, {clients} clients");
            checks.push(Check::near(what, target, ours, tolerance, 3));
        }
    }
    Ok(checks)
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
