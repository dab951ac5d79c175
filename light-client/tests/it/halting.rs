//! The program that halts: it stays and shows the proof, until its operator names a checkpoint.

use std::path::Path;
use std::process::Output;

use chain::{Checkpoint, HeaderHint, NetworkConfig};
use light_client::Status;
use tokio::process::Command;

use crate::accuser::{Accuser, forged, header_hash};
use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, config_for, shared};
use crate::process::{LIGHT_CLIENT, Process, call, files};

/// The exit code of `status` where something is wrong.
const ALARM: i32 = 3;

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

async fn show(process: &Process) -> Output {
    call(Command::new(LIGHT_CLIENT).args(["status", "--url", &process.url])).await
}

async fn resume(network: &NetworkConfig, dir: &Path, checkpoint: &str) -> Output {
    let mut command = Command::new(LIGHT_CLIENT);
    call(command.arg("resume").args(files(network, dir)).args(["--checkpoint", checkpoint])).await
}

fn named(checkpoint: &Checkpoint) -> String {
    format!("{}:{}", checkpoint.height, hex::encode(checkpoint.hash))
}

/// A process that halted stays, says why, keeps to it when it is started again, and goes on from `checkpoint`
/// of the network `judged`; gives the evidence, and the status of the process that went on.
async fn halts_and_resumes(
    mut process: Process,
    network: &NetworkConfig,
    dir: &Path,
    reason: &str,
    (judged, checkpoint): (&NetworkConfig, &Checkpoint),
) -> (serde_json::Value, Status) {
    let halt = process.until(|status| status.halted.is_some()).await.halted.unwrap();
    let shown = show(&process).await;
    assert_eq!(shown.status.code(), Some(ALARM));
    let told = format!("HALTED: {halt}\n  evidence: {}", halt.evidence.display());
    assert!(told.contains(reason) && text(&shown.stdout).contains(&told), "{}", text(&shown.stdout));
    let evidence = serde_json::from_slice(&std::fs::read(&halt.evidence).unwrap()).unwrap();
    let health = reqwest::get(process.url.replace("/status", "/healthz")).await.unwrap();
    assert_eq!(health.status(), 503);
    assert!(process.is_running());
    let refused = resume(network, dir, &named(checkpoint)).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(text(&refused.stderr).contains("stop the light client"), "{}", text(&refused.stderr));
    assert_eq!(process.stop().await.code(), Some(0));

    let process = Process::run(network, dir, &[]).await;
    assert_eq!(process.status().await.halted, Some(halt.clone()));
    assert_eq!(show(&process).await.status.code(), Some(ALARM));
    assert_eq!(process.stop().await.code(), Some(0));

    assert_eq!(resume(network, dir, "latest").await.status.code(), Some(2));
    let resumed = resume(network, dir, &named(checkpoint)).await;
    assert_eq!(resumed.status.code(), Some(0), "{}", text(&resumed.stderr));
    let said = text(&resumed.stdout);
    assert!(
        said.contains(&format!("had halted: {halt}\nevidence stays in {}", halt.evidence.display())),
        "{said}"
    );
    assert!(halt.evidence.exists());
    let process = Process::run(judged, dir, &[]).await;
    let status = process.until(|status| status.available_height > Some(checkpoint.height)).await;
    assert_eq!(status.halted, None);
    assert_eq!(show(&process).await.status.code(), Some(0));
    assert_eq!(process.stop().await.code(), Some(0));
    (evidence, status)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_saw_a_fraud_proof_shows_it_until_a_checkpoint_is_named() {
    let mut blocks = Chain::of(&[2]);
    let (wrong, proof) = forged();
    blocks.push(wrong);
    for fill in 0..2 {
        blocks.push(square(2, fill));
    }
    let checkpoint = blocks.checkpoint(3);
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let accuser = Accuser::start().await;
    let dir = tempfile::tempdir().unwrap();
    let mut network = config_for(&chain, 1, &[&node]);
    network.bootstrap.push(accuser.address().to_string());
    let process = Process::run(&network, dir.path(), &[]).await;
    process.until(|status| status.available_height == Some(4)).await;
    accuser.announce(&accuser.holds.add(2, header_hash(&chain, 2), proof.clone())).await;
    let reason = "block 2 is proven wrong: wrong index";
    let judged = (&network, &checkpoint);
    let (evidence, status) = halts_and_resumes(process, &network, dir.path(), reason, judged).await;
    assert_eq!(evidence["accusation"], hex::encode(&proof));
    assert_eq!(status.height, 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_saw_two_signed_headers_shows_them_until_a_checkpoint_is_named() {
    let trunk = Chain::of(&[2, 2]);
    let [left, right] = [1, 2].map(|fill| {
        let mut fork = trunk.fork(2);
        for _ in 0..2 {
            fork.push(square(2, fill));
        }
        fork
    });
    let hashes = [&left, &right].map(|fork| fork.checkpoint(4).hash);
    let checkpoint = right.checkpoint(3);
    let forks = [shared(left), shared(right)];
    let nodes =
        [Node::start(&forks[0], Behaviour::Honest).await, Node::start(&forks[1], Behaviour::Honest).await];
    let dir = tempfile::tempdir().unwrap();
    let network = config_for(&forks[0], 1, &[&nodes[0], &nodes[1]]);
    let process = Process::run(&network, dir.path(), &[]).await;
    // Filling the gap below may lead to the other header before any hint does.
    let halted_or_ready =
        |status: &Status| status.halted.is_some() || (status.height == 4 && status.peers == 2);
    process.until(halted_or_ready).await;
    // Each names its own: whichever was followed, the other one is looked into.
    for (node, hash) in nodes.iter().zip(hashes) {
        node.gossip(HeaderHint { height: 4, hash }.encode()).await;
    }
    let reason = "two signed headers at height 4";
    let only_right = config_for(&forks[1], 1, &[&nodes[1]]);
    let judged = (&only_right, &checkpoint);
    let (evidence, _) = halts_and_resumes(process, &network, dir.path(), reason, judged).await;
    let signed =
        |name: &str| evidence[name]["signed_header"]["commit"]["signatures"].as_array().map(Vec::len);
    assert_eq!((signed("followed"), signed("other")), (Some(4), Some(4)));
}
