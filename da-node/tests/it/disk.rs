//! A disk that takes no more.

use std::{
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use blob_api::{Client, Receipt, SubmitOptions};
use da_node::{
    devnet::height_of,
    home::{Home, KeyRole},
};
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    operating::{fast_validator, text},
    support::{blob, bytes, eventually},
};

/// Largest file that the node may write, in the shell's blocks of 512 bytes: 3 MiB.
const LIMIT_BLOCKS: u32 = 6_144;

/// How long anything that must happen may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// How long a blob may take; a client goes on asking a node that is gone.
const GIVES_UP_AFTER: Duration = Duration::from_secs(20);

/// Runs the node; with a limit, no file of its may grow beyond it.
fn run(home: &Path, limit: Option<u32>) -> Child {
    let limited = limit.map_or_else(String::new, |blocks| format!("trap '' XFSZ; ulimit -f {blocks}; "));
    Command::new("sh")
        .args(["-c", &format!("{limited}exec \"$@\""), "sh", env!("CARGO_BIN_EXE_da-node"), "run"])
        .args(["--home", home.to_str().unwrap()])
        .env("RUST_LOG", "error,arc_malachitebft_network=off")
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

async fn client(home: &Path, pid: u32) -> (Client, String) {
    let api = eventually(PATIENCE, "running.json", async || {
        let running: Value = serde_json::from_slice(&std::fs::read(home.join("running.json")).ok()?).ok()?;
        (running["pid"] == pid).then(|| running["api"].as_str().unwrap().to_owned())
    })
    .await;
    let read = async || blob_api::read_network(&home.join("network.toml")).ok();
    let network = eventually(PATIENCE, "network.toml", read).await;
    (Client::new(std::slice::from_ref(&api), Some(network)).unwrap(), api)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_fails_ends_the_node_and_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let home = folder.path().join("node");
    fast_validator(&home);
    let key = Home::new(home.clone()).account(KeyRole::Operator).unwrap();

    let node = run(&home, Some(LIMIT_BLOCKS));
    let (limited, _) = client(&home, node.id()).await;
    let mut receipts: Vec<Receipt> = Vec::new();
    for seed in 0.. {
        let blobs = vec![blob(1, bytes(seed, 900_000), &[])];
        let submitted = limited.submit_and_wait(&key, blobs, SubmitOptions::default());
        match timeout(GIVES_UP_AFTER, submitted).await {
            Ok(Ok(receipt)) => receipts.push(receipt),
            _ => break,
        }
        assert!(seed < 10, "a file of {LIMIT_BLOCKS} blocks has no end");
    }
    assert!(!receipts.is_empty());
    let ended = tokio::task::spawn_blocking(|| node.wait_with_output().unwrap()).await.unwrap();
    assert_eq!(ended.status.code(), Some(1));
    let said = text(&ended.stderr);
    assert!(said.contains("File too large") && said.contains("make room on the disk"), "{said}");

    let mut node = run(&home, None);
    let (unlimited, api) = client(&home, node.id()).await;
    for receipt in &receipts {
        let entry = &receipt.entries[0];
        let kept =
            eventually(PATIENCE, "the blob", async || unlimited.get(entry.commitment).await.ok()).await;
        assert_eq!((kept.height(), kept.entry()), (receipt.header.height(), entry));
    }
    let tip = height_of(&api).await.unwrap();
    eventually(PATIENCE, "the next block", async || (height_of(&api).await.ok()? > tip).then_some(())).await;
    node.kill().unwrap();
    node.wait().unwrap();
}
