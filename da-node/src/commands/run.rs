//! `da-node run`.

use std::path::PathBuf;

use anyhow::Result;
use consensus::SignerAddress;

use super::stop_asked;
use crate::{home::Home, run};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder, made by `da-node init`
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// Stop, too, when standard input ends: for a supervisor that may die
    #[arg(long)]
    until_stdin_closes: bool,
    /// Stop once this height is committed, without a vote on the next: to change programs together
    #[arg(long, value_name = "HEIGHT")]
    halt_height: Option<u64>,
    /// Keep all squares and every version of the state, for ever
    #[arg(long)]
    archive: bool,
    /// Keep squares for so long; at least what genesis promises, which is the default
    #[arg(long, value_name = "SECONDS", conflicts_with = "archive")]
    retention: Option<u64>,
    /// Have votes signed by the process that dials in here, as unix:///PATH or tcp://[PEER_ID@]IP:PORT
    #[arg(long, value_name = "ADDRESS")]
    signer_listen: Option<SignerAddress>,
}

pub(super) async fn run(args: Args, newest_rules: u64) -> Result<()> {
    let options = run::Options {
        halt_height: args.halt_height,
        archive: args.archive,
        retention_seconds: args.retention,
        newest_rules,
        signer_listen: args.signer_listen,
    };
    let node = run::start(&Home::new(args.home), options).await?;
    let stop = async {
        if let Err(error) = stop_asked(args.until_stdin_closes).await {
            tracing::error!(%error, "cannot listen for signals");
        }
    };
    node.until(stop).await
}
