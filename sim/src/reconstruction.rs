//! How many light clients it takes to rebuild a block from what they sampled.
//!
//! *Worst case*: an adversary withholds whatever it likes once the samples are out, so that only the number of
//! distinct cells counts: 4k² − (k+1)² + 1 of them always suffice (arXiv:1809.09044, theorem 1). *Peeling*: the
//! block is lost by accident, and the cells that are left, wherever they lie, are decoded line by line.
//!
//! Clients come one after the other; one that left, or does not serve, counts but brings nothing.

use std::fmt::Write as _;
use std::num::{NonZeroU16, NonZeroU32};

use erasure::Width;
use light_client::sampler::{Seed, draw};
use serde::Serialize;

use crate::parallel::map;
use crate::rng::{Rng, hash};
use crate::{Interval, Peeling, Z_95};

/// Standard deviations below which 99 % of a normal distribution lie.
const Z_99_ONE_SIDED: f64 = 2.326_347_874_040_841;

/// Crowds at which the curve is evaluated.
const CURVE: u32 = 60;

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct Reconstruction {
    /// The block's width, k.
    pub width: Width,
    /// Cells that each client holds.
    pub samples: NonZeroU16,
    /// Blocks to rebuild.
    pub trials: NonZeroU32,
    /// Clients that left before they were asked, in percent.
    pub churn: f64,
    /// Clients of the rest that do not serve, in percent.
    pub silent: f64,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Rebuilt {
    /// The block's width, k.
    pub width: usize,
    /// Cells that each client holds.
    pub samples: u16,
    /// Clients that serve, in percent.
    pub serving: f64,
    /// Blocks that were rebuilt.
    pub trials: u32,
    /// The question's seed.
    pub seed: u64,
    /// By formula: clients with which an adversary's block is rebuilt in 99 % of cases; see [`worst_case`].
    pub formula: f64,
    /// The same, counted.
    pub worst: Needed,
    /// Clients with which a block lost by accident is.
    pub peeling: Needed,
    /// Chances by the size of the crowd.
    pub curve: Vec<Chance>,
}

/// Clients that it took.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Needed {
    /// In half of the cases.
    pub median: u32,
    /// In 99 % of the cases.
    pub p99: u32,
    /// 95 % interval of `p99`, by order statistics; the upper end is missing if there were too few trials.
    pub p99_from: u32,
    /// Its upper end.
    pub p99_to: Option<u32>,
}

/// How likely a crowd rebuilds the block.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Chance {
    /// Light clients, serving or not.
    pub clients: u32,
    /// Share of blocks rebuilt in the worst case.
    pub worst: f64,
    /// 95 % interval of it.
    pub worst_interval: Interval,
    /// Share of blocks rebuilt by peeling.
    pub peeling: f64,
    /// 95 % interval of it.
    pub peeling_interval: Interval,
}

impl Needed {
    fn of(mut clients: Vec<u32>) -> Self {
        clients.sort_unstable();
        let n = clients.len() as f64;
        let at = |rank: f64| clients.get((rank.ceil() as usize).saturating_sub(1)).copied();
        let spread = Z_95 * (n * 0.99 * 0.01).sqrt();
        let last = clients.last().copied().unwrap_or(0);
        Self {
            median: at(n / 2.0).unwrap_or(last),
            p99: at(0.99 * n).unwrap_or(last),
            p99_from: at((0.99 * n - spread).max(1.0)).unwrap_or(last),
            p99_to: at(0.99 * n + spread + 1.0),
        }
    }
}

impl Reconstruction {
    /// Rebuilds all blocks, on as many threads as there are cores. `progress` is told of each.
    #[must_use]
    pub fn answer(&self, progress: &(dyn Fn() + Sync)) -> Rebuilt {
        let trials = map(self.trials.get().into(), |trial| {
            let needed = self.trial(trial);
            progress();
            needed
        });
        let (worst, peeling): (Vec<u32>, Vec<u32>) = trials.into_iter().unzip();
        let serving = (1.0 - self.churn / 100.0) * (1.0 - self.silent / 100.0);
        let least = peeling.iter().min().map_or(0, |least| least / 2);
        let most = worst.iter().max().map_or(1, |most| most + most / 20 + 1);
        let curve = (0..=CURVE).map(|step| {
            let clients = least + (u64::from(most - least) * u64::from(step) / u64::from(CURVE)) as u32;
            let rebuilt = |needed: &[u32]| {
                let count = needed.iter().filter(|needed| **needed <= clients).count() as u64;
                let of = u64::from(self.trials.get());
                (count as f64 / of as f64, Interval::wilson(count, of, Z_95))
            };
            let ((worst, worst_interval), (peeling, peeling_interval)) = (rebuilt(&worst), rebuilt(&peeling));
            Chance { clients, worst, worst_interval, peeling, peeling_interval }
        });
        Rebuilt {
            width: self.width.get(),
            samples: self.samples.get(),
            serving: 100.0 * serving,
            trials: self.trials.get(),
            seed: self.seed,
            formula: worst_case(self.width, self.samples.get().into()) as f64 / serving,
            curve: curve.collect(),
            worst: Needed::of(worst),
            peeling: Needed::of(peeling),
        }
    }

