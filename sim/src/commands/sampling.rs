//! `sim sampling`.

use std::fs;
use std::io::Write as _;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use erasure::Width;
use indicatif::{HumanCount, ProgressBar, ProgressStyle};
use sim::{Answer, Interval, Point, Question, plot};

/// How many light clients does a withheld block fool?
///
/// A producer withholds the fewest cells that make the block unrecoverable: (k+1)² of 4k². Each light
/// client draws its samples with the light client's own code; it is fooled if none of them is withheld.
/// Compares the count with the closed form and writes sampling.json, sampling.csv and sampling.svg.
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
    /// What every random choice is derived from.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The directory to write to; created if there is none.
    #[arg(long, value_name = "DIR", default_value = "target/sim")]
    out: PathBuf,
    /// Print the answer as JSON.
    #[arg(long)]
    json: bool,
}

fn width(text: &str) -> anyhow::Result<Width> {
    let k: u32 = text.parse()?;
    Ok(Width::new(k)?)
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let &Args { width, samples, clients, seed, .. } = args;
    let bar = ProgressBar::new(clients.get().into()).with_style(ProgressStyle::with_template(
        "{bar:40} {human_pos} of {human_len} light clients, {eta} left",
    )?);
    let answer = Question { width, samples, clients, seed }.answer(&|asked| bar.inc(asked));
    bar.finish_and_clear();
    write(args, &answer)?;
    if args.json {
        super::print_json(&answer)?;
    } else {
        write!(std::io::stdout(), "{}", render(args, &answer))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Leaves the answer in the directory asked for.
fn write(args: &Args, answer: &Answer) -> anyhow::Result<()> {
    let mut csv = Vec::new();
    answer.write_csv(&mut csv)?;
    let mut json = serde_json::to_vec_pretty(answer)?;
    json.push(b'\n');
    fs::create_dir_all(&args.out).with_context(|| format!("--out {}", args.out.display()))?;
    for (name, bytes) in
        [("sampling.csv", csv), ("sampling.json", json), ("sampling.svg", plot(answer)?.into_bytes())]
    {
        let path = args.out.join(name);
        fs::write(&path, bytes).with_context(|| format!("--out: writing {}", path.display()))?;
    }
    Ok(())
}

fn render(args: &Args, answer: &Answer) -> String {
    let &Answer { width, cells, withheld, clients, seed, .. } = answer;
    let share = 100.0 * withheld as f64 / cells as f64;
    let [withheld, cells] = [withheld, cells].map(|cells| HumanCount(cells as u64));
    let mut text = format!("withheld     {withheld} of {cells} cells ({share:.2}%), width k = {width}\n");
    if let Some(&Point { samples, fooled, simulated, interval, closed_form }) = answer.points.last() {
        let [fooled, clients] = [fooled, clients.into()].map(HumanCount);
        let Interval { low, high } = interval;
        let place = if interval.contains(closed_form) { "inside" } else { "OUTSIDE" };
        text += &format!(
            "fooled       {fooled} of {clients} clients with {samples} samples each, seed {seed}\n\
             simulated    {simulated:.3e}, 95% interval {low:.3e} to {high:.3e}\n\
             closed form  {closed_form:.3e}, {place} the interval\n"
        );
    }
    text + &format!("written      {}\n", args.out.join("sampling.{json,csv,svg}").display())
}
