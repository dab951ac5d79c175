//! How much of a square suffices.

use erasure::{Axis, Coordinates, Width};

use super::{Check, Source};
use crate::parallel::map;
use crate::reconstruction::{worst_case, worst_case_exact};
use crate::{Pattern, Peeling};

const SAMPLES: [usize; 6] = [2, 5, 10, 16, 20, 50];

/// k, and the clients with each of [`SAMPLES`] that rebuild a block in the worst case with 99 % (theorem 4).
const WORST_CASE: [(u32, [u64; 6]); 6] = [
    (16, [692, 277, 138, 86, 69, 28]),
    (32, [2_805, 1_122, 561, 350, 280, 112]),
    (64, [11_289, 4_515, 2_258, 1_411, 1_129, 451]),
    (128, [45_292, 18_117, 9_058, 5_661, 4_529, 1_811]),
    (256, [181_436, 72_574, 36_287, 22_679, 18_143, 7_257]),
    (512, [726_282, 290_513, 145_256, 90_785, 72_628, 29_051]),
];

/// k and samples of the three that are stated elsewhere, too: 280 and 1 129 in table 1, 69 in celestia-node's
/// `TestFullReconstructFromLights`.
const PUBLISHED: [(u32, usize); 3] = [(16, 20), (32, 20), (64, 20)];

/// Up to here the distribution is computed, past it approximated.
const EXACT_UP_TO: u32 = 32;

/// k, the mean share of random cells at which peeling completes, its standard deviation, and our squares. The
/// means come from at least 150 squares.
const THRESHOLDS: [(u32, f64, f64, u64); 5] = [
    (16, 0.3441, 0.0116, 2_000),
    (32, 0.3772, 0.0074, 1_000),
    (64, 0.4052, 0.0050, 400),
    (128, 0.4280, 0.0029, 150),
    (256, 0.4453, 0.0017, 60),
];
const THEIR_SQUARES: f64 = 150.0;

/// Percent of cells lost at k = 32, and the share of squares recovered.
const RECOVERED: [(f64, f64); 5] = [(55.0, 1.0), (60.0, 0.98), (62.0, 0.62), (65.0, 0.003), (70.0, 0.0)];

/// codex-storage's das-research at c53043b, 64 × 64 cells: failures asked for, and whether blocks were recovered. It
/// draws twice and ORs what arrives, so that the share lost is the square of what is asked for.
const DAS_RESEARCH: [(f64, &str); 5] =
    [(0.0, "yes"), (40.0, "yes"), (60.0, "yes"), (70.0, "yes"), (80.0, "no")];

pub(super) fn checks() -> anyhow::Result<Vec<Check>> {
    let mut checks = Vec::new();
    for (k, row) in WORST_CASE {
        let width = Width::new(k)?;
        for (samples, target) in SAMPLES.into_iter().zip(row) {
            let exact = k <= EXACT_UP_TO;
            let ours = if exact { worst_case_exact(width, samples) } else { worst_case(width, samples) };
            let published = PUBLISHED.contains(&(k, samples));
            checks.push(Check {
                source: if published { Source::Published } else { Source::WorkedOut },
                what: format!("light clients that rebuild, k = {k}, {samples} samples"),
                target: format!("{target} ± 1"),
                ours: ours.to_string(),
                holds: ours.abs_diff(target) <= 1,
            });
        }
    }
    for (k, target, deviation, squares) in THRESHOLDS {
        let width = Width::new(k)?;
        let received: usize = map(squares, |seed| Peeling::threshold(width, seed)).into_iter().sum();
        let ours = received as f64 / squares as f64 / width.extended().pow(2) as f64;
        // Three standard errors of the difference of two means.
        let tolerance = 3.0 * deviation * (1.0 / squares as f64 + 1.0 / THEIR_SQUARES).sqrt();
        let what = format!("share of random cells that completes, k = {k}, {squares} squares");
        checks.push(Check::near(what, target, ours, tolerance, 4));
    }
    let width = Width::new(32)?;
    for (loss, target) in RECOVERED {
        let squares = 1_000;
        let recovered = map(squares, |seed| Peeling::survives(width, loss, seed));
        let ours = recovered.into_iter().filter(|survived| *survived).count() as f64 / squares as f64;
        checks.push(Check::near(format!("recovered after {loss}% loss, k = 32"), target, ours, 0.03, 3));
    }
    for (nominal, target) in DAS_RESEARCH {
        let squares = 200;
        let effective = nominal * nominal / 100.0;
        let recovered = map(squares, |seed| Peeling::survives(width, effective, seed));
        let share = recovered.into_iter().filter(|survived| *survived).count() as f64 / squares as f64;
        let what = format!("das-research: recovered at {nominal}% failures, {effective}% lost");
        let ours = if share > 0.5 { "yes" } else { "no" };
        checks.push(Check::equal(what, &target, &ours).measured());
    }
    for k in [16, 128, 512] {
        checks.extend(patterns(Width::new(k)?));
    }
    Ok(checks)
}

/// The smallest pattern that cannot be recovered from, and the smallest that can.
fn patterns(width: Width) -> [Check; 4] {
    let (k, side) = (width.get(), width.extended());
    let pattern = Pattern::smallest(width, 1);
    let hidden = |row: usize, column: usize| {
        pattern.hides(Coordinates { row: row as u16, column: column as u16, axis: Axis::Row })
    };
    let mut served = Peeling::new(width);
    let mut missing = None;
    for row in 0..side {
        for column in 0..side {
            if hidden(row, column) {
                missing = missing.or(Some((row, column)));
            } else {
                served.add(row, column);
            }
        }
    }
    let lost = !served.complete();
    if let Some((row, column)) = missing {
        served.add(row, column);
    }
    let mut original = Peeling::new(width);
    let shares = (0..k).flat_map(|row| (0..k).map(move |column| (row, column)));
    shares.clone().skip(1).for_each(|(row, column)| original.add(row, column));
    let without_one = original.complete();
    original.add(0, 0);
    let smallest = (k + 1).pow(2);
    [
        Check::equal(format!("{smallest} cells withheld, k = {k}: lost"), &true, &lost).published(),
        Check::equal(
            format!("{} cells withheld, k = {k}: recovered", smallest - 1),
            &true,
            &served.complete(),
        )
        .published(),
        Check::equal(format!("{} cells received, k = {k}: recovered", k * k), &true, &original.complete()),
        Check::equal(format!("{} cells received, k = {k}: lost", k * k - 1), &true, &!without_one),
    ]
}
