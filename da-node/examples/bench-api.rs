//! `make bench-api`: what rollups get out of four validators on this machine, and whether it is what was promised.
//!
//! ```text
//!  large  8 clients offer 4 MB/s of 1 MiB blobs         ─▶ MB finalised a second, seconds to finality
//!  small  200 one-share blobs a second                  ─▶ blobs finalised a second
//!  half   half of both at once, quotes meanwhile        ─▶ a quote's milliseconds
//! ```
//!
//! Clients keep to their timetable whether or not earlier blobs are final. Rates are counted after the first seconds
//! of a phase, when as much becomes final as is sent. The result is written to `target/bench/api.json`.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use blob_api::{Client, PROTOBUF, SubmittedBody};
use chain::{Action, BlobHeader, Domain, Payload, SecretKey, Submission, TxStatus};
use da_node::devnet::{Devnet, dev_key};
use erasure::Namespace;
use serde::Serialize;
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, interval, sleep_until},
};

/// Clients that send at the same time.
const CLIENTS: u64 = 8;

/// Bytes of a large blob.
const LARGE_BYTES: usize = 1 << 20;

/// Pause between a client's large blobs: eight of them offer 4.19 MB/s.
const LARGE_EVERY: Duration = Duration::from_secs(2);

/// Bytes of a blob that takes one share.
const SMALL_BYTES: usize = 500;

/// Pause between a client's small blobs: eight of them offer 200 a second.
const SMALL_EVERY: Duration = Duration::from_millis(40);

/// How long each phase sends.
const PHASE: Duration = Duration::from_secs(24);

/// Of which so much is not counted.
const WARM_UP: Duration = Duration::from_secs(6);

/// Nothing becomes final for so long between two blocks.
const BETWEEN_BLOCKS: Duration = Duration::from_millis(250);

/// Pause between two quotes.
const QUOTE_EVERY: Duration = Duration::from_millis(20);

/// Ample: a hundred times the floor.
const FEE_CAP: u64 = 100_000;

#[derive(Debug, Serialize)]
struct Report {
    finalised_mb_per_s: f64,
    p99_seconds_to_final: f64,
    one_share_blobs_per_s: f64,
    quote_p99_ms: f64,
    resident_bytes_max: u64,
}

/// A blob that became final.
#[derive(Clone, Copy, Debug)]
struct Final {
    bytes: usize,
    sent: Instant,
    at: Instant,
}

/// What all clients share.
struct Load {
    clients: Vec<Client>,
    apis: Vec<String>,
    http: reqwest::Client,
    domain: Domain,
    keys: Vec<SecretKey>,
    height: AtomicU64,
    salt: AtomicU64,
    finals: Mutex<Vec<Final>>,
    failures: Mutex<Vec<String>>,
}

#[tokio::main]
async fn main() -> Result<()> {
    let programs = programs()?;
    let target = programs.parent().context("the programs have no folder")?.join("bench");
    let mut devnet = Devnet::start(&target.join("devnet"), &programs, 4, |_| {}).await?;
    // Four validators and nobody else.
    devnet.nodes[4].process.stop().await?;
    let load = Arc::new(Load::new(&devnet)?);
    let pids: Vec<_> = devnet.nodes[..4].iter().map(|node| node.running.pid).collect();
    let resident = Arc::new(AtomicU64::new(0));
    let watching = tokio::spawn(watch_memory(pids, resident.clone()));
    let following = tokio::spawn(load.clone().follow_height());

    let large = load.phase("large", &[(LARGE_BYTES, LARGE_EVERY)]).await?;
    let (finalised, p99) = (rate(&large, LARGE_BYTES) * LARGE_BYTES as f64 / 1e6, seconds(&large));
    println!("large  {finalised:.2} MB/s finalised, p99 {p99:.2} s to finality, {} blobs", large.blobs.len());
    let small = load.phase("small", &[(SMALL_BYTES, SMALL_EVERY)]).await?;
    let one_share = rate(&small, SMALL_BYTES);
    println!("small  {one_share:.1} one-share blobs/s finalised, p99 {:.2} s to finality", seconds(&small));

    let stop = Arc::new(AtomicBool::new(false));
    // On a thread of its own: what is measured is the nodes' delay, not that of this program's other clients.
    let (apis, told) = (load.apis.clone(), stop.clone());
    let quoting = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(quotes(&apis, &told))
    });
    let half = load.phase("half", &[(LARGE_BYTES, 2 * LARGE_EVERY), (SMALL_BYTES, 2 * SMALL_EVERY)]).await?;
    stop.store(true, Ordering::Relaxed);
    let quotes = match quoting.join() {
        Ok(quotes) => quotes?,
        Err(_) => bail!("the thread that asks for quotes panicked"),
    };
    let quote_p99_ms = 1e3 * percentile(quotes, 0.99);
    println!("half   quote p99 {quote_p99_ms:.2} ms, p99 {:.2} s to finality", seconds(&half));

    watching.abort();
    following.abort();
    devnet.stop().await?;
    let report = Report {
        finalised_mb_per_s: finalised,
        p99_seconds_to_final: p99,
        one_share_blobs_per_s: one_share,
        quote_p99_ms,
        resident_bytes_max: resident.load(Ordering::Relaxed),
    };
    let file = target.join("api.json");
    fs::write(&file, serde_json::to_string_pretty(&report)? + "\n")?;
    println!("written to {}", file.display());
    check(&report)
}

