//! `sim reconstruction`.

use std::num::{NonZeroU16, NonZeroU32};
use std::process::ExitCode;

use erasure::Width;
use indicatif::HumanCount;
use sim::{Axis, Chance, Chart, Drawn, Mark, Needed, Rebuilt, Reconstruction};

use super::output::{Output, progress, width};

/// How many light clients does it take to rebuild a block?
///
/// Draws every client's cells with the light client's own code and counts clients until the block can be
/// rebuilt: in the worst case, where an adversary picks which cells are lost, and by row and column decoding
/// of whatever cells there are. Writes reconstruction.json, reconstruction.csv and reconstruction.svg.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The block's width k: shares per line of the original square, a power of two from 2 to 512.
    #[arg(long, value_name = "K", default_value = "128", value_parser = width)]
    width: Width,
    /// Cells that each client holds.
    #[arg(long, value_name = "N", default_value = "16")]
    samples: NonZeroU16,
    /// Blocks to rebuild.
    #[arg(long, value_name = "N", default_value = "600")]
    trials: NonZeroU32,
    /// Clients that left before they are asked.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    churn: f64,
    /// Clients of the rest that do not serve.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    silent: f64,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

fn percent(text: &str) -> anyhow::Result<f64> {
    let percent: f64 = text.parse()?;
    anyhow::ensure!((0.0..=90.0).contains(&percent), "must be from 0 to 90 percent, got {text}");
    Ok(percent)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let &Args { width, samples, trials, churn, silent, seed, .. } = args;
    let bar = progress(trials.get().into(), "blocks")?;
    let answer = Reconstruction { width, samples, trials, churn, silent, seed }.answer(&|| bar.inc(1));
    bar.finish_and_clear();
    args.output.write("reconstruction", &answer, &answer.csv(), &chart(&answer), &render(&answer))?;
    Ok(ExitCode::SUCCESS)
}

fn chart(answer: &Rebuilt) -> Chart {
    let Rebuilt { width, samples, trials, seed, curve, .. } = answer;
    let marks = |of: fn(&Chance) -> Mark| curve.iter().map(of).collect();
    Chart::new(
        "Probability that light clients rebuild a block",
        format!(
            "k = {width}, {samples} samples each, {:.0}% of the clients serve; {trials} blocks, seed {seed}, \
             95% intervals",
            answer.serving
        ),
        Axis::plain("light clients"),
        Axis::plain("share of blocks rebuilt").to(1.02),
    )
    .with(
        "peeling",
        Drawn::Both,
        marks(|at| Mark::within(at.clients.into(), at.peeling, at.peeling_interval)),
    )
    .with("worst case", Drawn::Both, marks(|at| Mark::within(at.clients.into(), at.worst, at.worst_interval)))
    .guide(0.99, "99%")
}

fn render(answer: &Rebuilt) -> String {
    let Rebuilt { width, samples, serving, trials, seed, formula, .. } = answer;
    let needed = |needed: Needed| {
        let Needed { median, p99, p99_from, p99_to } = needed;
        let to = p99_to.map_or("?".to_owned(), |to| HumanCount(to.into()).to_string());
        let [median, p99, from] = [median, p99, p99_from].map(|clients| HumanCount(clients.into()));
        format!("{p99} clients for 99% of blocks, 95% interval {from} to {to}; {median} for half")
    };
    format!(
        "block        k = {width}, {samples} samples a client, {serving:.1}% serve; {trials} blocks, seed {seed}\n\
         worst case   {}\n\
         by formula   {} clients for 99%\n\
         peeling      {}\n",
        needed(answer.worst),
        HumanCount(formula.ceil() as u64),
        needed(answer.peeling)
    )
}
