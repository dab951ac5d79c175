//! `sim consensus`.

use std::path::PathBuf;
use std::process::ExitCode;

use erasure::Width;
use sim::{
    Axis, Carries, Case, Chart, Consensus, Distance, Drawn, Interval, Mark, Pace, Processing, Scenario,
    Timeouts,
};

use super::output::{Output, progress, width};

/// How fast are blocks decided, by validators, block size and bandwidth?
///
/// Runs a model of Tendermint over a gossip mesh with measured latencies between ten regions (published by IBM
/// Cloud), once with proposals that carry digests while bodies travel ahead, and once with whole blocks in the
/// proposals. Writes consensus.json, consensus.csv and consensus.svg (which shows the largest number of
/// validators).
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Packet loss, and what happens to validators and regions; see sim/scenarios. Its other numbers are not used.
    /// Default: a good day, scenarios/calm.toml.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
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
    /// The JSON of `make bench-erasure`, for the time of a commit. Default: what sim/processing.toml says, so that
    /// every machine finds the same.
    #[arg(long, value_name = "FILE")]
    benchmarks: Option<PathBuf>,
    /// Blocks of a run that are counted.
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    blocks: u32,
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
        scenario: args.scenario.as_deref().map_or_else(Scenario::calm, Scenario::read)?,
        distance: Distance::World,
        validators: args.validators.clone(),
        widths: args.widths.clone(),
        mbits: args.mbits.clone(),
        interval_ms: args.interval_ms,
        timeouts: Timeouts::default(),
        processing: args.benchmarks.as_deref().map_or_else(Processing::committed, Processing::read)?,
        blocks: args.blocks,
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
    let Pace { about, interval_ms, blocks, runs, seed, .. } = answer;
    let mut chart = Chart::new(
        "Throughput of full blocks",
        format!(
            "{about}; {most} validators in ten regions, at least {interval_ms} ms between proposals; \
             {runs} runs of {blocks} blocks, seed {seed}"
        ),
        Axis::logarithmic("block size, MB"),
        Axis::plain("throughput, MB/s"),
    );
    for carries in [Carries::Digests, Carries::Bodies] {
        for mbit in &question.mbits {
            let cases = answer
                .cases
                .iter()
                .filter(|case| case.carries == carries && case.mbit == *mbit && case.validators == most);
            let marks = cases.map(|case| mark(case, *interval_ms)).collect();
            chart = chart.with(format!("{}, {mbit} Mbit/s", name(carries)), Drawn::Both, marks);
        }
    }
    chart
}

/// Throughput, with the interval of the block time; none where a run stood still.
fn mark(case: &Case, interval_ms: u64) -> Mark {
    let megabytes = case.block_bytes as f64 / 1e6;
    let (Some(speed), Some(Interval { low, high })) = (case.megabytes_per_second, case.interval) else {
        return Mark::exact(megabytes, 0.0);
    };
    // No block comes before its time.
    let shortest = low.max(interval_ms as f64);
    let most = if shortest > 0.0 { megabytes * 1e3 / shortest } else { speed };
    Mark::within(megabytes, speed, Interval { low: megabytes * 1e3 / high, high: most })
}

fn render(answer: &Pace) -> String {
    let Processing { commit_source, vote_source, .. } = &answer.processing;
    let mut text = format!(
        "scenario     {}\ncommits      {commit_source}\nvotes        {vote_source}\n\n\
         carries      validators  Mbit/s     MB   block ms  (95% interval)   decision ms  failed rounds    MB/s\n",
        answer.about
    );
    for case in &answer.cases {
        let Case { carries, validators, mbit, block_bytes, failed_rounds, .. } = case;
        let number = |value: Option<f64>, decimals: usize| {
            value.map_or("none".to_owned(), |value| format!("{value:.decimals$}"))
        };
        let between = case.interval.map_or(String::new(), |at| format!("({:.0} to {:.0})", at.low, at.high));
        text += &format!(
            "{:12} {validators:10} {mbit:7} {:6.1} {:>10}  {between:<15} {:>12} {failed_rounds:>14.2} {:>7}\n",
            name(*carries),
            *block_bytes as f64 / 1e6,
            number(case.block_ms, 0),
            number(case.decision_ms, 0),
            number(case.megabytes_per_second, 2),
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_stands_still_is_drawn_at_nothing_and_nobody_above_the_pace() {
        let paced = Case {
            carries: Carries::Digests,
            validators: 4,
            width: 128,
            mbit: 100,
            block_bytes: 8_000_000,
            block_ms: Some(2_000.0),
            interval: Some(Interval { low: 500.0, high: 4_000.0 }),
            decision_ms: Some(1.0),
            failed_rounds: 0.0,
            megabytes_per_second: Some(4.0),
        };
        assert_eq!(mark(&paced, 1_000), Mark::within(8.0, 4.0, Interval { low: 2.0, high: 8.0 }));
        let stood = Case { block_ms: None, interval: None, megabytes_per_second: None, ..paced };
        assert_eq!(mark(&stood, 1_000), Mark::exact(8.0, 0.0));
    }
}
