//! Weft's erasure engine beside its peers: the same bytes, one process, in turn, several rounds.
//!
//! What counts are ratios within one run: every round runs each of them once, so that whatever slows the
//! machine down slows all. Times are per byte of original data, for the extension and all commitments
//! unless the name says otherwise. The results go to standard output and to
//! `target/bench/erasure.json`.

mod memory;
mod peers;
mod report;
mod weft;

use std::{hint::black_box, time::Instant};

use anyhow::{Context, Result};
use erasure::{SHARE_BYTES, Width};

/// One implementation at one operation and one width.
pub(crate) struct Candidate {
    pub(crate) name: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) threads: usize,
    /// Runs once; the seconds it took, without preparation.
    pub(crate) run: Box<dyn FnMut() -> Result<f64>>,
}

/// The times of one candidate.
pub(crate) struct Measured {
    pub(crate) name: &'static str,
    pub(crate) operation: &'static str,
    pub(crate) threads: usize,
    pub(crate) k: usize,
    pub(crate) bytes: usize,
    pub(crate) seconds: Vec<f64>,
}

impl Measured {
    pub(crate) fn min(&self) -> f64 {
        self.seconds.iter().copied().fold(f64::INFINITY, f64::min)
    }

    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.seconds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
    }
}

/// Times one call; its result is dropped after the clock has stopped.
pub(crate) fn time<T>(run: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let result = black_box(run());
    (start.elapsed().as_secs_f64(), result)
}

/// The k² shares of a square that every implementation accepts: Celestia's wants a namespace and an info
/// byte in front of each share.
fn shares(width: Width) -> Vec<u8> {
    let mut bytes = vec![0; width.shares() * SHARE_BYTES];
    blake3::Hasher::new().update(b"bench-erasure").finalize_xof().fill(&mut bytes);
    for share in bytes.chunks_exact_mut(SHARE_BYTES) {
        share[..19].fill(0);
        share[19..29].copy_from_slice(b"0123456789");
        share[29] = 1;
    }
    bytes
}

/// (width, rounds): the wider, the fewer.
const WIDTHS: [(u32, usize); 4] = [(64, 40), (128, 16), (256, 8), (512, 4)];

fn main() -> Result<()> {
    let scale: f64 =
        std::env::args().nth(1).map_or(Ok(1.0), |scale| scale.parse()).context("rounds: a factor")?;
    let memory = memory::measure();
    let mut measured = Vec::new();
    for (k, rounds) in WIDTHS {
        let width = Width::new(k)?;
        let shares = shares(width);
        let mut candidates = weft::candidates(width, &shares)?;
        candidates.extend(peers::candidates(width, &shares)?);
        let mut here: Vec<Measured> = candidates
            .iter()
            .map(|Candidate { name, operation, threads, .. }| Measured {
                name,
                operation,
                threads: *threads,
                k: width.get(),
                bytes: shares.len(),
                seconds: Vec::new(),
            })
            .collect();
        for round in 0..((rounds as f64 * scale).ceil() as usize).max(1) {
            eprint!("\rk = {k}: round {}\x1b[K", round + 1);
            for (candidate, measured) in candidates.iter_mut().zip(&mut here) {
                measured.seconds.push((candidate.run)()?);
            }
        }
        measured.append(&mut here);
    }
    eprintln!();
    report::print(&measured, &memory);
    report::write(&measured)
}
