//! `blob account`

use anyhow::Result;
use chain::Address;

use super::{End, Global, keys::KeyArgs, output};

/// What an account owns
///
/// And what its pooled transactions may cost. This is the node's word.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The account. Default: that of the key
    address: Option<Address>,
    /// First ask the faucet for some WEFT, on development networks
    #[arg(long)]
    faucet: bool,
    #[command(flatten)]
    key: KeyArgs,
}

pub(super) async fn run(global: &Global, args: Args) -> Result<End> {
    let client = global.client()?;
    let address = match args.address {
        Some(address) => address,
        None => args.key.load()?.address(),
    };
    if args.faucet {
        let id = client.faucet(address).await?;
        client.wait(id, |_| ()).await?;
    }
    let account = client.account(address).await?;
    if global.json {
        output::print_json(&account)?;
        return Ok(End::Done);
    }
    output::print_fields(&[
        ("address", address.to_string()),
        ("balance", output::weft(account.balance)),
        ("pending", output::weft(account.pending)),
    ])?;
    Ok(End::Done)
}
