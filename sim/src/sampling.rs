//! How many light clients a withheld block fools.
//!
//! Each client draws its cells with the light client's own code, from a secret of its own, and is fooled
//! if it is served all of them although the block cannot be rebuilt. What is withheld depends on the
//! [`Adversary`]:
//!
//! | adversary | withholds | points by |
//! | --- | --- | --- |
//! | minimal | a fixed smallest pattern | samples |
//! | random | a share of all cells | samples |
//! | victim | a smallest pattern around the cells of one client, whose requests it recognises | samples |
//! | linkable | all but the first (k+1)² short of all cells asked for; clients come one after the other | clients |
//! | unlinkable | the same; all requests come in one random order | clients |
//!
//! By samples: a smaller draw is the beginning of a larger one, so one draw a client answers for every number
//! of samples; the points of one answer are therefore not independent of each other. By clients: see
//! [`crate::disclosure`].

use std::io::Write;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicU64, Ordering};

use erasure::{Coordinates, Width};
use light_client::sampler::{Seed, draw, miss_probability};
use serde::Serialize;

use crate::parallel::{batches, cores};
use crate::{Interval, Pattern, Z_95, disclosure, rng::hash};

/// Clients that one thread takes at a time.
const BATCH: u64 = 1_024;

/// Samples that usually suffice to meet a withheld cell.
const FEW: usize = 8;

/// The height of the block that is withheld: draws depend on it, their distribution does not.
const HEIGHT: u64 = 1;

/// Who withholds what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Adversary {
    /// Hides the fewest cells that make the block unrecoverable.
    Minimal,
    /// Hides this share of all cells, in percent, at random.
    Random(u8),
    /// Answers in order of arrival, client after client, until one more cell could complete the block.
    Linkable,
    /// The same when requests cannot be told apart and arrive in random order.
    Unlinkable,
    /// Serves one client all it asks for, and hides a smallest pattern elsewhere.
    Victim,
}

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The block's width, k.
    pub width: Width,
    /// The most cells that a client samples.
    pub samples: NonZeroU16,
    /// Light clients, each with its own secret; the most of them where points are by clients.
    pub clients: NonZeroU32,
    /// Who withholds what.
    pub adversary: Adversary,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer {
    /// Who withheld what.
    pub adversary: Adversary,
    /// The block's width, k.
    pub width: usize,
    /// Cells of the extended square.
    pub cells: usize,
    /// Cells of them that are withheld.
    pub withheld: usize,
    /// Light clients that sampled.
    pub clients: u32,
    /// The question's seed.
    pub seed: u64,
    /// How many samples the adversary's one victim may take and still be fooled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub victim_fooled_up_to: Option<usize>,
    /// One point for each number of samples from 1 on, or for growing crowds.
    pub points: Vec<Point>,
}

/// What came out for one number of samples and one crowd.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Clients in the crowd; without the victim, if there is one.
    pub clients: u32,
    /// Cells that each client samples.
    pub samples: usize,
    /// Clients that met no withheld cell.
    pub fooled: u64,
    /// Their share of all clients.
    pub simulated: f64,
    /// 95 % interval for the probability of being fooled.
    pub interval: Interval,
    /// That probability by formula, where there is one.
    pub closed_form: Option<f64>,
}

impl Point {
    pub(crate) fn new(clients: u32, samples: usize, fooled: u64, closed_form: Option<f64>) -> Self {
        let of = u64::from(clients);
        let interval = Interval::wilson(fooled, of, Z_95);
        Self { clients, samples, fooled, simulated: fooled as f64 / of as f64, interval, closed_form }
    }
}

/// The chance that `samples` distinct cells of `cells` miss all the `hidden` ones.
#[must_use]
pub fn miss_any(cells: usize, hidden: usize, samples: usize) -> f64 {
    let miss = |drawn| (1.0 - hidden as f64 / (cells - drawn) as f64).max(0.0);
    (0..samples.min(cells)).map(miss).product()
}

impl Question {
    /// Asks all clients, on as many threads as there are cores. `progress` is told how many clients of
    /// [`Question::asked`] were asked since it was last told.
    #[must_use]
    pub fn answer(&self, progress: &(dyn Fn(u64) + Sync)) -> Answer {
        self.answer_on(cores(), progress)
    }

    /// How many draws the answer takes.
    #[must_use]
    pub fn asked(&self) -> u64 {
        match self.adversary {
            Adversary::Linkable | Adversary::Unlinkable => disclosure::asked(self),
            _ => self.clients.get().into(),
        }
    }

