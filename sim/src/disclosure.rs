//! Selective disclosure: the producer answers while it can, and denies only what would complete the block.
//!
//! With fewer than 4k² − (k+1)² + 1 distinct cells out, some choice of positions leaves the block
//! unrecoverable; that many always suffice (arXiv:1809.09044, theorem 1). So the adversary of this model lets out
//! 4k² − (k+1)² distinct cells and denies all others: an upper bound on what a real one can do, who
//! has to live with the positions that clients happen to ask for.
//!
//! ```text
//!  request (client, i) ──▶ time ──▶ earliest time of each cell ──▶ the earliest 4k² − (k+1)² are let out
//!        linkable: client · samples + i          unlinkable: a random number
//! ```
//!
//! A client is fooled if each of its cells is let out. Two passes over the draws, nothing is kept of them.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::Pattern;
use crate::parallel::batches;
use crate::rng::{Rng, mix};
use crate::sampling::{Adversary, Point, Question};

const BATCH: u64 = 256;

/// The crowds that are looked at: 1, 3, 10, 30 … of clients, and as many as were asked for.
fn crowds(question: &Question) -> Vec<u32> {
    let most = question.clients.get();
    let steps = (0..).flat_map(|decade| [1, 3].map(|step| 10_u64.pow(decade) * step));
    let mut crowds: Vec<u32> =
        steps.map_while(|crowd| u32::try_from(crowd).ok().filter(|crowd| *crowd < most)).collect();
    crowds.push(most);
    // Smaller ones say little, and cost little.
    crowds.into_iter().filter(|crowd| *crowd >= most.min(10)).collect()
}

/// How many draws the points take.
pub(crate) fn asked(question: &Question) -> u64 {
    crowds(question).into_iter().map(|crowd| 2 * u64::from(crowd)).sum()
}

pub(crate) fn points(question: &Question, threads: usize, progress: &(dyn Fn(u64) + Sync)) -> Vec<Point> {
    let samples = usize::from(question.samples.get());
    let point = |clients: u32| {
        let fooled = fooled(question, clients, threads, progress);
        Point::new(clients, samples, fooled, None)
    };
    crowds(question).into_iter().map(point).collect()
}

/// How many of this many clients are fooled.
pub(crate) fn fooled(
    question: &Question,
    clients: u32,
    threads: usize,
    progress: &(dyn Fn(u64) + Sync),
) -> u64 {
    let (width, side) = (question.width, question.width.extended());
    let samples = u64::from(question.samples.get());
    let salt = Rng::new("weft/sim-request-order/1", [question.seed, clients.into()]).next();
    let time = |client: u64, sample: u64| match question.adversary {
        Adversary::Unlinkable => mix(salt ^ (client * samples + sample)),
        _ => client * samples + sample,
    };
    let cells = |client| {
        let drawn = question.drawn(client);
        drawn.into_iter().map(|at| usize::from(at.row) * side + usize::from(at.column))
    };

    let first: Vec<AtomicU64> = (0..side * side).map(|_| AtomicU64::new(u64::MAX)).collect();
    // Where clients come one after the other, what three requests a cell do not ask for is not let out any more.
    let heard = match question.adversary {
        Adversary::Unlinkable => clients.into(),
        _ => u64::from(clients).min(3 * (side * side) as u64 / samples + 64),
    };
    batches(threads, heard, BATCH, |range| {
        for client in range {
            for (sample, cell) in (0..).zip(cells(client)) {
                let time = time(client, sample);
                if time < first[cell].load(Ordering::Relaxed) {
                    first[cell].fetch_min(time, Ordering::Relaxed);
                }
            }
        }
    });
    progress(clients.into());
    let mut order: Vec<(u64, usize)> =
        first.into_iter().map(AtomicU64::into_inner).zip(0..).filter(|(time, _)| *time < u64::MAX).collect();
    order.sort_unstable();
    let budget = side * side - (width.get() + 1).pow(2);
    let mut denied = Pattern::everything(width);
    order.into_iter().take(budget).for_each(|(_, cell)| denied.disclose(cell));

    let total = AtomicU64::new(0);
    batches(threads, clients.into(), BATCH, |range| {
        let fooled = range.clone().filter(|client| question.first_hidden(*client, &denied).is_none()).count();
        total.fetch_add(fooled as u64, Ordering::Relaxed);
        progress(range.end - range.start);
    });
    total.into_inner()
}