/// The promises.
fn check(report: &Report) -> Result<()> {
    let lines = [
        ("MB/s finalised", report.finalised_mb_per_s, ">=", 4.0),
        ("seconds to finality, p99", report.p99_seconds_to_final, "<", 6.0),
        ("one-share blobs/s", report.one_share_blobs_per_s, ">=", 199.0),
        ("ms for a quote, p99", report.quote_p99_ms, "<", 5.0),
        (
            "MiB resident, the largest node",
            report.resident_bytes_max as f64 / f64::from(1 << 20),
            "<",
            1024.0,
        ),
    ];
    let mut broken = 0;
    for (what, got, comparison, limit) in lines {
        let holds = if comparison == "<" { got < limit } else { got >= limit };
        println!("{}  {what:32} {got:10.2}  {comparison} {limit}", if holds { "ok    " } else { "BROKEN" });
        broken += u32::from(!holds);
    }
    if broken > 0 {
        bail!("{broken} of the promises do not hold on this machine");
    }
    Ok(())
}

/// The folder of the workspace's programs: that of this example's folder.
fn programs() -> Result<PathBuf> {
    let program = std::env::current_exe()?;
    let folder = program.parent().and_then(Path::parent).context("the program has no folder")?;
    Ok(folder.to_path_buf())
}

/// What a phase sent, all of it final.
struct Phase {
    started: Instant,
    blobs: Vec<Final>,
}

/// Blobs of this length that became final a second, while the phase was in its stride: from one block to a later one,
/// since they become final by the block.
fn rate(phase: &Phase, bytes: usize) -> f64 {
    let window = phase.started + WARM_UP..phase.started + PHASE;
    let mut finals: Vec<_> = phase
        .blobs
        .iter()
        .filter(|blob| blob.bytes == bytes && window.contains(&blob.at))
        .map(|b| b.at)
        .collect();
    finals.sort_unstable();
    let pauses = finals.windows(2).filter(|pair| pair[1] - pair[0] > BETWEEN_BLOCKS);
    let ends: Vec<_> = pauses.map(|pair| pair[0]).collect();
    let (Some(first), Some(last)) = (ends.first(), ends.last()) else { return 0.0 };
    let counted = finals.iter().filter(|at| *at > first && *at <= last).count();
    counted as f64 / (*last - *first).as_secs_f64().max(f64::EPSILON)
}

fn seconds(phase: &Phase) -> f64 {
    percentile(phase.blobs.iter().map(|blob| (blob.at - blob.sent).as_secs_f64()).collect(), 0.99)
}

fn percentile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let at = ((values.len() as f64 * part).ceil() as usize).clamp(1, values.len().max(1)) - 1;
    values.get(at).copied().unwrap_or(f64::INFINITY)
}

impl Load {
    fn new(devnet: &Devnet) -> Result<Self> {
        let network = devnet.network()?;
        let apis: Vec<_> = devnet.nodes[..4].iter().map(|node| node.running.api.clone()).collect();
        Ok(Self {
            clients: apis
                .iter()
                .map(|api| Client::new(std::slice::from_ref(api), None))
                .collect::<Result<_, _>>()?,
            apis,
            http: reqwest::Client::new(),
            domain: network.domain(),
            keys: (0..3).map(dev_key).collect::<Result<_>>()?,
            height: AtomicU64::new(1),
            salt: AtomicU64::new(0),
            finals: Mutex::default(),
            failures: Mutex::default(),
        })
    }

