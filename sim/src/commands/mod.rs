//! The subcommands, one a file.

mod consensus;
mod events;
mod fees;
mod output;
mod propagation;
mod reconstruction;
mod sampling;
mod validate;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde::Serialize;

/// Answers questions about Weft that need more nodes than a laptop can run.
///
/// Draws, samplers, squares and the fee market are the real code; validators, gossip and votes are models. One
/// seed gives one result on any machine.
#[derive(Debug, Parser)]
#[command(name = "sim", version)]
#[command(after_help = "Exit codes: 0 done, 1 failed or a number was missed, 2 wrong usage.")]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Sampling(sampling::Args),
    Reconstruction(reconstruction::Args),
    Propagation(propagation::Args),
    Consensus(consensus::Args),
    Fees(fees::Args),
    Events(events::Args),
    Validate(validate::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Sampling(args) => sampling::run(&args),
            Command::Reconstruction(args) => reconstruction::run(&args),
            Command::Propagation(args) => propagation::run(&args),
            Command::Consensus(args) => consensus::run(&args),
            Command::Fees(args) => fees::run(&args),
            Command::Events(args) => events::run(&args),
            Command::Validate(args) => validate::run(&args),
        }
    }
}

fn print(text: &str) -> anyhow::Result<()> {
    Ok(std::io::stdout().lock().write_all(text.as_bytes())?)
}

fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print(&format!("{}\n", serde_json::to_string_pretty(value)?))
}
