//! The subcommands, one a file.

mod sampling;
mod validate;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Answers questions about Weft that need more light clients than a laptop can run.
///
/// It runs the light client's own code, and one seed gives one result on any machine.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
#[command(after_help = "Exit codes: 0 done, 1 failed or a published number was missed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sampling(sampling::Args),
    Validate(validate::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Sampling(args) => sampling::run(&args),
            Command::Validate(args) => validate::run(&args),
        }
    }
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    serde_json::to_writer_pretty(&mut stdout, value)?;
    Ok(writeln!(stdout)?)
}
