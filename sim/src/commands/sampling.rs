//! `sim sampling`.

use std::num::{NonZeroU16, NonZeroU32};
use std::process::ExitCode;

use erasure::Width;
use indicatif::HumanCount;
use light_client::sampler::{Confidence, miss_probability};
use sim::{Adversary, Answer, Axis, Chart, Drawn, Interval, Mark, Point, Question};

use super::output::{Output, Timed, progress, width};

/// How many light clients does a withheld block fool?
///
/// A producer withholds what makes the block unrecoverable. Each light client draws its samples with the
/// light client's own code; it is fooled if it is served all of them. Compares the count with the closed
/// form where there is one and writes sampling.json, sampling.csv and sampling.svg.
///
/// Adversaries: minimal hides the fewest cells that do it, (k+1)² of 4k². random hides --withheld percent of
/// all cells. victim serves one client whose requests it recognises and hides (k+1)² other cells from all
/// others. linkable and unlinkable answer whatever is asked until one more cell could complete the block:
/// client after client, or all requests in one random order; the answer is then by size of the crowd.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The block's width k: shares per line of the original square, a power of two from 2 to 512.
    #[arg(long, value_name = "K", default_value = "128", value_parser = width)]
    width: Width,
    /// The most samples a client takes; every smaller number is answered as well.
    #[arg(long, value_name = "N", default_value = "24")]
    samples: NonZeroU16,
    /// Light clients to simulate, each with its own secret.
    #[arg(long, value_name = "N", default_value = "1000000")]
    clients: NonZeroU32,
    /// Who withholds what.
    #[arg(long, value_enum, default_value = "minimal")]
    adversary: Kind,
    /// What the random adversary withholds, in percent of all cells.
    #[arg(long, value_name = "PERCENT", default_value = "60", value_parser = clap::value_parser!(u8).range(1..=100))]
    withheld: u8,
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    output: Output,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Minimal,
    Random,
    Linkable,
    Unlinkable,
    Victim,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let &Args { width, samples, clients, seed, .. } = args;
    let adversary = match args.adversary {
        Kind::Minimal => Adversary::Minimal,
        Kind::Random => Adversary::Random(args.withheld),
        Kind::Linkable => Adversary::Linkable,
        Kind::Unlinkable => Adversary::Unlinkable,
        Kind::Victim => Adversary::Victim,
    };
    let question = Question { width, samples, clients, adversary, seed };
    let bar = progress(question.asked(), "light clients")?;
    let timed = Timed::start();
    let answer = question.answer(&|asked| bar.inc(asked));
    let text = render(&answer) + &timed.stop(question.asked(), "clients");
    bar.finish_and_clear();
    let mut csv = Vec::new();
    answer.write_csv(&mut csv)?;
    let csv = String::from_utf8(csv)?;
    args.output.write("sampling", &answer, &csv, &chart(width, &answer), &text)?;
    Ok(ExitCode::SUCCESS)
}

fn by_crowd(answer: &Answer) -> bool {
    matches!(answer.adversary, Adversary::Linkable | Adversary::Unlinkable)
}

fn chart(width: Width, answer: &Answer) -> Chart {
    let &Answer { cells, withheld, clients, seed, ref points, .. } = answer;
    let [cells, withheld] = [cells, withheld].map(|cells| HumanCount(cells as u64));
    let crowd = HumanCount(clients.into());
    let simulated = |x: fn(&Point) -> f64| {
        points.iter().map(|point| Mark::within(x(point), point.simulated, point.interval)).collect()
    };
    let hidden = format!("k = {width}: {withheld} of {cells} cells withheld");
    if by_crowd(answer) {
        let samples = points.first().map_or(0, |point| point.samples);
        let order = if answer.adversary == Adversary::Linkable { "linkable" } else { "unlinkable" };
        return Chart::new(
            "Share of light clients that selective disclosure fools",
            format!(
                "{hidden}, chosen while {order} requests for {samples} samples a client come in; seed {seed}"
            ),
            Axis::logarithmic("light clients"),
            Axis::logarithmic("share fooled").to(1.0),
        )
        .with("simulated, 95% interval", Drawn::Both, simulated(|point| point.clients.into()))
        .guide(miss_probability(width, samples), "a pattern fixed beforehand");
    }
    let formula =
        points.iter().filter_map(|point| Some(Mark::exact(point.samples as f64, point.closed_form?)));
    Chart::new(
        "Probability that a light client misses a withheld block",
        format!("{hidden}; {crowd} clients, seed {seed}"),
        Axis::plain("samples per client"),
        Axis::logarithmic("probability of being fooled").to(1.0),
    )
    .with("closed form", Drawn::Line, formula.collect())
    .with("simulated, 95% interval", Drawn::Points, simulated(|point| point.samples as f64))
    .guide(Confidence::DEFAULT.miss(), format!("{} sure", Confidence::DEFAULT))
    .guide(1.0 / f64::from(clients), format!("one of {crowd} clients"))
}

fn render(answer: &Answer) -> String {
    let &Answer { width, cells, withheld, seed, victim_fooled_up_to, .. } = answer;
    let share = 100.0 * withheld as f64 / cells as f64;
    let [withheld, cells] = [withheld, cells].map(|cells| HumanCount(cells as u64));
    let mut text = format!("withheld     {withheld} of {cells} cells ({share:.2}%), width k = {width}\n");
    let shown = if by_crowd(answer) { answer.points.len() } else { 1 };
    for &Point { clients, samples, fooled, simulated, interval, closed_form } in
        answer.points.iter().rev().take(shown).rev()
    {
        let Interval { low, high } = interval;
        let [fooled, clients] = [fooled, clients.into()].map(HumanCount);
        text += &format!(
            "fooled       {fooled} of {clients} clients with {samples} samples each, seed {seed}\n\
             simulated    {simulated:.3e}, 95% interval {low:.3e} to {high:.3e}\n"
        );
        if let Some(formula) = closed_form {
            let place = if interval.contains(formula) { "inside" } else { "OUTSIDE" };
            text += &format!("closed form  {formula:.3e}, {place} the interval\n");
        }
    }
    if let Some(samples) = victim_fooled_up_to {
        text += &format!("victim       fooled whenever it takes at most {samples} samples\n");
    }
    text
}
