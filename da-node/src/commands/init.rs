//! `da-node init`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use chain::Genesis;

use crate::{
    devnet::{dev_genesis, make_validator},
    home::{Home, NodeConfig},
    hosts,
};

/// Its arguments.
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
    /// List of machines, one `NAME ADDRESS [POWER]` a line: a folder for each in --home, all validators
    #[arg(long, value_name = "FILE", conflicts_with_all = ["genesis", "name"])]
    validators: Option<PathBuf>,
}

pub(super) fn run(args: &Args) -> Result<()> {
    if let Some(list) = &args.validators {
        return make_folders(args, list);
    }
    let home = Home::new(&args.home);
    if home.path("node.toml").exists() {
        bail!("{} holds a node already; name another folder", args.home.display());
    }
    let joined = args
        .genesis
        .as_ref()
        .map(|file| Genesis::from_json(&read(file)?).with_context(|| format!("in {}", file.display())))
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

fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

fn make_folders(args: &Args, list: &Path) -> Result<()> {
    let hosts = hosts::parse(&read(list)?).with_context(|| format!("in {}", list.display()))?;
    let genesis = hosts::make(&args.home, &args.chain_id, &hosts)?;
    println!("chain {} ({}), {} validators", genesis.chain_id, hex::encode(genesis.hash()), hosts.len());
    for host in &hosts {
        println!("  {:<24} for {}", args.home.join(&host.name).display(), host.address);
    }
    println!("Each folder holds its node's secret keys. On every machine, as root:");
    println!("  copy its folder to /var/lib/weft and `da-node` to /usr/local/bin");
    println!("  useradd --system weft; chown -R weft:weft /var/lib/weft; chmod 700 /var/lib/weft");
    println!("  mv /var/lib/weft/weft.service /etc/systemd/system/");
    println!("  sudo -u weft da-node doctor --home /var/lib/weft");
    println!("  systemctl enable --now weft");
    println!("Open TCP 26656 to the other machines, TCP and UDP 26660 to everybody.");
    Ok(())
}