    async fn follow_height(self: Arc<Self>) {
        loop {
            if let Ok(status) = self.clients[0].status().await {
                self.height.store(status.height, Ordering::Relaxed);
            }
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    }

    /// Sends blobs of each length at each pace from every client, until the time is up and all of it is final.
    async fn phase(self: &Arc<Self>, name: &str, paces: &[(usize, Duration)]) -> Result<Phase> {
        let started = Instant::now();
        let mut senders = JoinSet::new();
        for (bytes, every) in paces.iter().copied() {
            for client in 0..CLIENTS {
                let load = self.clone();
                senders.spawn(async move {
                    let mut blobs = JoinSet::new();
                    // Spread over the pause, as independent clients are.
                    let mut next = started + every.mul_f64(client as f64 / CLIENTS as f64);
                    while next < started + PHASE {
                        sleep_until(next).await;
                        next += every;
                        let load = load.clone();
                        blobs.spawn(async move { load.submit(client, bytes).await });
                    }
                    blobs.join_all().await;
                });
            }
        }
        senders.join_all().await;
        let failures = std::mem::take(&mut *self.failures.lock().unwrap_or_else(|e| e.into_inner()));
        if let Some(first) = failures.first() {
            bail!("{} blobs of phase {name} failed; the first: {first}", failures.len());
        }
        let blobs = std::mem::take(&mut *self.finals.lock().unwrap_or_else(|e| e.into_inner()));
        Ok(Phase { started, blobs })
    }

    async fn submit(&self, client: u64, bytes: usize) {
        let sent = Instant::now();
        match self.try_submit(client, bytes).await {
            Ok(()) => {
                let done = Final { bytes, sent, at: Instant::now() };
                self.finals.lock().unwrap_or_else(|e| e.into_inner()).push(done);
            }
            Err(error) => {
                self.failures.lock().unwrap_or_else(|e| e.into_inner()).push(format!("{error:#}"));
            }
        }
    }

    async fn try_submit(&self, client: u64, bytes: usize) -> Result<()> {
        let number = self.salt.fetch_add(1, Ordering::Relaxed);
        let key = self.keys[client as usize % self.keys.len()].clone();
        let (domain, valid_until) = (self.domain, self.height.load(Ordering::Relaxed) + 90);
        let body = tokio::task::spawn_blocking(move || {
            let body = noise(number, bytes);
            let blob = BlobHeader::describe(Namespace::from_user_id([7; 10]), &body, &[], &[]);
            let payload = Payload {
                sender: key.address(),
                salt: u128::from(number + 1).to_be_bytes(),
                valid_until,
                fee_cap: FEE_CAP,
                tip: 0,
                action: Action::SubmitBlobs { blobs: vec![blob], reservation: None },
            };
            let transaction = key.sign(payload, vec![], &domain)?;
            anyhow::Ok(Submission { transaction, bodies: vec![body] }.encode())
        })
        .await??;
        let node = client as usize % self.apis.len();
        let url = format!("{}/v1/tx", self.apis[node]);
        let answer = self.http.post(url).header("content-type", PROTOBUF).body(body).send().await?;
        if !answer.status().is_success() {
            bail!("{}: {}", answer.status(), answer.text().await?);
        }
        let SubmittedBody { id } = answer.json().await?;
        match self.clients[node].wait(id, |_| ()).await?.status {
            TxStatus::Final { .. } => Ok(()),
            other => bail!("{id} ended as {other:?}"),
        }
    }
}

/// Bytes that compress to nothing less.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    // xorshift64*: fast, so that the clients take little of the machine.
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        bytes.extend(state.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes());
    }
    bytes.truncate(len);
    bytes
}

/// Asks each node in turn, and gives the seconds that each answer took.
async fn quotes(apis: &[String], stop: &AtomicBool) -> Result<Vec<f64>> {
    let http = reqwest::Client::new();
    let mut taken = Vec::new();
    let mut pace = interval(QUOTE_EVERY);
    pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for api in apis.iter().cycle() {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        pace.tick().await;
        let asked = Instant::now();
        let answer = http.get(format!("{api}/v1/quote?bytes=100000")).send().await?;
        answer.error_for_status()?.bytes().await?;
        taken.push(asked.elapsed().as_secs_f64());
    }
    Ok(taken)
}

/// Keeps the largest resident set of any of these processes.
async fn watch_memory(pids: Vec<u32>, largest: Arc<AtomicU64>) {
    loop {
        for pid in &pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
            let kib: u64 = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0);
            largest.fetch_max(kib * 1024, Ordering::Relaxed);
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}
