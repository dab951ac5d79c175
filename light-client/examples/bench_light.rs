//! What a light client costs: memory, processor, bytes as streams carry them and as IP does.
//!
//! ```text
//!  fresh network namespace, loopback of MTU 1,500, nothing else on it
//!    4 nodes (in this process) ── QUIC ── light-client run (a process of its own)
//!    a full block every 2 s, each node gossips it; counters of the interface and of /proc around it
//! ```
//!
//! `bench_light FILE` measures and writes [`Row`]s as JSON. Bytes at IP level are the interface's, less its
//! 14 bytes of Ethernet a packet; stream bytes are the client's own count, which holds everything that
//! travels in QUIC's streams: requests, answers, protocol names, gossip, pings.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a measurement that failed panics"
)]

#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/chain_of_blocks.rs"]
mod chain_of_blocks;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/link.rs"]
mod link;
#[allow(dead_code, reason = "shared with the tests")]
#[path = "../tests/it/node.rs"]
mod node;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use chain_of_blocks::{Chain, square};
use light_client::Status;
use node::{Behaviour, Node, config_for, shared};
use serde::Serialize;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// Set in the process that runs inside the namespace.
const INSIDE: &str = "WEFT_BENCH_INSIDE";

/// Width, wanted confidence, and the cells that it takes.
const CASES: [(u32, &str, usize); 2] = [(128, "99.9%", 24), (256, "99%", 16)];

const NODES: usize = 4;
const BLOCK_EVERY: Duration = Duration::from_secs(2);
const BLOCKS: u64 = 20;
const WARM_UP: u64 = 3;
const IDLE: Duration = Duration::from_secs(20);

/// What one width costs.
#[derive(Serialize)]
struct Row {
    k: u32,
    samples: usize,
    resident_bytes: u64,
    cpu_fraction: f64,
    wire_bytes_per_block: u64,
    payload_bytes_per_block: u64,
}

/// A moment's counters.
#[derive(Clone, Copy)]
struct Counters {
    ip_bytes: u64,
    cpu_ticks: u64,
}

fn main() {
    let out = PathBuf::from(std::env::args().nth(1).expect("usage: bench_light FILE"));
    if std::env::var_os(INSIDE).is_none() {
        return enter();
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let rows: Vec<Row> = CASES.iter().map(|&case| runtime.block_on(measure(case))).collect();
    fs::create_dir_all(out.parent().unwrap()).unwrap();
    fs::write(&out, serde_json::to_string_pretty(&rows).unwrap() + "\n").unwrap();
    println!("{}", serde_json::to_string(&rows).unwrap());
}

/// Runs this program again in a network namespace of its own.
fn enter() {
    let set_up = "ip link set lo mtu 1500 gso_max_segs 1 && ip link set lo up && exec \"$@\"";
    let mut unshare = std::process::Command::new("unshare");
    if !is_root() {
        unshare.arg("--map-root-user");
    }
    unshare.args(["--net", "sh", "-c", set_up, "sh"]).arg(std::env::current_exe().unwrap());
    let status = unshare.args(std::env::args_os().skip(1)).env(INSIDE, "1").status();
    let done = status.as_ref().is_ok_and(std::process::ExitStatus::success);
    assert!(done, "needs unshare, ip, and root or user namespaces, to count IP's bytes: {status:?}");
}

fn is_root() -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"))
}

