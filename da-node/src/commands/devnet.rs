//! `da-node devnet`.

use std::path::PathBuf;

use anyhow::Result;

use super::stop_asked;
use crate::devnet::{Devnet, dev_key, programs};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder for the nodes' folders and logs
    #[arg(long, value_name = "DIR", default_value = "target/devnet")]
    dir: PathBuf,
    /// Validators
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=16))]
    validators: u8,
    /// Light clients
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=64))]
    lights: u8,
}

pub(super) async fn run(args: Args) -> Result<()> {
    println!("starting {} validators, a full node and {} light clients …", args.validators, args.lights);
    let dir = std::path::absolute(&args.dir)?;
    let mut devnet = Devnet::start(&dir, &programs()?, args.validators.into(), |_| {}).await?;
    devnet.start_lights(args.lights.into()).await?;
    for node in &devnet.nodes {
        println!("  {:<12} {}", node.process.name, node.running.api);
    }
    for light in &devnet.lights {
        println!("  {:<12} {}", light.process.name, light.status);
    }
    println!("  network      {}", devnet.network_file().display());
    println!("  logs         {}/*.log", dir.display());
    println!("Try:");
    println!(
        "  export WEFT_NETWORK={} WEFT_KEY={}",
        devnet.network_file().display(),
        hex::encode(dev_key(1)?.to_bytes())
    );
    println!("  blob submit README.md --namespace c0ffee --wait");
    println!("Ctrl-C stops everything.");
    stop_asked(false).await?;
    println!("stopping …");
    devnet.stop().await
}
