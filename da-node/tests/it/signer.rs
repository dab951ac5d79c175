//! A validator whose consensus key only a process of the test's has.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use blob_api::SubmitOptions;
use chain::Action;
use da_node::{
    devnet::{dev_key, height_of},
    home::KeyRole,
    run::address_of,
};
use serde_json::Value;
use tempfile::TempDir;
use tendermint::account;

use crate::support::{Network, eventually, light_block};

/// A loaded machine takes its time for a few blocks.
const LIMIT: Duration = Duration::from_secs(90);

/// The validator.
const NODE: usize = 0;

/// `examples/signer.rs` as a process that ends with this value.
#[derive(Debug)]
struct Signer(Child);

impl Signer {
    fn start(folder: &Path, chain_id: &str) -> Self {
        let program = Path::new(env!("CARGO_BIN_EXE_da-node")).with_file_name("examples").join("signer");
        assert!(program.exists(), "build it: cargo build --package da-node --example signer");
        let path = |name: &str| folder.join(name).display().to_string();
        let log = File::options().create(true).append(true).open(path("signer.log")).unwrap();
        let mut command = Command::new(program);
        command.args([&path("consensus.key"), &path("signed"), chain_id, &path("socket")]);
        command.stdin(Stdio::piped()).stdout(log.try_clone().unwrap()).stderr(log);
        Self(command.spawn().unwrap())
    }
}

impl Drop for Signer {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_validators_key_lives_in_a_signer_that_may_come_and_go() {
    let mut network = Network::start().await;
    let (home, api) = (network.devnet.nodes[NODE].home.clone(), network.api(4).to_owned());
    network.devnet.nodes[NODE].process.stop().await.unwrap();
    let genesis = home.genesis().unwrap();
    let validator = address_of(&home.consensus_key().unwrap()).unwrap();

    let folder = TempDir::new().unwrap();
    let key = folder.path().join("consensus.key");
    fs::copy(home.path("keys/consensus.key"), &key).unwrap();
    let mut config = home.config().unwrap();
    let address = format!("unix://{}", folder.path().join("socket").display());
    config.signer_listen = Some(address.parse().unwrap());
    home.write(&config, &genesis).unwrap();
    let refused = da_node(&["run", "--home", &home.path("").display().to_string()]).await;
    assert!(refused.contains("a key in two places"), "{refused}");
    fs::remove_file(home.path("keys/consensus.key")).unwrap();

    // The node waits for a signer that tells the key.
    let signer = Signer::start(folder.path(), &genesis.chain_id);
    network.devnet.restart(NODE).await.unwrap();
    assert!(!home.has_key(KeyRole::Consensus));
    assert_eq!(address_of(&home.signer_key().unwrap().unwrap()).unwrap(), validator);
    signs(&network, validator).await;
    proposes(&network, validator).await;
    assert_eq!(doctor(&network, "signer").await, "ok");

    drop(signer);
    let gone = height_of(&api).await.unwrap();
    eventually(LIMIT, "blocks without the signer", async || {
        act(&network).await;
        (height_of(network.api(NODE)).await.unwrap() > gone + 4).then_some(())
    })
    .await;
    let latest = light_block(&api, height_of(&api).await.unwrap()).await;
    assert!(!signers(&latest).contains(&validator), "signed without its key");
    assert_eq!(doctor(&network, "signer").await, "fail");

    // It remembers what it signed, and the node what it had signed.
    let signer = Signer::start(folder.path(), &genesis.chain_id);
    signs(&network, validator).await;
    let log = fs::read_to_string(folder.path().join("signer.log")).unwrap();
    let places: Vec<Vec<u64>> =
        log.lines().filter_map(|line| line.split(' ').map(|word| word.parse().ok()).collect()).collect();
    assert!(places.is_sorted(), "signed out of order: {places:?}");
    assert!(places.iter().any(|place| place[2] == 1), "no proposal was signed");

    // A start with the signer away: the key is known.
    drop(signer);
    network.devnet.nodes[NODE].process.kill().await.unwrap();
    network.devnet.restart(NODE).await.unwrap();
    let _signer = Signer::start(folder.path(), &genesis.chain_id);
    signs(&network, validator).await;
    network.stop().await;
}

/// A transaction, so that there is a block.
async fn act(network: &Network) {
    let (client, to) = (network.client(1), dev_key(2).unwrap().address());
    let action = Action::Transfer { to, amount: 1 };
    let prepared =
        client.prepare_action(&dev_key(1).unwrap(), action, SubmitOptions::default()).await.unwrap();
    let id = client.send(&prepared, None).await.unwrap();
    assert!(client.wait(id, |_| ()).await.unwrap().status.is_settled());
}

fn signers(block: &chain::LightBlock) -> Vec<account::Id> {
    block.signed_header.commit.signatures.iter().filter_map(|s| s.validator_address()).collect()
}

/// Waits for a block that comes from now on and that `validator` signed.
async fn signs(network: &Network, validator: account::Id) {
    let start = network.height().await;
    eventually(LIMIT, "a block with the validator's signature", async || {
        act(network).await;
        let height = network.height().await;
        let signed =
            height > start && signers(&light_block(network.api(4), height).await).contains(&validator);
        signed.then_some(())
    })
    .await;
}

/// Waits for a block that `validator` proposed.
async fn proposes(network: &Network, validator: account::Id) {
    eventually(LIMIT, "a block of the validator", async || {
        act(network).await;
        let header = light_block(network.api(4), network.height().await).await.signed_header.header;
        (header.proposer_address == validator).then_some(())
    })
    .await;
}

/// What `da-node doctor` says of a check.
async fn doctor(network: &Network, check: &str) -> String {
    let home = network.devnet.nodes[NODE].home.path("").display().to_string();
    let text = da_node(&["doctor", "--home", &home, "--ntp", "none", "--json"]).await;
    let findings: Vec<Value> = serde_json::from_str(&text).unwrap();
    let finding = findings.iter().find(|finding| finding["check"] == check).unwrap();
    finding["grade"].as_str().unwrap().to_owned()
}

/// What a run of the program wrote: its result, or why there is none.
async fn da_node(arguments: &[&str]) -> String {
    let mut program = Command::new(PathBuf::from(env!("CARGO_BIN_EXE_da-node")));
    program.args(arguments).env("RUST_LOG", "off");
    let output = tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap();
    String::from_utf8(if output.stdout.is_empty() { output.stderr } else { output.stdout }).unwrap()
}
