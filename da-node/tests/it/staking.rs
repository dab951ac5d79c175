//! The validator set as stake changes it: one joins, one leaves, the newcomer leaves, too, and has its stake back.

use std::{fs, process::Command, time::Duration};

use blob_api::{Client, SubmitOptions};
use chain::{Action, Address, Amount, NANO_PER_WEFT, NetworkConfig, StateKey};
use da_node::{devnet::dev_key, home::KeyRole};
use tendermint::account;

use crate::support::{Network, eventually, light_block};

/// A loaded machine takes its time for a few blocks.
const LIMIT: Duration = Duration::from_secs(120);

/// How long stake takes to unbond here.
const UNBONDING_SECONDS: u64 = 15;

/// What the newcomer bonds.
const STAKE: Amount = 20 * NANO_PER_WEFT;

#[tokio::test(flavor = "multi_thread")]
async fn a_fifth_validator_bonds_and_signs_and_unbonds_and_has_its_stake_back() {
    let mut network = Network::start_with(|genesis| {
        genesis.parameters.unbonding_seconds = UNBONDING_SECONDS;
        genesis.parameters.trusting_period_seconds = UNBONDING_SECONDS - 1;
    })
    .await;
    let operators = [0, 4].map(|node| operator(&network, node));
    for to in operators {
        act(&network, Action::Transfer { to, amount: 100 * NANO_PER_WEFT }).await;
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
    without(&network, leaver).await;
    network.devnet.nodes[0].process.stop().await.unwrap();
    for _ in 0..3 {
        act(&network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
    }

    let poor = balance(&network, operators[1]).await;
    // It paid for its transaction, and has earned fees since; neither is much.
    assert!(poor.abs_diff(100 * NANO_PER_WEFT - STAKE) < NANO_PER_WEFT, "{poor}");
    run(&network, 4, "unbond", "20").await;
    without(&network, newcomer).await;
    eventually(LIMIT, "the stake to return", async || {
        act(&network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
        // What it earned since is not much.
        (balance(&network, operators[1]).await > poor + STAKE - NANO_PER_WEFT).then_some(())
    })
    .await;
    let key = StateKey::Validator(operators[1]);
    assert_eq!(client(&network, 1).proven(key).await.unwrap().value(), None);
    // From the checkpoint, through all changes.
    let latest = client(&network, 4).latest().await.unwrap();
    assert_eq!(latest.light_block().validators.validators().len(), 3);
    network.stop().await;
}

/// A reader that verifies from the checkpoint, however long the test takes.
fn client(network: &Network, node: usize) -> Client {
    let config = NetworkConfig { trusting_period_seconds: 3_600, ..network.devnet.network().unwrap() };
    Client::new(&[network.api(node).to_owned()], Some(config)).unwrap()
}

async fn balance(network: &Network, account: Address) -> Amount {
    client(network, 1).proven(StateKey::Account(account)).await.unwrap().number().unwrap()
}

/// Acts as a development account and waits for the block.
async fn act(network: &Network, action: Action) {
    let client = client(network, 1);
    let key = dev_key(1).unwrap();
    let prepared = client.prepare_action(&key, action, SubmitOptions::default()).await.unwrap();
    let id = client.send(&prepared, None).await.unwrap();
    assert!(client.wait(id, |_| ()).await.unwrap().status.is_settled());
}

fn operator(network: &Network, node: usize) -> Address {
    network.devnet.nodes[node].home.account(KeyRole::Operator).unwrap().address()
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
    let mut config = blob_api::read_network(&network_toml).unwrap();
    config.trusting_period_seconds = 3_600;
    fs::write(&network_toml, toml::to_string(&config).unwrap()).unwrap();
    let mut program = Command::new(env!("CARGO_BIN_EXE_da-node"));
    program.args([command, "--home", &home, "--weft", weft]);
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits for a block that is not for `validator` to sign.
async fn without(network: &Network, validator: account::Id) {
    eventually(LIMIT, "a set without the one that unbonded", async || {
        act(network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
        let block = light_block(network.api(4), network.height().await).await;
        block.validators.validator(validator).is_none().then_some(())
    })
    .await;
}

/// The validators and the signers of the first block seen that `validator` signed.
async fn signed_by(network: &Network, validator: account::Id) -> (Vec<account::Id>, Vec<account::Id>) {
    eventually(LIMIT, "a block that the newcomer signed", async || {
        act(network, Action::Transfer { to: dev_key(2).unwrap().address(), amount: 1 }).await;
        let block = light_block(network.api(1), network.height().await).await;
        let signers: Vec<_> =
            block.signed_header.commit.signatures.iter().filter_map(|s| s.validator_address()).collect();
        let validators = block.validators.validators().iter().map(|info| info.address).collect();
        signers.contains(&validator).then_some((validators, signers))
    })
    .await
}