    fn answer_on(&self, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Answer {
        let width = self.width;
        let cells = width.extended().pow(2);
        let smallest = (width.get() + 1).pow(2);
        let samples = usize::from(self.samples.get());
        let victim = self.drawn(u64::from(self.clients.get()));
        let (pattern, fooled_up_to) = match self.adversary {
            Adversary::Linkable | Adversary::Unlinkable => {
                let points = disclosure::points(self, threads, progress);
                return self.outcome(cells, smallest, None, points);
            }
            Adversary::Minimal => (Pattern::smallest(width, self.seed), None),
            Adversary::Random(percent) => {
                let hidden = (cells * usize::from(percent)).div_ceil(100);
                (Pattern::random(width, self.seed, hidden), None)
            }
            Adversary::Victim => {
                let pattern = Pattern::avoiding(width, self.seed, &victim);
                let first = victim.iter().position(|at| pattern.hides(*at));
                (pattern, Some(first.unwrap_or(victim.len())))
            }
        };
        let withheld = pattern.cells();
        let mut fooled = u64::from(self.clients.get());
        let mut points = Vec::new();
        for (caught, samples) in self.caught_at(&pattern, samples, threads, progress).into_iter().zip(1..) {
            fooled -= caught;
            let formula = match self.adversary {
                Adversary::Random(_) => miss_any(cells, withheld, samples),
                _ => miss_probability(width, samples),
            };
            points.push(Point::new(self.clients.get(), samples, fooled, Some(formula)));
        }
        self.outcome(cells, withheld, fooled_up_to, points)
    }

    fn outcome(&self, cells: usize, withheld: usize, victim: Option<usize>, points: Vec<Point>) -> Answer {
        Answer {
            adversary: self.adversary,
            width: self.width.get(),
            cells,
            withheld,
            clients: self.clients.get(),
            seed: self.seed,
            victim_fooled_up_to: victim,
            points,
        }
    }

    /// The cells of one client.
    pub(crate) fn drawn(&self, client: u64) -> Vec<Coordinates> {
        self.first_drawn(client, self.samples.get().into())
    }

    fn first_drawn(&self, client: u64, samples: usize) -> Vec<Coordinates> {
        let secret = Seed::from_bytes(hash("weft/sim-client/1", [self.seed, client]));
        draw(&secret, HEIGHT, self.width, samples)
    }

    /// The first sample of this client, in drawn order, whose cell is hidden. Draws no more than it has to:
    /// a smaller draw is the beginning of a larger one.
    pub(crate) fn first_hidden(&self, client: u64, pattern: &Pattern) -> Option<usize> {
        let all = usize::from(self.samples.get());
        let hidden = |samples| self.first_drawn(client, samples).iter().position(|at| pattern.hides(*at));
        let few = Some(FEW).filter(|few| *few < all);
        few.and_then(hidden).or_else(|| hidden(all))
    }

    /// For each sample, in drawn order, the clients whose first withheld cell it is.
    fn caught_at(
        &self,
        pattern: &Pattern,
        samples: usize,
        threads: usize,
        progress: &(dyn Fn(u64) + Sync),
    ) -> Vec<u64> {
        let totals: Vec<AtomicU64> = (0..samples).map(|_| AtomicU64::new(0)).collect();
        batches(threads, self.clients.get().into(), BATCH, |clients| {
            let mut caught = vec![0; samples];
            for client in clients.clone() {
                if let Some(sample) = self.first_hidden(client, pattern) {
                    caught[sample] += 1;
                }
            }
            for (total, caught) in totals.iter().zip(caught) {
                total.fetch_add(caught, Ordering::Relaxed);
            }
            progress(clients.end - clients.start);
        });
        totals.into_iter().map(AtomicU64::into_inner).collect()
    }
}

impl Answer {
    /// Writes the points as CSV, with a header line.
    ///
    /// # Errors
    /// Those of `to`.
    pub fn write_csv(&self, mut to: impl Write) -> std::io::Result<()> {
        writeln!(to, "samples,fooled,clients,simulated,interval_low,interval_high,closed_form")?;
        for Point { clients, samples, fooled, simulated, interval: Interval { low, high }, closed_form } in
            &self.points
        {
            let formula = closed_form.map_or(String::new(), |formula| formula.to_string());
            writeln!(to, "{samples},{fooled},{clients},{simulated},{low},{high},{formula}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    fn question(adversary: Adversary) -> Question {
        Question {
            width: Width::new(4).unwrap(),
            samples: NonZeroU16::new(64).unwrap(),
            clients: NonZeroU32::new(2_500).unwrap(),
            adversary,
            seed: 3,
        }
    }

    #[test]
    fn threads_do_not_change_the_answer_and_every_client_counts_once() {
        for adversary in [Adversary::Minimal, Adversary::Linkable, Adversary::Unlinkable] {
            let question = question(adversary);
            let told = AtomicU64::new(0);
            let tell = |clients| {
                told.fetch_add(clients, Ordering::Relaxed);
            };
            let one = question.answer_on(1, &tell);
            assert_eq!(one, question.answer_on(3, &tell));
            assert_eq!(told.into_inner(), 2 * question.asked());
        }
        // All 64 cells of the square were drawn: nobody misses the pattern.
        let last = question(Adversary::Minimal).answer(&|_| ()).points.pop().unwrap();
        assert_eq!((last.fooled, last.interval.low), (0, 0.0));
    }
}
