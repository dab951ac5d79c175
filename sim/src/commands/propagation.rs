//! `sim propagation`.

use std::path::PathBuf;
use std::process::ExitCode;

use erasure::Width;
use indicatif::HumanCount;
use sim::{Axis, Chart, Drawn, Interval, Mark, Processing, Propagation, Quantile, Scenario, Spread, Stage};

use super::output::{Output, Timed, progress, width};

/// How long until validators have the bodies, and light clients their samples?
///
/// Spreads a full block's bodies over a network with measured latencies between ten regions (published by IBM
/// Cloud), lets the validators vote once they have rebuilt the square, and every light client fetch header,
/// probe and samples from its peers. Some light clients run the light client's own sampler on a real square.
/// Writes propagation.json, propagation.csv and propagation.svg; prints the memory it took, too.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The network and a fault script; see sim/scenarios. Default: a good day, scenarios/calm.toml.
    #[arg(long, value_name = "FILE")]
    scenario: Option<PathBuf>,
    /// The block's width k, instead of the scenario's.
    #[arg(long, value_name = "K", value_parser = width)]
    width: Option<Width>,
    /// Light clients, instead of the scenario's.
    #[arg(long, value_name = "N")]
    clients: Option<u32>,
    /// Light clients of them that run the real sampler.
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(..=20_000))]
    real: u32,
    /// The JSON of `make bench-erasure`, for the time of a commit. Default: what sim/processing.toml says, so that
    /// every machine finds the same.
    #[arg(long, value_name = "FILE")]
    benchmarks: Option<PathBuf>,
    /// Runs, each with a network of its own.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let mut scenario = args.scenario.as_deref().map_or_else(Scenario::calm, Scenario::read)?;
    scenario.width = args.width.map_or(scenario.width, |width| width.get() as u32);
    scenario.light_clients = args.clients.unwrap_or(scenario.light_clients);
    let processing = args.benchmarks.as_deref().map_or_else(Processing::committed, Processing::read)?;
    let question = Propagation { scenario, processing, real: args.real, runs: args.runs, seed: args.seed };
    let bar = progress(args.runs.into(), "runs")?;
    let timed = Timed::start();
    let answer = question.answer(&|| bar.inc(1))?;
    let cost = timed.stop(answer.events, "events");
    bar.finish_and_clear();
    let text = render(&answer) + &cost;
    args.output.write("propagation", &answer, &answer.csv(), &chart(&answer), &text)?;
    Ok(ExitCode::SUCCESS)
}

fn chart(answer: &Spread) -> Chart {
    let Spread { scenario, runs, seed, .. } = answer;
    let mut chart = Chart::new(
        "When a block's bodies and samples have arrived",
        format!(
            "{}; k = {}, {} validators, {} full nodes, {} light clients; {runs} runs, seed {seed}",
            scenario.about,
            scenario.width,
            scenario.validators,
            HumanCount(scenario.full_nodes.into()),
            HumanCount(scenario.light_clients.into()),
        ),
        Axis::plain("seconds after the bodies were submitted"),
        Axis::plain("percent of the nodes").to(102.0),
    );
    for Stage { name, quantiles, .. } in &answer.stages {
        let marks = quantiles.iter().map(|at| Mark::exact(at.ms / 1e3, at.percent)).collect();
        chart = chart.with(*name, Drawn::Both, marks);
    }
    chart
}

fn render(answer: &Spread) -> String {
    let Spread { scenario, samples, rebuild_ms, rebuild_source, runs, seed, .. } = answer;
    let mut text = format!(
        "block        k = {}, {samples} samples a light client, {rebuild_ms:.1} ms to rebuild; {runs} runs, seed {seed}\n\
         commits      {rebuild_source}\n\
         scenario     {}\n",
        scenario.width, scenario.about
    );
    for Stage { name, nodes, done, quantiles } in &answer.stages {
        let at = |wanted: f64| {
            let found = quantiles.iter().find(|quantile| quantile.percent == wanted);
            found.map_or("never".to_owned(), |Quantile { ms, interval: Interval { low, high }, .. }| {
                format!("{ms:.0} ms ({low:.0} to {high:.0})")
            })
        };
        let [done, nodes] = [done.round() as u64, *nodes as u64].map(HumanCount);
        text += &format!("{name}: {done} of {nodes}; half in {}, 99% in {}\n", at(50.0), at(99.0));
    }
    let [alarmed, fooled] = [answer.alarmed, answer.fooled].map(|clients| HumanCount(clients.round() as u64));
    text += &format!("alarmed      {alarmed} light clients a run\n");
    if scenario.faults.contains(&sim::Fault::Withhold {}) {
        text += &format!("fooled       {fooled} light clients a run\n");
    }
    if let Some(eclipsed) = answer.eclipsed {
        text += &format!("eclipsed     {eclipsed}\n");
    }
    text + &format!(
        "traffic      a full node sent {:.1} MB, the busiest {:.1} MB; a light client received {:.1} kB\n",
        answer.full_node_sent_mb, answer.full_node_sent_mb_most, answer.light_client_received_kb
    )
}
