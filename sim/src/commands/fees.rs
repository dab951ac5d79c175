//! `sim fees`.

use std::process::ExitCode;

use sim::{AgentOutcome, Axis, Chart, Drawn, FeeAnswer, FeeQuestion, Interval, Mark};

use super::output::{Output, progress};

/// What do rollups pay, and how long do they wait?
///
/// Rollups sign transactions with the chain's own code, capped by its quote; its selection, ledger and fee
/// rules include and charge them. One submits steadily, one in bursts, one waits for cheap blocks, one has bought
/// a reservation, and in the middle third a griefer fills every block. Writes fees.json, fees.csv and fees.svg.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Blocks of one run.
    #[arg(long, value_name = "N", default_value = "600", value_parser = clap::value_parser!(u64).range(3..=100_000))]
    blocks: u64,
    /// Runs, each with bursts of its own.
    #[arg(long, value_name = "N", default_value = "4", value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// Leave the griefer out.
    #[arg(long)]
    no_griefer: bool,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let &Args { blocks, runs, no_griefer, seed, .. } = args;
    let bar = progress(blocks * u64::from(runs), "blocks")?;
    let answer = FeeQuestion { blocks, runs, griefer: !no_griefer, seed }.answer(&|| bar.inc(1))?;
    bar.finish_and_clear();
    args.output.write("fees", &answer, &answer.csv(), &chart(&answer, !no_griefer), &render(&answer))?;
    Ok(ExitCode::SUCCESS)
}

fn chart(answer: &FeeAnswer, griefer: bool) -> Chart {
    let FeeAnswer { blocks, runs, seed, floor, path, .. } = answer;
    let floors = |nano: f64| nano / *floor as f64;
    let marks = path.iter().map(|point| {
        let Interval { low, high } = point.interval;
        let interval = Interval { low: floors(low).max(1.0), high: floors(high) };
        Mark::within(point.height as f64, floors(point.base_fee), interval)
    });
    let grief = if griefer { "a griefer fills the middle third" } else { "no griefer" };
    Chart::new(
        "Base fee under bursty rollups",
        format!("{blocks} blocks, {grief}; {runs} runs, seed {seed}; one floor is {floor} nano a share"),
        Axis::plain("block"),
        Axis::plain("base fee, in floors"),
    )
    .with("mean of the runs, 95% interval", Drawn::Band, marks.collect())
}

fn render(answer: &FeeAnswer) -> String {
    let highest = answer.path.iter().map(|point| point.base_fee).fold(0.0, f64::max);
    let mut text = format!(
        "base fee     up to {:.2} floors in the mean of {} runs of {} blocks, seed {}\n",
        highest / answer.floor as f64,
        answer.runs,
        answer.blocks,
        answer.seed
    );
    for agent in &answer.agents {
        let AgentOutcome {
            name,
            included,
            waiting,
            delay,
            delay_interval,
            delay_p95,
            spend,
            spend_interval,
            price,
        } = agent;
        let [Interval { low, high }, spent] = [*delay_interval, *spend_interval];
        text += &format!(
            "{name:12} {included:.1} blobs included, {waiting:.1} waiting; delay {delay:.2} blocks \
             ({low:.2} to {high:.2}), 95% within {delay_p95}; spent {:.4} WEFT ({:.4} to {:.4}), {price:.2} floors a share\n",
            spend / 1e9,
            spent.low / 1e9,
            spent.high / 1e9
        );
    }
    text
}
