//! `sim events`.

use std::process::ExitCode;
use std::time::Instant;

use indicatif::HumanCount;
use sim::EventQueue;

/// How many events a second does the event queue handle?
///
/// Keeps --waiting events in the queue: takes the next one and adds another, up to a second later, on one
/// core. Prints a number that is the same for one seed on every machine, and the speed, which is not.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Events to handle.
    #[arg(long, value_name = "N", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(..=10_000_000_000))]
    events: u64,
    /// Events that wait at any time; 50 million take about 2 GB.
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..=50_000_000))]
    waiting: u64,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    /// A second.
    const AHEAD: u64 = 1_000_000_000;
    let mut state = args.seed;
    // Numerical Recipes' generator: the time of making a random number is not to be measured.
    let mut ahead = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(AHEAD)) >> 64) as u64
    };
    let mut queue = EventQueue::default();
    for event in 0..args.waiting {
        queue.push(ahead(), event);
    }
    let start = Instant::now();
    let mut digest = 0_u64;
    for _ in 0..args.events {
        if let Some((at, event)) = queue.pop() {
            digest = digest.rotate_left(5) ^ at ^ event;
            queue.push(at + ahead(), event);
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    super::print(&format!(
        "handled      {} events, {} waiting, digest {digest:016x}\n\
         speed        {:.1} million events/s on one core\n",
        HumanCount(args.events),
        HumanCount(args.waiting),
        args.events as f64 / seconds / 1e6
    ))?;
    Ok(ExitCode::SUCCESS)
}
