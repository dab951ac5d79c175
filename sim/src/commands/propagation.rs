//! `sim propagation`.

use std::process::ExitCode;

use erasure::Width;
use indicatif::HumanCount;
use sim::{Axis, Chart, Drawn, Interval, Mark, Propagation, Quantile, Spread, Stage};

use super::output::{Output, progress, width};

/// How long until validators have the bodies, and light clients their samples?
///
/// Spreads a full block's bodies over a network with measured latencies between ten regions (published by IBM
/// Cloud), lets two thirds of the validators decide once they have all of them, and every light client fetch
/// header, probe and samples from its peers. Writes propagation.json, propagation.csv and propagation.svg.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The block's width k: shares per line of the original square, a power of two from 2 to 512.
    #[arg(long, value_name = "K", default_value = "128", value_parser = width)]
    width: Width,
    /// Validators, on 1,000 Mbit/s.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    validators: u16,
    /// Full nodes: a fifth on 1,000 Mbit/s, half on 200, the rest on 50.
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=50_000))]
    full_nodes: u16,
    /// Light clients, on 10 Mbit/s up and 50 down.
    #[arg(long, value_name = "N", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1..=5_000_000))]
    clients: u32,
    /// Full nodes that a light client is connected to.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u8).range(1..=64))]
    peers: u8,
    /// Packets lost.
    #[arg(long, value_name = "PERCENT", default_value_t = 1.0, value_parser = percent)]
    loss: f64,
    /// Full nodes that are gone, although light clients still try them.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    churn: f64,
    /// Full nodes that serve no samples.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = percent)]
    silent: f64,
    /// Give one light client only peers that serve it no samples.
    #[arg(long)]
    victim: bool,
    /// From two thirds of the validators' being able to vote to the decision. Default: three hops and 75 ms each,
    /// as measured with Malachite.
    #[arg(long, value_name = "MS", default_value_t = 250, value_parser = clap::value_parser!(u64).range(..=60_000))]
    votes_ms: u64,
    /// Rebuilding and checking the square; `cargo run -p erasure --example commit_speed` measures it.
    #[arg(long, value_name = "MS", default_value_t = 100, value_parser = clap::value_parser!(u64).range(..=60_000))]
    rebuild_ms: u64,
    /// Runs, each with a network of its own.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    runs: u32,
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
    let question = Propagation {
        width: args.width,
        validators: args.validators,
        full_nodes: args.full_nodes,
        light_clients: args.clients,
        peers: args.peers,
        loss: args.loss,
        churn: args.churn,
        silent: args.silent,
        victim: args.victim,
        votes_ms: args.votes_ms,
        rebuild_ms: args.rebuild_ms,
        runs: args.runs,
        seed: args.seed,
    };
    let bar = progress(args.runs.into(), "runs")?;
    let answer = question.answer(&|| bar.inc(1));
    bar.finish_and_clear();
    args.output.write(
        "propagation",
        &answer,
        &answer.csv(),
        &chart(args, &answer),
        &render(args, &answer),
    )?;
    Ok(ExitCode::SUCCESS)
}

fn chart(args: &Args, answer: &Spread) -> Chart {
    let clients = HumanCount(answer.light_clients.into());
    let mut chart = Chart::new(
        "When a block's bodies and samples have arrived",
        format!(
            "k = {}; {} validators, {} full nodes, {clients} light clients; loss {}%, churn {}%, silent {}%; seed {}",
            answer.width,
            answer.validators,
            answer.full_nodes,
            args.loss,
            args.churn,
            args.silent,
            answer.seed
        ),
        Axis::plain("milliseconds after the bodies were submitted"),
        Axis::plain("percent of the nodes").to(102.0),
    );
    for Stage { name, quantiles } in &answer.stages {
        chart = chart.with(
            *name,
            Drawn::Both,
            quantiles.iter().map(|at| Mark::exact(at.ms, at.percent)).collect(),
        );
    }
    chart
}

fn render(args: &Args, answer: &Spread) -> String {
    let mut text = format!(
        "block        k = {}, {} samples a light client, {} runs, seed {}\n",
        answer.width, answer.samples, answer.runs, answer.seed
    );
    for Stage { name, quantiles } in &answer.stages {
        let at = |wanted: f64| {
            let found = quantiles.iter().find(|quantile| quantile.percent == wanted);
            found.map_or(String::new(), |Quantile { ms, interval: Interval { low, high }, .. }| {
                format!("{ms:.0} ms ({low:.0} to {high:.0})")
            })
        };
        text += &format!("{name}: half in {}, 99% in {}, all in {}\n", at(50.0), at(99.0), at(100.0));
    }
    text += &format!(
        "alarmed      {} of {} light clients a run\n",
        answer.alarmed,
        HumanCount(answer.light_clients.into())
    );
    if args.victim {
        text +=
            if answer.victim_fooled { "victim       FOOLED\n" } else { "victim       not fooled: alarmed\n" };
    }
    text + &format!("events       {}\n", HumanCount(answer.events))
}
