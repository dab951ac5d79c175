//! `sim consensus`.

use std::path::PathBuf;
use std::process::ExitCode;

use erasure::Width;
use sim::{Axis, Carries, Case, Chart, Consensus, Drawn, Mark, Pace, Processing};

use super::output::{Output, progress, width};

/// How fast are blocks decided, by validators, block size and bandwidth?
///
/// Runs Tendermint's normal case over a gossip mesh with measured latencies between ten regions, once with
/// proposals that carry digests while bodies travel ahead, and once with whole blocks in the proposals. Writes
/// consensus.json, consensus.csv and consensus.svg (which shows the largest number of validators).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Numbers of validators.
    #[arg(long, value_name = "N,…", default_value = "4,30,100", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=1_000))]
    validators: Vec<u16>,
    /// Widths of full blocks.
    #[arg(long, value_name = "K,…", default_value = "32,64,128,256", value_delimiter = ',', value_parser = width)]
    widths: Vec<Width>,
    /// Uplinks and downlinks in megabits a second.
    #[arg(long, value_name = "MBIT,…", default_value = "100,1000", value_delimiter = ',',
        value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    mbits: Vec<u64>,
    /// Shortest time between two proposals; the chain's default is 1000.
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(..=60_000))]
    interval_ms: u64,
    /// The benchmarks' JSON with the time of a commit; without the file, a documented default.
    #[arg(long, value_name = "FILE", default_value = "target/bench/erasure.json")]
    benchmarks: PathBuf,
    /// Runs of each, with networks of their own.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let question = Consensus {
        validators: args.validators.clone(),
        widths: args.widths.clone(),
        mbits: args.mbits.clone(),
        interval_ms: args.interval_ms,
        processing: Processing::read(&args.benchmarks)?,
        runs: args.runs,
        seed: args.seed,
    };
    let bar = progress(question.asked(), "runs")?;
    let answer = question.answer(&|| bar.inc(1));
    bar.finish_and_clear();
    args.output.write("consensus", &answer, &answer.csv(), &chart(&question, &answer), &render(&answer))?;
    Ok(ExitCode::SUCCESS)
}

fn name(carries: Carries) -> &'static str {
    match carries {
        Carries::Digests => "digests",
        Carries::Bodies => "whole blocks",
    }
}

fn chart(question: &Consensus, answer: &Pace) -> Chart {
    let most = question.validators.iter().copied().max().unwrap_or(0);
    let mut chart = Chart::new(
        "Time from one proposal to the next",
        format!(
            "{most} validators in ten regions, full blocks, at least {} ms apart; {} runs, seed {}",
            answer.interval_ms, answer.runs, answer.seed
        ),
        Axis::logarithmic("megabytes in a block"),
        Axis::logarithmic("milliseconds"),
    );
    for carries in [Carries::Digests, Carries::Bodies] {
        for mbit in &question.mbits {
            let cases = answer
                .cases
                .iter()
                .filter(|case| case.carries == carries && case.mbit == *mbit && case.validators == most);
            let marks =
                cases.map(|case| Mark::within(case.block_bytes as f64 / 1e6, case.block_ms, case.interval));
            chart = chart.with(format!("{}, {mbit} Mbit/s", name(carries)), Drawn::Both, marks.collect());
        }
    }
    chart
}

fn render(answer: &Pace) -> String {
    let mut text = format!(
        "work         {:.1} ns a byte ({})\n",
        answer.processing.nanos_per_byte, answer.processing.source
    );
    for Case { carries, validators, mbit, block_bytes, block_ms, interval, megabytes_per_second, .. } in
        &answer.cases
    {
        text += &format!(
            "{:12} {validators:4} validators, {mbit:5} Mbit/s, {:6.1} MB: {block_ms:7.0} ms ({:.0} to {:.0}), \
             {megabytes_per_second:.2} MB/s\n",
            name(*carries),
            *block_bytes as f64 / 1e6,
            interval.low,
            interval.high
        );
    }
    text
}
