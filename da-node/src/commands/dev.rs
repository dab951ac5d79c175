//! `da-node dev`.

use std::{net::SocketAddr, path::PathBuf, time::Instant};

use anyhow::Result;

use super::stop_asked;
use crate::{
    devnet::{DEV_ACCOUNTS, DEV_NOTICE, PREFUNDED, dev_genesis, dev_key, make_validator},
    home::{Home, KeyRole, NodeConfig},
    run,
};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where the HTTP API listens; port 0 takes a free one
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:26658")]
    api: SocketAddr,
    /// Folder to keep; it must not exist yet
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// Stop, too, when standard input ends
    #[arg(long)]
    until_stdin_closes: bool,
}

pub(super) async fn run(args: Args) -> Result<()> {
    let started = Instant::now();
    let temporary;
    let folder = match args.home {
        Some(folder) => folder,
        None => {
            temporary = tempfile::Builder::new().prefix("weft-dev-").tempdir()?;
            temporary.path().join("node")
        }
    };
    let home = Home::new(&folder);
    let member = make_validator(&home, "dev")?;
    home.write_key(KeyRole::Faucet, &dev_key(0)?.to_bytes())?;
    let config = NodeConfig { api_listen: args.api, ..NodeConfig::loopback("dev") };
    let mut genesis = dev_genesis("weft-dev", vec![member])?;
    genesis.parameters.upgrade_notice_heights = DEV_NOTICE;
    home.write(&config, &genesis)?;
    let mut node = run::start(&home, run::Options::default()).await?;
    node.introduced().await?;

    let api = &node.running.api;
    println!("Weft development chain, ready after {:.1} s", started.elapsed().as_secs_f64());
    println!("  API       {api}");
    println!("  network   {}", home.path("network.toml").display());
    println!("  faucet    curl -X POST {api}/v1/faucet/0x<address>");
    println!("  accounts  (everybody knows these keys; {} WEFT each)", PREFUNDED / chain::NANO_PER_WEFT);
    for number in 0..DEV_ACCOUNTS {
        let key = dev_key(number)?;
        println!("    {}  {}", key.address(), hex::encode(key.to_bytes()));
    }
    println!("Try:");
    println!(
        "  export WEFT_NETWORK={} WEFT_KEY={}",
        home.path("network.toml").display(),
        hex::encode(dev_key(1)?.to_bytes())
    );
    println!("  blob submit README.md --namespace c0ffee --wait");
    println!("Ctrl-C stops it.");
    node.until(async {
        if let Err(error) = stop_asked(args.until_stdin_closes).await {
            tracing::error!(%error, "cannot listen for signals");
        }
    })
    .await
}
