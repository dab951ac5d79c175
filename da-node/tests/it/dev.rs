//! `da-node dev`, the everyday tool: fast to start, funded, and gone without a trace.

use std::{
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use blob_api::Client;
use chain::{NANO_PER_WEFT, SecretKey};
use da_node::devnet::height_of;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
    time::timeout,
};

use crate::support::{ALONE, eventually};

const READY_WITHIN: Duration = Duration::from_secs(2);
const STOPS_WITHIN: Duration = Duration::from_secs(5);

#[tokio::test(flavor = "multi_thread")]
async fn dev_is_ready_in_two_seconds_gives_and_stops_with_its_parent() {
    let _alone = ALONE.lock().await;
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_da-node"))
        .args(["dev", "--api", "127.0.0.1:0", "--until-stdin-closes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let api = labelled(&mut lines, "API").await;
    assert!(height_of(&api).await.unwrap() >= 1);
    let ready = started.elapsed();
    println!("ready after {ready:?}");
    assert!(ready < READY_WITHIN, "ready after {ready:?}");

    let network = labelled(&mut lines, "network").await;
    let poor = SecretKey::from_bytes(&[42; 32]).unwrap().address();
    let client = Client::new(std::slice::from_ref(&api), None).unwrap();
    client.faucet(poor).await.unwrap();
    let again = reqwest::Client::new().post(format!("{api}/v1/faucet/{poor}")).send().await.unwrap();
    assert_eq!(again.status(), 429);
    let wait: u64 = again.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=10).contains(&wait), "{wait}");
    eventually(Duration::from_secs(5), "the faucet's transfer", async || {
        (client.account(poor).await.unwrap().balance == 100 * NANO_PER_WEFT).then_some(())
    })
    .await;

    assert!(Path::new(&network).exists(), "{network}");
    drop(child.stdin.take());
    let ended = timeout(STOPS_WITHIN, child.wait()).await.expect("it stops within 5 s").unwrap();
    assert!(ended.success(), "{ended}");
    assert!(!Path::new(&network).exists(), "the temporary folder is left: {network}");
}

/// What follows a label at the beginning of a line.
pub(crate) async fn labelled(
    lines: &mut tokio::io::Lines<BufReader<tokio::process::ChildStdout>>,
    label: &str,
) -> String {
    loop {
        let line = lines.next_line().await.unwrap().expect("the node ended");
        if let Some(rest) = line.trim_start().strip_prefix(label) {
            return rest.trim().to_owned();
        }
    }
}
