//! The OP Stack's door over a whole chain: op-batcher posts one payload at a time, so a put's latency counts.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use blob_api::{Client, Gateway, GatewayConfig, Spending, SpendingCap, read_network, serve_door};
use da_node::devnet::dev_key;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    net::TcpListener,
    process::Command,
};

use crate::{
    dev::labelled,
    support::{ALONE, bytes, namespace},
};

/// Puts with `WEFT_GATEWAY_PUTS` unset. With it, there are as many, and their latency is held to.
const PUTS: usize = 3;

/// Of 99 puts of a hundred, one at a time on an idle chain.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// A payload of op-batcher.
const PAYLOAD_BYTES: usize = 100_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_put_is_answered_by_finality() {
    let _alone = ALONE.lock().await;
    let mut node = Command::new(env!("CARGO_BIN_EXE_da-node"))
        .args(["dev", "--api", "127.0.0.1:0", "--until-stdin-closes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(node.stdout.take().unwrap()).lines();
    let api = labelled(&mut lines, "API").await;
    let network = labelled(&mut lines, "network").await;

    let state = tempfile::tempdir().unwrap();
    let cap = SpendingCap { limit: 1_000_000_000, window: Duration::from_secs(3600) };
    let spending = Spending::open(&state.path().join("spending.json"), cap).unwrap();
    let client = Client::new(&[api], Some(read_network(network.as_ref()).unwrap())).unwrap();
    let gateway = Gateway::start(client, dev_key(1).unwrap(), spending, GatewayConfig::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let door = tokio::spawn(serve_door(listener, gateway.op(namespace(9)), None, std::future::pending()));

    let asked = std::env::var("WEFT_GATEWAY_PUTS").ok().map(|puts| puts.parse().unwrap());
    let http = reqwest::Client::new();
    let mut took = Vec::new();
    for put in 0..asked.unwrap_or(PUTS) {
        let payload = bytes(put as u64, PAYLOAD_BYTES);
        let started = Instant::now();
        let response = http.post(format!("{url}/put")).body(payload.clone()).send().await.unwrap();
        let commitment = response.error_for_status().unwrap().bytes().await.unwrap();
        took.push(started.elapsed());
        let got = http.get(format!("{url}/get/0x{}", hex::encode(commitment))).send().await.unwrap();
        assert_eq!(got.error_for_status().unwrap().bytes().await.unwrap(), payload);
    }
    took.sort_unstable();
    let percentile = |percent: usize| took[(took.len() * percent).div_ceil(100) - 1];
    let (median, p99, longest) = (percentile(50), percentile(99), percentile(100));
    println!(
        "{} puts of {PAYLOAD_BYTES} B: median {median:.2?}, p99 {p99:.2?}, longest {longest:.2?}",
        took.len()
    );
    assert!(asked.is_none() || p99 < ANSWERED_WITHIN, "p99 {p99:?}");
    door.abort();
}
