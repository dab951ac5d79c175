//! The upgrade drill: old and new builds side by side, before and after the height at which the rules change.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use blob_api::{Client, ClientError, SubmitOptions};
use chain::{GenesisAccount, Height, NANO_PER_WEFT, UnknownRules};
use da_node::{
    devnet::{dev_key, height_of},
    home::KeyRole,
    run::consensus_address,
};
use light_client::{StateReport, Status};

use crate::{
    operating::{da_node, text},
    support::{Network, blob, bytes, eventually, light_block, namespace},
};

/// A loaded machine takes its time for a few blocks.
const LIMIT: Duration = Duration::from_secs(120);

/// Of 16 votes the new builds have 15: more than 5/6 with the last of them, and more than two thirds without one.
const POWERS: [u32; 4] = [5, 5, 5, 1];

/// The validator that is not changed in time, and the full node.
const OLD: [usize; 2] = [3, 4];

/// What an old build ends with.
const OUTDATED: i32 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn old_and_new_builds_run_side_by_side_until_the_rules_change() {
    let mut network = Network::start_with(|genesis| {
        genesis.parameters.idle_interval_ms = 1_000;
        genesis.parameters.upgrade_notice_heights = 3;
        for (validator, power) in genesis.validators.iter_mut().zip(POWERS) {
            validator.power = power;
            let account = GenesisAccount { address: validator.operator, balance: NANO_PER_WEFT };
            genesis.accounts.push(account);
        }
    })
    .await;
    network.devnet.start_lights(1).await.unwrap();
    for node in 0..3 {
        network.devnet.nodes[node].process.stop().await.unwrap();
        network.devnet.restart_as(node, &next_rules()).await.unwrap();
        let height = network.height().await;
        network.devnet.wait_for_height(height + 1).await.unwrap();
    }

    let at = network.height().await + 14;
    let refused = da_node(&["signal", "--home", &home(&network, 3), "--version", "2", "--height", "9999"]);
    assert!(text(&refused.stderr).contains("this build knows rules up to version 1"), "{refused:?}");
    let signals = (0..3).map(|node| signal(&network, node, at));
    for signalled in futures::future::join_all(signals).await {
        assert!(signalled.status.success(), "{}", text(&signalled.stderr));
    }
    eventually(LIMIT, "all nodes to know of the upgrade", async || {
        for node in 0..5 {
            let upgrade = status(&network, node).await.rules.upgrade?;
            assert_eq!((upgrade.version, upgrade.height), (2, at));
        }
        Some(())
    })
    .await;
    let rules = [0, 3].map(async |node| status(&network, node).await.rules);
    let [new, old] = futures::future::join_all(rules).await.try_into().unwrap();
    assert_eq!([(new.version, new.newest_known), (old.version, old.newest_known)], [(1, 2), (1, 1)]);
    let shown = next_build(&["signal", "--home", &home(&network, 0)]).await;
    assert!(
        text(&shown.stdout).contains(&format!("version 2 from height {at} on is agreed on")),
        "{shown:?}"
    );
    let late = signal(&network, 0, at + 5).await;
    assert!(text(&late.stderr).contains("is agreed on and cannot be taken back"), "{late:?}");
    let examined = da_node(&["doctor", "--home", &home(&network, 3), "--ntp", "none"]);
    assert_eq!(examined.status.code(), Some(1));
    let found = text(&examined.stdout);
    assert!(found.contains("FAIL  rules") && found.contains(&format!("before height {at}")), "{found}");
    let metrics = reqwest::get(format!("{}/metrics", network.api(3))).await.unwrap().text().await.unwrap();
    for shown in ["weft_node_upgrade_unknown 1".to_owned(), format!("weft_node_upgrade_height_blocks {at}")] {
        assert!(metrics.contains(&shown), "{shown}");
    }

    let unknown = UnknownRules { version: 2, height: at, newest: 1 };
    for node in OLD {
        let ended = tokio::time::timeout(LIMIT, network.devnet.nodes[node].process.ended()).await;
        assert_eq!(ended.expect("it ends").unwrap().code(), Some(OUTDATED));
        let name = &network.devnet.nodes[node].process.name;
        let log = fs::read_to_string(network.devnet.log(name)).unwrap();
        assert!(
            log.contains(&unknown.to_string()) && log.contains("install a newer build until then"),
            "{log}"
        );
        let again = da_node(&["run", "--home", &home(&network, node)]);
        assert_eq!(again.status.code(), Some(OUTDATED));
        assert!(text(&again.stderr).contains(&unknown.to_string()), "{again:?}");
    }

    let knowing = knowing(&network);
    let blobs = vec![blob(1, bytes(1, 200_000), &[])];
    eventually(LIMIT, "the new rules", async || {
        (height_of(network.api(0)).await.unwrap() >= at).then_some(())
    })
    .await;
    let key = dev_key(1).unwrap();
    let receipt = knowing.submit_and_wait(&key, blobs, SubmitOptions::default());
    let receipt = tokio::time::timeout(LIMIT, receipt).await.expect("the chain goes on").unwrap();
    let height = receipt.header.height();
    assert!(height >= at);
    assert_eq!(receipt.header.header().version.app, 2);
    let read = knowing.read(&knowing.list(height, namespace(1)).await.unwrap()).await.unwrap();
    assert_eq!(read[0].bytes()[..], bytes(1, 200_000));
    let last_of_old = light_block(network.api(0), at - 1).await;
    assert_eq!(last_of_old.signed_header.header.version.app, 1);
    assert_eq!(light_block(network.api(0), at).await.signed_header.header.version.app, 2);
    // A reader of the old build takes what is of its rules, and nothing else.
    let old_reader = network.client(0);
    old_reader.header(at - 1).await.unwrap();
    let refused = old_reader.header(at).await;
    assert!(matches!(refused, Err(ClientError::UnknownRules(found)) if found == unknown), "{refused:?}");
    let light = outdated(&network).await;
    assert_eq!(light.outdated.map(|found| (found.version, found.newest)), Some((2, 1)));
    for report in &light.heights {
        assert!(report.height < at && !matches!(report.state, StateReport::Unavailable { .. }), "{report:?}");
    }

    for node in OLD {
        network.devnet.restart_as(node, &next_rules()).await.unwrap();
    }
    let seed = network.devnet.nodes[3].home.key(KeyRole::Consensus).unwrap();
    let late_comer = consensus_address(&seed).unwrap();
    eventually(LIMIT, "a block that the late validator signed", async || {
        let block = light_block(network.api(4), height_of(network.api(4)).await.ok()?).await;
        let mut signers = block.signed_header.commit.signatures.iter().filter_map(|s| s.validator_address());
        (block.height() > height && signers.any(|signer| signer == late_comer)).then_some(())
    })
    .await;
    network.stop().await;
}

