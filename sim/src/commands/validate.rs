//! `sim validate`.

use std::io::Write as _;
use std::process::ExitCode;

use comfy_table::Table;
use comfy_table::presets::UTF8_BORDERS_ONLY;
use sim::{Check, PARTS, checks};

use super::output::progress;

/// Do the numbers come out that others found?
///
/// Prints 237 numbers that are published, that were measured with other programs, or that were worked out
/// independently of this code, each with its source, target, ours and verdict; fails if one is missed.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the comparison as JSON.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args) -> anyhow::Result<ExitCode> {
    let bar = progress(PARTS as u64, "parts")?;
    let checks = checks(&|done| bar.inc(done))?;
    bar.finish_and_clear();
    if args.json {
        super::print_json(&checks)?;
    } else {
        write!(std::io::stdout(), "{}", render(&checks))?;
    }
    Ok(code(&checks))
}

fn code(checks: &[Check]) -> ExitCode {
    if checks.iter().all(|check| check.holds) { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn render(checks: &[Check]) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_BORDERS_ONLY).set_header(["number", "source", "target", "ours", "verdict"]);
    for Check { what, source, target, ours, holds } in checks {
        table.add_row([what.as_str(), source.name(), target, ours, if *holds { "holds" } else { "MISSED" }]);
    }
    let missed = checks.iter().filter(|check| !check.holds).count();
    format!("{table}\n{} numbers, {missed} missed\n", checks.len())
}

#[cfg(test)]
mod tests {
    use sim::Source;

    use super::*;

    #[test]
    fn one_miss_fails_and_is_named() {
        let check = |target: &str, holds| Check {
            what: "samples".to_owned(),
            source: Source::Published,
            target: target.to_owned(),
            ours: "16".to_owned(),
            holds,
        };
        let mut checks = vec![check("16", true)];
        assert_eq!(code(&checks), ExitCode::SUCCESS);
        checks.push(check("17", false));
        assert_eq!(code(&checks), ExitCode::FAILURE);
        let text = render(&checks);
        assert!(text.contains("MISSED") && text.ends_with("2 numbers, 1 missed\n"), "{text}");
    }
}
