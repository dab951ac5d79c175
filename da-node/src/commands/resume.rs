//! `da-node resume`.

use std::path::PathBuf;

use anyhow::{Result, bail};

use crate::{fraud, home::Home, storage::Store};

/// Only after docs/fraud-runbook.md: the proof stays on record, and nothing makes the block right. The node must not
/// be running.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let home = Home::new(args.home.clone());
    let genesis = home.genesis()?;
    let _lock = home.lock("da-node resume")?;
    let store = Store::open(&home.path("db"), &genesis)?;
    let heights = fraud::resume(&store)?;
    if heights.is_empty() {
        bail!("no fraud proof halts this node");
    }
    for height in heights {
        println!("goes on in spite of the proof against block {height}, whose blobs stay unreachable");
    }
    Ok(())
}
