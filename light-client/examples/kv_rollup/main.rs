//! A sovereign rollup in a hundred lines: a key-value ledger whose only input is a namespace of Weft.
//!
//! ```sh
//! cargo run --package light-client --example kv_rollup -- network.toml kv-home c0ffee
//! echo 'set hello world' > blob && blob submit blob --namespace c0ffee --wait
//! ```
//!
//! It trusts nobody: headers are verified from the checkpoint on, each block is sampled, and the
//! namespace's blobs are proven to be all there are. Set `WINDOW` to a number of seconds to wait for
//! fraud proofs, too.

mod ledger;

use std::time::Duration;

use anyhow::Context as _;
use erasure::Namespace;
use ledger::Ledger;
use light_client::{Args, Client, Config};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [network, home, namespace] = &args[..] else {
        anyhow::bail!("usage: kv_rollup NETWORK.TOML HOME NAMESPACE");
    };
    let network: chain::NetworkConfig = toml::from_str(&std::fs::read_to_string(network)?)?;
    let namespace: Namespace = namespace.parse().context("NAMESPACE")?;
    let window = std::env::var("WINDOW").map_or(Ok(0), |seconds| seconds.parse())?;

    // The ledger is derived anew on each start: the client keeps what it needs for that.
    let from = network.checkpoint.height;
    let config = Config { catch_up: u64::MAX, keep: u64::MAX, ..Config::default() };
    let (client, _) = Client::start(Args { network, home: home.into(), config }).await?;
    let mut follow = client.follow(namespace, from).unchallenged_for(Duration::from_secs(window));
    let mut ledger = Ledger::default();
    loop {
        let block = follow.next().await?;
        ledger.apply(block.height(), block.blobs().iter().map(|blob| &blob.bytes()[..]));
        if !block.blobs().is_empty() {
            let root = hex::encode(ledger.root());
            println!("height {}: {} keys, root {root}", ledger.height, ledger.entries.len());
        }
    }
}