async fn measure((k, confidence, samples): (u32, &str, usize)) -> Row {
    let full = square(k, 1);
    let mut blocks = Chain::new();
    blocks.push(full.clone());
    let chain = shared(blocks);
    let mut nodes = Vec::new();
    for _ in 0..NODES {
        nodes.push(Node::start_on("/ip4/127.0.0.1/udp/0/quic-v1", &chain, Behaviour::Honest).await);
    }
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &nodes.iter().collect::<Vec<_>>());
    let (client, url) = light_client(home.path(), &config, confidence).await;
    let pid = client.id().unwrap();
    let next_block = async || {
        tokio::time::sleep(BLOCK_EVERY).await;
        chain.write().unwrap().push(full.clone());
        for node in &nodes {
            node.gossip_latest().await;
        }
    };
    for _ in 0..WARM_UP {
        next_block().await;
    }
    tokio::time::sleep(BLOCK_EVERY).await;

    let streams_before = status(&url).await.wire_bytes;
    let before = counters(pid);
    for _ in 0..BLOCKS {
        next_block().await;
    }
    tokio::time::sleep(BLOCK_EVERY).await;
    let after = counters(pid);
    let after_streams = status(&url).await;

    let tip = 1 + WARM_UP + BLOCKS;
    let sampled = |height: u64| {
        let report = after_streams.heights.iter().find(|report| report.height == height);
        report.is_some_and(|report| report.state.confidence().is_some() && report.samples == samples)
    };
    let all = (tip - BLOCKS + 1..=tip).all(sampled);
    assert!(all, "not every block was sampled in time: {:?}", after_streams.heights);

    let by_kind = metrics(&url).await;
    let idle_before = counters(pid);
    tokio::time::sleep(IDLE).await;
    let idle = counters(pid).ip_bytes - idle_before.ip_bytes;
    println!(
        "k = {k}: without blocks {} B/s at IP level from {NODES} peers (pings, gossip's heartbeats, asking for a header \
         every 3 s); messages since the start: {by_kind}",
        idle / IDLE.as_secs()
    );

    let bytes = |wire: light_client::WireBytes| wire.received + wire.sent;
    let seconds = (BLOCK_EVERY * (BLOCKS as u32 + 1)).as_secs_f64();
    Row {
        k,
        samples,
        resident_bytes: after_streams.resident_bytes,
        cpu_fraction: (after.cpu_ticks - before.cpu_ticks) as f64 / 100.0 / seconds,
        wire_bytes_per_block: (after.ip_bytes - before.ip_bytes) / BLOCKS,
        payload_bytes_per_block: (bytes(after_streams.wire_bytes) - bytes(streams_before)) / BLOCKS,
    }
}

async fn light_client(home: &Path, config: &chain::NetworkConfig, confidence: &str) -> (Child, String) {
    let network = home.join("network.toml");
    fs::write(&network, toml::to_string(config).unwrap()).unwrap();
    let program = std::env::current_exe().unwrap();
    let program = program.parent().unwrap().parent().unwrap().join("light-client");
    let mut child = Command::new(&program)
        .args(["run", "--status-addr", "127.0.0.1:0", "--confidence", confidence, "--network"])
        .arg(&network)
        .arg("--home")
        .arg(home.join("light"))
        .env("RUST_LOG", "warn")
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}: build it first", program.display()));
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = lines.next_line().await.unwrap().unwrap();
    let url = line.strip_prefix("status: ").unwrap().strip_suffix("/status").unwrap().to_owned();
    (child, url)
}

async fn status(url: &str) -> Status {
    reqwest::get(format!("{url}/status")).await.unwrap().json().await.unwrap()
}

/// Bytes of messages, by kind, without the names of protocols.
async fn metrics(url: &str) -> String {
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    let of_messages = |line: &&str| line.starts_with("weft_network_message") && !line.ends_with(" 0");
    text.lines().filter(of_messages).collect::<Vec<_>>().join(", ")
}

fn counters(pid: u32) -> Counters {
    let devices = fs::read_to_string("/proc/net/dev").unwrap();
    let loopback = devices.lines().find_map(|line| line.trim().strip_prefix("lo:")).unwrap();
    let received: Vec<u64> =
        loopback.split_whitespace().take(2).map(|number| number.parse().unwrap()).collect();
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let times = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    Counters {
        ip_bytes: received[0] - 14 * received[1],
        cpu_ticks: times.map(|ticks| ticks.parse::<u64>().unwrap()).sum(),
    }
}
