//! The subcommands, one a file.

mod resume;
mod run;
mod status;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context as _;
use chain::NetworkConfig;
use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

/// Where `run` serves its status and `status` looks for it unless told otherwise.
const STATUS_ADDR: &str = "127.0.0.1:26680";

/// Checks from a laptop that Weft's blocks are published.
///
/// It verifies headers from a checkpoint on and asks peers for random cells of each block. A
/// block is available once every cell came with a valid proof; a producer that withholds enough
/// to lose the block is noticed with the confidence that you ask for.
#[derive(Debug, Parser)]
#[command(name = "light-client", version)]
#[command(
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong usage, 3 (status) a block is unavailable, or\n    the client follows no further. A client that does stays up, to show why and to serve the proof.\n\
    Logs go to stderr; RUST_LOG sets their level, for example RUST_LOG=light_client=debug."
)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    Resume(resume::Args),
    Status(status::Args),
}

impl Cli {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let runtime = runtime()?;
        let result = match self.command {
            Command::Run(args) => runtime.block_on(run::run(args)),
            Command::Resume(args) => resume::run(&args),
            Command::Status(args) => runtime.block_on(status::run(args)),
        };
        // Does not wait for a thread that reads standard input.
        runtime.shutdown_background();
        result
    }
}

fn read_network(path: &Path) -> anyhow::Result<NetworkConfig> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--network {}: cannot read it", path.display()))?;
    toml::from_str(&text).with_context(|| format!("--network {}", path.display()))
}

/// Two workers: the client waits far more than it computes, and every thread costs memory.
fn runtime() -> std::io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(2).max_blocking_threads(4).enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
