//! How many light clients a withheld block fools, by the number of cells each of them samples.
//!
//! Each client draws its cells with the light client's own code, from a secret of its own, and is fooled
//! by as many samples as it can check before it meets a withheld cell. A smaller draw is the beginning of
//! a larger one, so one draw a client answers for every number of samples up to the largest; the points
//! of one answer are therefore not independent of each other.

use std::io::Write;
use std::num::{NonZeroU16, NonZeroU32};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use erasure::Width;
use light_client::sampler::{Seed, draw, miss_probability};
use serde::Serialize;

use crate::{Interval, Pattern, Z_95, pattern::hash};

/// Clients that one thread takes at a time.
const BATCH: u64 = 1_024;

/// The height of the block that is withheld: draws depend on it, their distribution does not.
const HEIGHT: u64 = 1;

/// What to find out.
#[derive(Clone, Copy, Debug)]
pub struct Question {
    /// The block's width, k.
    pub width: Width,
    /// The most cells that a client samples.
    pub samples: NonZeroU16,
    /// Light clients, each with its own secret.
    pub clients: NonZeroU32,
    /// What every random choice is derived from.
    pub seed: u64,
}

/// What came out.
#[derive(Clone, PartialEq, Debug, Serialize)]
pub struct Answer {
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
    /// One point for each number of samples, from 1 on.
    pub points: Vec<Point>,
}

/// What came out for one number of samples.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
pub struct Point {
    /// Cells that each client samples.
    pub samples: usize,
    /// Clients that met no withheld cell.
    pub fooled: u64,
    /// Their share of all clients.
    pub simulated: f64,
    /// 95 % interval for the probability of being fooled.
    pub interval: Interval,
    /// That probability by the light client's formula.
    pub closed_form: f64,
}

impl Question {
    /// Asks all clients, on as many threads as there are cores. `progress` is told how many clients were
    /// asked since it was last told.
    #[must_use]
    pub fn answer(&self, progress: &(dyn Fn(u64) + Sync)) -> Answer {
        let threads = thread::available_parallelism().map_or(1, usize::from);
        let clients = u64::from(self.clients.get());
        let mut fooled = clients;
        let mut points = Vec::new();
        for (caught, samples) in self.caught_at(threads, progress).into_iter().zip(1..) {
            fooled -= caught;
            points.push(Point {
                samples,
                fooled,
                simulated: fooled as f64 / clients as f64,
                interval: Interval::wilson(fooled, clients, Z_95),
                closed_form: miss_probability(self.width, samples),
            });
        }
        Answer {
            width: self.width.get(),
            cells: self.width.extended().pow(2),
            withheld: (self.width.get() + 1).pow(2),
            clients: self.clients.get(),
            seed: self.seed,
            points,
        }
    }

    /// For each sample, in drawn order, the clients whose first withheld cell it is.
    fn caught_at(&self, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Vec<u64> {
        let pattern = Pattern::smallest(self.width, self.seed);
        let samples = usize::from(self.samples.get());
        let clients = u64::from(self.clients.get());
        let totals: Vec<AtomicU64> = (0..samples).map(|_| AtomicU64::new(0)).collect();
        let next = AtomicU64::new(0);
        let work = || {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                let batch = first..clients.min(first.saturating_add(BATCH));
                if batch.is_empty() {
                    return;
                }
                let mut caught = vec![0; samples];
                for client in batch.clone() {
                    let secret = Seed::from_bytes(hash("weft/sim-client/1", [self.seed, client]));
                    let drawn = draw(&secret, HEIGHT, self.width, samples);
                    if let Some(sample) = drawn.into_iter().position(|at| pattern.hides(at)) {
                        caught[sample] += 1;
                    }
                }
                for (total, caught) in totals.iter().zip(caught) {
                    total.fetch_add(caught, Ordering::Relaxed);
                }
                progress(batch.end - batch.start);
            }
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
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
        for Point { samples, fooled, simulated, interval: Interval { low, high }, closed_form } in
            &self.points
        {
            writeln!(to, "{samples},{fooled},{},{simulated},{low},{high},{closed_form}", self.clients)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]

    use super::*;

    #[test]
    fn threads_do_not_change_the_answer_and_every_client_counts_once() {
        let question = Question {
            width: Width::new(4).unwrap(),
            samples: NonZeroU16::new(64).unwrap(),
            clients: NonZeroU32::new(2_500).unwrap(),
            seed: 3,
        };
        let told = AtomicU64::new(0);
        let tell = |clients| {
            told.fetch_add(clients, Ordering::Relaxed);
        };
        let one = question.caught_at(1, &tell);
        assert_eq!(one, question.caught_at(3, &tell));
        // All 64 cells of the square were drawn: nobody misses the pattern.
        assert_eq!((one.iter().sum(), told.into_inner()), (2_500_u64, 5_000));
        assert_eq!(question.answer(&|_| ()).points.last().unwrap().interval.low, 0.0);
    }
}