/// The build that knows version 2.
fn next_rules() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_da-node")).with_file_name("examples").join("next-rules");
    assert!(program.exists(), "{} is not built: cargo build --examples", program.display());
    program
}

async fn next_build(args: &[&str]) -> Output {
    let mut program = Command::new(next_rules());
    program.args(args).env("RUST_LOG", "error");
    tokio::task::spawn_blocking(move || program.output()).await.unwrap().unwrap()
}

fn home(network: &Network, node: usize) -> String {
    network.devnet.nodes[node].home.path("").display().to_string()
}

/// Signals as the operator of a node does.
async fn signal(network: &Network, node: usize, height: Height) -> Output {
    let network_toml = network.devnet.nodes[node].home.path("network.toml");
    eventually(LIMIT, "network.toml", async || network_toml.exists().then_some(())).await;
    next_build(&["signal", "--home", &home(network, node), "--version", "2", "--height", &height.to_string()])
        .await
}

async fn status(network: &Network, node: usize) -> blob_api::StatusBody {
    Client::new(&[network.api(node).to_owned()], None).unwrap().status().await.unwrap()
}

/// A reader that knows the new rules.
fn knowing(network: &Network) -> Client {
    let urls = [network.api(0).to_owned(), network.api(1).to_owned()];
    Client::knowing(2, &urls, Some(network.devnet.network().unwrap())).unwrap()
}

/// What the light client of the old build says once it stopped.
async fn outdated(network: &Network) -> Status {
    let url = &network.devnet.lights[0].status;
    eventually(LIMIT, "the light client to stop", async || {
        let status: Status = reqwest::get(url).await.unwrap().json().await.unwrap();
        status.outdated.is_some().then_some(status)
    })
    .await
}
