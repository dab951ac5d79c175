//! The validator set as stake changes it: one joins, one leaves, and the chain goes on.

use std::{process::Command, time::Duration};

use blob_api::SubmitOptions;
use chain::{Action, NANO_PER_WEFT};
use da_node::{devnet::dev_key, home::KeyRole};
use tendermint::account;

use crate::support::{Network, eventually, light_block};

/// A loaded machine takes its time for a few blocks.
const LIMIT: Duration = Duration::from_secs(120);

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_validator_bonds_and_signs_and_one_unbonds_and_leaves() {
    let mut network = Network::start().await;
    for node in [0, 4] {
        let operator = network.devnet.nodes[node].home.account(KeyRole::Operator).unwrap().address();
        transfer(&network, Action::Transfer { to: operator, amount: 100 * NANO_PER_WEFT }).await;
    }
    let [leaver, newcomer] = [0, 4].map(|node| address(&network, node));
    network.devnet.nodes[4].process.stop().await.unwrap();
    let home = network.devnet.nodes[4].home.clone();
    let mut config = home.config().unwrap();
    config.validator = true;
    home.write(&config, &home.genesis().unwrap()).unwrap();
    network.devnet.restart(4).await.unwrap();
    let text = run(&network, 4, "bond", "20").await;
    assert!(text.contains("it votes from block"), "{text}");

    // Of 60 votes 20 are the newcomer's, and 40 are not more than two thirds: no block without it.
    let (validators, signers) = signed_by(&network, newcomer).await;
    assert_eq!((validators.len(), validators.contains(&newcomer)), (5, true));
    assert!(signers.contains(&newcomer));

    let text = run(&network, 0, "unbond", "10").await;
    assert!(text.contains("have no vote"), "{text}");
    eventually(LIMIT, "a set without the one that unbonded", async || {
        transfer(&network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
        let tip = network.height().await;
        let block = light_block(network.api(4), tip).await;
        let known = |id| block.validators.validator(id).is_some();
        (!known(leaver) && known(newcomer)).then_some(())
    })
    .await;
    network.devnet.nodes[0].process.stop().await.unwrap();
    for _ in 0..3 {
        transfer(&network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
    }
    // From the checkpoint, through both changes.
    let latest = network.client(4).latest().await.unwrap();
    assert_eq!(latest.light_block().validators.validators().len(), 4);
    network.stop().await;
}

/// Pays from a development account and waits for the block.
async fn transfer(network: &Network, action: Action) {
    let client = network.client(1);
    let key = dev_key(1).unwrap();
    let prepared = client.prepare_action(&key, action, SubmitOptions::default()).await.unwrap();
    let id = client.send(&prepared, None).await.unwrap();
    assert!(client.wait(id, |_| ()).await.unwrap().status.is_settled());
}

fn address(network: &Network, node: usize) -> account::Id {
    let seed = network.devnet.nodes[node].home.key(KeyRole::Consensus).unwrap();
    let key = ed25519_consensus::SigningKey::from(seed).verification_key().to_bytes();
    account::Id::from(tendermint::PublicKey::from_raw_ed25519(&key).unwrap())
}

/// Runs `da-node bond` or `unbond` as the operator does.
async fn run(network: &Network, node: usize, command: &str, weft: &str) -> String {
    let home = network.devnet.nodes[node].home.path("").display().to_string();
    let network_toml = network.devnet.nodes[node].home.path("network.toml");
    eventually(LIMIT, "network.toml", async || network_toml.exists().then_some(())).await;
    let mut program = Command::new(env!("CARGO_BIN_EXE_da-node"));
    program.args([command, "--home", &home, "--weft", weft]);
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// The validators and the signers of the first block seen that `validator` signed.
async fn signed_by(network: &Network, validator: account::Id) -> (Vec<account::Id>, Vec<account::Id>) {
    eventually(LIMIT, "a block that the newcomer signed", async || {
        transfer(network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
        let block = light_block(network.api(1), network.height().await).await;
        let signers: Vec<_> =
            block.signed_header.commit.signatures.iter().filter_map(|s| s.validator_address()).collect();
        let validators = block.validators.validators().iter().map(|info| info.address).collect();
        signers.contains(&validator).then_some((validators, signers))
    })
    .await
}
