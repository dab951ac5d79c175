//! Nodes that start from a snapshot while the chain goes on.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use blob_api::{Client, ClientError, Receipt, SubmitOptions};
use chain::{Checkpoint, Genesis, NetworkConfig, StateKey};
use da_node::{
    devnet::{dev_key, height_of},
    home::{Home, KeyRole},
};

use crate::{
    operating::{da_node, text},
    support::{Network, blob, bytes, eventually, light_block, namespace},
};

/// A loaded machine takes its time.
const LIMIT: Duration = Duration::from_secs(60);

/// Runs `da-node snapshot` on a folder; what it printed, or what it said when it failed.
pub(crate) async fn snapshot(home: &Home, arguments: &[&str]) -> Result<String, String> {
    let folder = home.path("").display().to_string();
    let arguments: Vec<_> =
        ["snapshot"].iter().chain(arguments).chain(&["--home", &folder]).map(ToString::to_string).collect();
    let run = move || da_node(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    let output = tokio::task::spawn_blocking(run).await.unwrap();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// What to trust: the header at `height` as a node has it.
pub(crate) async fn trust(api: &str, height: u64) -> String {
    let hash = light_block(api, height).await.signed_header.header.hash();
    format!("{height}:{}", hash.to_string().to_lowercase())
}

/// Two blocks a second, whether there is work or not.
fn fast(genesis: &mut Genesis) {
    genesis.parameters.block_interval_ms = 500;
    genesis.parameters.idle_interval_ms = 500;
}

/// Submits a blob to a node that has all blocks.
async fn submit(network: &Network, node: usize, seed: u64) -> Receipt {
    let blobs = vec![blob(seed as u8, bytes(seed, 20_000), &[])];
    let client = network.client(node);
    client.submit_and_wait(&dev_key(1).unwrap(), blobs, SubmitOptions::default()).await.unwrap()
}

/// A client that asks the node `at` only and trusts its own start.
fn client(network: &Network, at: usize, checkpoint: Checkpoint) -> Client {
    let config = NetworkConfig { checkpoint, ..network.devnet.network().unwrap() };
    Client::new(&[network.api(at).to_owned()], Some(config)).unwrap()
}

/// The node reads the blob itself.
async fn reads(client: &Client, receipt: &Receipt) {
    let entry = &receipt.entries[0];
    let found = eventually(LIMIT, "a new blob", async || match client.get(entry.commitment).await {
        Ok(found) => Some(found),
        Err(ClientError::Unreachable { .. }) => None,
        Err(error) => panic!("{error}"),
    })
    .await;
    assert_eq!((found.height(), found.entry()), (receipt.header.height(), entry));
}

async fn reaches(network: &Network, at: usize, height: u64) {
    eventually(LIMIT, &format!("node {at} to reach {height}"), async || {
        height_of(network.api(at)).await.is_ok_and(|own| own >= height).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_start_from_a_snapshot_follow_and_say_pruned_of_what_was_before() {
    let mut network = Network::start_with(fast).await;
    let mut old = Vec::new();
    for seed in 1..4 {
        old.push(submit(&network, 0, seed).await);
    }
    // A snapshot is of the state before the latest block.
    reaches(&network, 4, old[2].header.height() + 1).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("state.snapshot").display().to_string();
    // From a file, with what its maker printed. The chain goes on meanwhile.
    let said = snapshot(&network.devnet.nodes[4].home, &["save", "--out", &file]).await.unwrap();
    let trusted = said.split_whitespace().last().unwrap().to_owned();
    let (next, hash) = trusted.split_once(':').unwrap();
    let next: u64 = next.parse().unwrap();
    assert_eq!(trusted, trust(network.api(0), next).await);
    let load = async |home: &Home| {
        let wrong = format!("{next}:{}", "00".repeat(32));
        let refused = snapshot(home, &["load", "--from", &file, "--trust", &wrong]).await.unwrap_err();
        assert!(refused.contains("the checkpoint says 0000"), "{refused}");
        let loaded = snapshot(home, &["load", "--from", &file, "--trust", &trusted]).await.unwrap();
        assert!(loaded.contains(hash), "{loaded}");
        Ok(())
    };
    let busy = &network.devnet.nodes[4].home;
    let said = snapshot(busy, &["load", "--from", &file, "--trust", &trusted]).await.unwrap_err();
    assert!(said.contains("in use by da-node run, process"), "{said}");
    let late = network.devnet.add_full_node("late", load).await.unwrap();
    let base = next - 1;
    assert!(old.iter().all(|receipt| receipt.header.height() <= base));
    let checkpoint = Checkpoint { height: next, hash: hex::decode(hash).unwrap().try_into().unwrap() };
    let new = submit(&network, 0, 10).await;
    reaches(&network, late, new.header.height()).await;
    let reader = client(&network, late, checkpoint.clone());
    reads(&reader, &new).await;

    // Of what was before it knows nothing, and says no more than that.
    for receipt in &old {
        let found = reader.get(receipt.entries[0].commitment).await;
        assert!(matches!(found, Err(ClientError::Unreachable { .. })), "{found:?}");
        let (height, ns) = (receipt.header.height(), namespace(1));
        for path in [format!("height/{height}/namespace/{ns}"), format!("height/{height}/shares?count=1")] {
            let answer = reqwest::get(format!("{}/v1/{path}", network.api(late))).await.unwrap();
            assert_eq!(answer.status(), 503, "{path}");
            let said = answer.text().await.unwrap();
            assert!(said.contains("older than this node keeps"), "{path}: {said}");
        }
        if height < base {
            let answer = reqwest::get(format!("{}/v1/header/{height}", network.api(late))).await.unwrap();
            assert_eq!(answer.status(), 503);
        }
    }
    assert_eq!(light_block(network.api(late), base).await.height(), base);

    // Certificates come, and say nothing of roots that are not here.
    let height = new.header.height();
    let path = format!("{}/v1/certificate/{height}", network.api(late));
    eventually(LIMIT, "a certificate", async || {
        reqwest::get(&path).await.ok()?.status().is_success().then_some(())
    })
    .await;
    let answer = reqwest::get(format!("{path}?range={height}-{height}")).await.unwrap();
    assert_eq!(answer.status(), 503);
    let said = answer.text().await.unwrap();
    assert!(said.contains("older than this node keeps"), "{said}");

    // State, prices and what it has after a power cut are those of the others.
    let account = dev_key(1).unwrap().address();
    network.devnet.nodes[late].process.kill().await.unwrap();
    network.devnet.restart(late).await.unwrap();
    let newer = submit(&network, 0, 11).await;
    reaches(&network, late, newer.header.height()).await;
    let reader = client(&network, late, checkpoint.clone());
    for receipt in [&new, &newer] {
        reads(&reader, receipt).await;
    }
    let proven = reader.proven(StateKey::Account(account)).await.unwrap();
    let others = network.client(0).proven(StateKey::Account(account)).await.unwrap();
    assert_eq!(proven.number().unwrap(), others.number().unwrap());
    let history = reader.price_history(1_000).await.unwrap();
    assert!(history.blocks.iter().all(|block| block.height > base) && history.blocks.len() >= 2);

    // It gives snapshots out itself, to a node that trusts a later header, or to a node that trusts an earlier one.
    let url = network.api(late).to_owned();
    let first = trust(&url, next + 1).await;
    let load = async |home: &Home| {
        snapshot(home, &["load", "--from", &url, "--trust", &first]).await.unwrap();
        Ok(())
    };
    let later = network.devnet.add_full_node("later", load).await.unwrap();

    // A validator that lost its database votes again; what it signed it knows.
    let home = network.devnet.nodes[0].home.clone();
    let known = network.devnet.network().unwrap().checkpoint;
    network.devnet.nodes[0].process.kill().await.unwrap();
    fs::remove_dir_all(home.path("db")).unwrap();
    let signed = fs::read(home.path("engine/signed")).unwrap();
    let trusted = format!("{}:{}", known.height, hex::encode(known.hash));
    let url = network.api(4).to_owned();
    snapshot(&home, &["load", "--from", &url, "--trust", &trusted]).await.unwrap();
    assert_eq!(fs::read(home.path("engine/signed")).unwrap(), signed);
    network.devnet.restart(0).await.unwrap();
    let seed = home.key(KeyRole::Consensus).unwrap();
    let own = da_node::run::consensus_address(&seed).unwrap();
    let since = network.height().await;
    eventually(LIMIT, "a block that the validator signed", async || {
        let tip = network.height().await;
        let commit = light_block(network.api(4), tip).await.signed_header.commit;
        let signers = commit.signatures.iter().filter_map(|signature| signature.validator_address());
        (tip > since && signers.into_iter().any(|signer| signer == own)).then_some(())
    })
    .await;
    let last = submit(&network, 1, 77).await.header.height();
    let hash = light_block(network.api(1), last).await.signed_header.header.hash();
    for at in [0, 4, late, later] {
        reaches(&network, at, last).await;
        assert_eq!(light_block(network.api(at), last).await.signed_header.header.hash(), hash);
    }
    network.stop().await;
}

/// Gives the first `bytes` of a snapshot to whoever asks, and then nothing more.
fn stalling(snapshot: &[u8], bytes: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (length, start) = (snapshot.len(), snapshot[..bytes].to_vec());
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let _ = stream.read(&mut [0; 4_096]);
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\n\r\n").unwrap();
        stream.write_all(&start).unwrap();
        // Until the other side is killed.
        let _ = stream.read(&mut [0; 1]);
    });
    url
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_was_killed_is_said_so_and_begins_anew() {
    let network = Network::start_with(fast).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state.snapshot");
    let file = path.display().to_string();
    reaches(&network, 4, 3).await;
    let said = snapshot(&network.devnet.nodes[4].home, &["save", "--out", &file]).await.unwrap();
    let trusted = said.split_whitespace().last().unwrap().to_owned();
    let home = Home::new(folder.path().join("late"));
    let genesis = network.devnet.nodes[4].home.path("genesis.json").display().to_string();
    let at = home.path("").display().to_string();
    assert!(da_node(&["init", "--home", &at, "--genesis", &genesis]).status.success());

    let whole = fs::read(&path).unwrap();
    let url = stalling(&whole, whole.len() - 40);
    let arguments = ["snapshot", "load", "--home", &at, "--from", &url, "--trust", &trusted];
    let mut loading =
        Command::new(env!("CARGO_BIN_EXE_da-node")).args(arguments).stderr(Stdio::null()).spawn().unwrap();
    let made = home.path("db.new/CURRENT");
    eventually(LIMIT, "the database to be begun", async || made.exists().then_some(())).await;
    loading.kill().unwrap();
    loading.wait().unwrap();
    assert!(!home.path("db").exists());
    let run = |at: &str| da_node(&["run", "--home", at, "--halt-height", "1"]);
    let said = text(&run(&at).stderr);
    assert!(said.contains("`da-node snapshot load` again"), "{said}");
    snapshot(&home, &["load", "--from", &file, "--trust", &trusted]).await.unwrap();
    assert!(home.path("db").exists() && !home.path("db.new").exists());
    let said = text(&run(&at).stderr);
    assert!(said.contains("--halt-height 1 is past"), "{said}");

    // A stopped node's database is read as it is.
    let stopped = Path::new(&at).join("again.snapshot").display().to_string();
    let said = snapshot(&home, &["save", "--out", &stopped]).await.unwrap_err();
    assert!(said.contains("once this node has two blocks"), "{said}");
    network.stop().await;
}
