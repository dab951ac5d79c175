//! `da-node init`.

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use chain::Genesis;

use crate::{
    devnet::{dev_genesis, make_validator},
    home::{Home, NodeConfig},
};

/// Without --genesis, a new chain with this node as its only validator, and its operator's account funded. With
/// --genesis, a node of that chain: a validator if the genesis names its key, else a full node.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder to make
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// The new chain's id: letters, digits, '-', '_', '.'
    #[arg(long, value_name = "ID", default_value = "weft-local", conflicts_with = "genesis")]
    chain_id: String,
    /// genesis.json of the chain to join
    #[arg(long, value_name = "FILE")]
    genesis: Option<PathBuf>,
    /// The node's name in logs
    #[arg(long, value_name = "NAME", default_value = "weft")]
    name: String,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let home = Home::new(&args.home);
    if home.path("node.toml").exists() {
        bail!("{} holds a node already; name another folder", args.home.display());
    }
    let joined = args
        .genesis
        .as_ref()
        .map(|file| {
            let text =
                std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            Genesis::from_json(&text).with_context(|| format!("in {}", file.display()))
        })
        .transpose()?;
    let member = make_validator(&home, &args.name)?;
    let joins = joined.is_some();
    let genesis = match joined {
        Some(genesis) => genesis,
        None => {
            let mut genesis = dev_genesis(&args.chain_id, vec![member.clone()])?;
            genesis.accounts.truncate(1);
            genesis.accounts[0].address = member.operator;
            genesis
        }
    };
    let validator = genesis.validators.iter().any(|known| known.public_key == member.public_key);
    let config = NodeConfig { name: args.name.clone(), validator, ..NodeConfig::default() };
    home.write(&config, &genesis)?;

    println!("made {}", args.home.display());
    println!("  chain          {} ({})", genesis.chain_id, hex::encode(genesis.hash()));
    println!("  consensus key  {}", hex::encode(member.public_key));
    println!("  operator       {}", member.operator);
    if joins && !validator {
        println!("This node follows without a vote: genesis.json does not name its consensus key.");
        println!("Name peers in {} (engine_peers and data_peers), then:", home.path("node.toml").display());
    }
    println!("  da-node run --home {}", args.home.display());
    Ok(())
}
