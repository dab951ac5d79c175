//! `da-node signal`.

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use blob_api::{Client, VerifiedState};
use chain::{Action, Height, Roster, Signals, StateKey, Upgrade};

use super::stake::Operator;

/// Pause between two looks for the block that shows what was signalled.
const LOOK: Duration = Duration::from_millis(200);

/// What to signal; nothing, to show what others did.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The node's folder, with its keys and the network.toml that it writes
    #[arg(long, value_name = "DIR", env = "WEFT_HOME")]
    home: PathBuf,
    /// Version of the rules; without it, nothing is signalled
    #[arg(long, value_name = "VERSION", requires = "height")]
    version: Option<u64>,
    /// First height that shall follow them
    #[arg(long, value_name = "HEIGHT", requires = "version")]
    height: Option<Height>,
    /// Take back what was signalled and is not agreed on yet
    #[arg(long, conflicts_with_all = ["version", "height"])]
    withdraw: bool,
    /// API to ask, as http://host:port. Default: that of the running node of the folder
    #[arg(long, value_name = "URL")]
    node: Option<String>,
}

pub(super) async fn run(args: Args, newest_rules: u64) -> Result<()> {
    let operator = Operator::open(&args.home, args.node.as_deref())?;
    let signal = match args.version.zip(args.height) {
        Some((version, height)) => {
            ensure!(
                version <= newest_rules,
                "--version {version}: this build knows rules up to version {newest_rules}; signal with the build that \
                 your nodes will run then"
            );
            Some(Some(Upgrade { version, height }))
        }
        None => args.withdraw.then_some(None),
    };
    let mut since = 0;
    if let Some(signal) = signal {
        since = operator.submit(Action::Signal(signal)).await?;
        match signal {
            Some(upgrade) => println!("signalled {upgrade}, in block {since}"),
            None => println!("took back what was signalled, in block {since}"),
        }
    }
    show(&operator.client, since).await
}

/// What holds, what is agreed on and what is signalled, after the block at `since` or later.
async fn show(client: &Client, since: Height) -> Result<()> {
    let upgrade = after(client, since, StateKey::Upgrade).await?;
    let next = upgrade.header().height();
    let upgrade = upgrade.value().map_or(Ok(Upgrade::GENESIS), Upgrade::decode)?;
    println!("version {} holds at height {next}", upgrade.version_at(next));
    if next < upgrade.height {
        println!("{upgrade} is agreed on");
        return Ok(());
    }
    let signals = after(client, since, StateKey::Signals).await?;
    let signals = signals.value().map(Signals::decode).transpose()?.unwrap_or_default();
    let roster = after(client, since, StateKey::ValidatorsNext).await?;
    let roster = Roster::decode(roster.value().unwrap_or_default())?;
    let total = roster.power();
    // In 128 bits, as the ledger counts.
    let needed = (u128::from(total) * 5).div_ceil(6);
    println!("signals, of power {total}; {needed} for one version and height are an agreement:");
    for (upgrade, power) in signals.powers(&roster) {
        println!("  {power} for {upgrade}");
        for member in &roster.0 {
            if signals.0.get(&member.operator) == Some(&upgrade) {
                println!("    {} by {}", member.power, member.operator);
            }
        }
    }
    Ok(())
}

/// A value of the state after the block at `since`, or a later one.
async fn after(client: &Client, since: Height, key: StateKey) -> Result<VerifiedState> {
    loop {
        let state = client.proven(key).await?;
        if state.header().height() > since {
            return Ok(state);
        }
        tokio::time::sleep(LOOK).await;
    }
}