    /// Clients that it takes in the worst case, and by peeling.
    fn trial(&self, trial: u64) -> (u32, u32) {
        let (side, k) = (self.width.extended(), self.width.get());
        let enough = side * side - (k + 1).pow(2) + 1;
        let mut rng = Rng::new("weft/sim-churn/1", [self.seed, trial]);
        let mut square = Peeling::new(self.width);
        let mut held = vec![false; side * side];
        let (mut distinct, mut peeled, mut clients) = (0, None, 0);
        while distinct < enough {
            clients += 1;
            let (left, silent) = (rng.percent(self.churn), rng.percent(self.silent));
            if left || silent {
                continue;
            }
            let secret = Seed::from_bytes(hash("weft/sim-holder/1", [self.seed, trial, clients.into()]));
            for at in draw(&secret, 1, self.width, self.samples.get().into()) {
                let (row, column) = (usize::from(at.row), usize::from(at.column));
                distinct += usize::from(!std::mem::replace(&mut held[row * side + column], true));
                if peeled.is_none() {
                    square.add(row, column);
                }
            }
            if peeled.is_none() && square.complete() {
                peeled = Some(clients);
            }
        }
        (clients, peeled.unwrap_or(clients))
    }
}

impl Rebuilt {
    /// The curve as CSV, with a header line.
    #[must_use]
    pub fn csv(&self) -> String {
        let mut csv = "clients,worst,worst_low,worst_high,peeling,peeling_low,peeling_high\n".to_owned();
        for point in &self.curve {
            let (worst, peeling) = (point.worst_interval, point.peeling_interval);
            let _ = writeln!(
                csv,
                "{},{},{},{},{},{},{}",
                point.clients, point.worst, worst.low, worst.high, point.peeling, peeling.low, peeling.high
            );
        }
        csv
    }
}

/// The fewest clients with `samples` distinct cells each that leave at most (k+1)² − 1 cells unseen with a
/// probability of 99 %: normal approximation with the exact first two moments (theorem 4; the paper's own sum
/// agrees to within one client).
#[must_use]
pub fn worst_case(width: Width, samples: usize) -> u64 {
    let (n, s) = ((width.extended() * width.extended()) as f64, samples as f64);
    let most = ((width.get() + 1).pow(2) - 1) as f64;
    let one = 1.0 - s / n;
    let two = (n - s) * (n - s - 1.0) / (n * (n - 1.0));
    let enough = |clients: u64| {
        let mean = n * power(one, clients);
        let variance = (n * (n - 1.0) * power(two, clients) + mean - mean * mean).max(0.0);
        mean + Z_99_ONE_SIDED * variance.sqrt() <= most + 0.5
    };
    let (mut low, mut high) = (0, 1);
    while !enough(high) {
        (low, high) = (high, 2 * high);
    }
    while high - low > 1 {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle }
    }
    high
}

/// The same without approximation, by the distribution of unseen cells client after client. Takes the time of
/// clients × samples × standard deviation: for small widths.
#[must_use]
pub fn worst_case_exact(width: Width, samples: usize) -> u64 {
    /// Probabilities below it are left out.
    const NEGLIGIBLE: f64 = 1e-18;
    let cells = width.extended().pow(2);
    let most = (width.get() + 1).pow(2) - 1;
    // From `least` unseen cells on, how likely each number is.
    let (mut least, mut chances) = (cells, vec![1.0]);
    for clients in 1.. {
        let mut next = vec![0.0; chances.len() + samples];
        for (offset, chance) in chances.iter().enumerate() {
            let unseen = least + offset;
            let seen = cells - unseen;
            // That a client finds `new` unseen cells: hypergeometric, each from the one before.
            let first = samples.saturating_sub(seen);
            let mut probability = first_term(cells, unseen, samples, first);
            for new in first..=samples.min(unseen) {
                next[offset + samples - new] += chance * probability;
                let (new, s) = (new as f64, samples as f64);
                probability *= (unseen as f64 - new) * (s - new)
                    / ((new + 1.0) * (seen as f64 - s + new + 1.0)).max(1.0);
            }
        }
        let skipped = next.iter().take_while(|chance| **chance < NEGLIGIBLE).count();
        let kept = next.iter().rposition(|chance| *chance >= NEGLIGIBLE).map_or(0, |last| last + 1);
        // `next` starts `samples` below `least`; what would lie below zero is impossible and skipped.
        least = (least + skipped).saturating_sub(samples);
        chances = next.get(skipped..kept).unwrap_or_default().to_vec();
        let few = (most + 1).saturating_sub(least);
        if chances.iter().take(few).sum::<f64>() >= 0.99 {
            return clients;
        }
    }
    u64::MAX
}

/// The chance that `samples` of `cells` hold exactly `found` of the `unseen`, as few as possible.
fn first_term(cells: usize, unseen: usize, samples: usize, found: usize) -> f64 {
    if found == 0 {
        return crate::miss_any(cells, unseen, samples);
    }
    // All seen cells are drawn: C(unseen, found) / C(cells, samples), seen = samples − found.
    let seen = samples - found;
    (0..seen).map(|i| (samples - i) as f64 / (cells - i) as f64).product()
}

/// `base` to a whole power, by squaring: the same on every machine.
fn power(mut base: f64, mut exponent: u64) -> f64 {
    let mut result = 1.0;
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= base;
        }
        base *= base;
        exponent >>= 1;
    }
    result
}
