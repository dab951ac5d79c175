//! `da-node keys`.

use std::path::PathBuf;

use anyhow::Result;
use serde_json::json;

use crate::{
    home::{Home, KeyRole},
    run::address_of,
};

/// Its arguments.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// Write the result as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let home = Home::new(&args.home);
    let key = home.consensus_key()?;
    let (public, address) = (hex::encode(key), address_of(&key)?.to_string());
    let peer = consensus::peer_id(home.key(KeyRole::Network)?)?;
    let operator = home.account(KeyRole::Operator)?.address().to_string();
    if args.json {
        let keys = json!({
            "consensus_public_key": public, "consensus_address": address, "peer_id": peer, "operator": operator,
        });
        println!("{keys:#}");
    } else {
        println!("consensus key      {public}");
        println!("consensus address  {address}");
        println!("peer id            {peer}");
        println!("operator account   {operator}");
    }
    Ok(())
}
