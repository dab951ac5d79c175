//! The demo: all of Weft at work in real processes, watched and checked from outside through public interfaces.
//!
//! ```text
//!  quote ─▶ submit ─▶ final ─▶ sampled ─▶ read back ─▶ full block ─▶ a validator dies ─▶ a node lies ─▶ report
//! ```

mod data;
mod liar;
mod report;

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use blob_api::{BlobShapeBody, Client, NewBlob, ProofKind, QuoteRequest, Receipt, SubmitOptions};
use chain::{NANO_PER_WEFT, SecretKey};
use erasure::{ForeignKind, Namespace};
use light_client::{StateReport, Status};
use tokio::task::JoinSet;

use crate::devnet::{Devnet, dev_key, height_of};
use data::DataFile;
use liar::Liar;
use report::{BlobRow, LightRow, Report};

/// Processes of each kind.
const VALIDATORS: usize = 4;
const LIGHTS: usize = 3;

/// How long light clients may take to sample a final block.
const SAMPLED_WITHIN: Duration = Duration::from_secs(30);

/// Bytes of the filling blobs of the full block; eight of them leave room for the transactions.
const FILLING_BYTES: usize = 1_040_000;
const FILLING_BLOBS: usize = 8;

/// What a light client may cost (the report is not ok beyond).
const LIGHT_RESIDENT_BYTES: u64 = 64 << 20;
const LIGHT_WIRE_BYTES: u64 = 48_000;

/// Runs the demo in `dir` with the programs beside this one.
pub async fn run(data: Option<&Path>, dir: &Path, programs: &Path) -> Result<()> {
    std::fs::create_dir_all(dir)?;
    let report_file = dir.join("report.json");
    let _ = std::fs::remove_file(&report_file);
    let files = data::load(data)?;
    let network_dir = dir.join("network");
    step(&format!("starting {VALIDATORS} validators, a full node and {LIGHTS} light clients"));
    let mut devnet = Devnet::start(&network_dir, programs, VALIDATORS, |_| {}).await?;
    let outcome = show(&mut devnet, &files).await;
    if let Err(error) = devnet.stop().await {
        eprintln!("stopping: {error:#}");
    }
    let report = outcome.with_context(|| format!("the logs are in {}/*.log", network_dir.display()))?;
    report.write(&report_file)?;
    report.print();
    println!("\nwritten to {}", report_file.display());
    println!("Next:");
    println!("  make devnet                                  the same network, kept running");
    println!("  {}/da-node dev         one process with a faucet, for development", programs.display());
    println!("  {}/blob --help         price, submit, follow, read and prove blobs", programs.display());
    ensure!(report.ok, "a check failed: {}", report.failures.join("; "));
    Ok(())
}

fn step(text: &str) {
    println!("• {text}");
}

async fn show(devnet: &mut Devnet, files: &[DataFile]) -> Result<Report> {
    devnet.start_lights(LIGHTS).await?;
    let network = devnet.network()?;
    let full_node = devnet.full_node().running.api.clone();
    let client = Client::new(std::slice::from_ref(&full_node), Some(network.clone()))?;
    let key = Arc::new(dev_key(1)?);

    quote(&client, files).await?;
    step("submitting the files as blobs to the full node, all at once");
    let mut rows = submit(&client, &key, files).await?;
    step("waiting for the light clients to sample those blocks");
    let wanted: Vec<u64> = rows.iter().map(|row| row.height).collect();
    let counted = sampled(devnet, &wanted).await?;
    for (row, count) in rows.iter_mut().zip(counted) {
        row.light_clients_available = count;
    }
    step("reading every blob back from the full node, by commitment and by namespace, with proofs");
    for (row, file) in rows.iter_mut().zip(files) {
        row.verified = read_back(&client, row, file).await?;
    }

    let mut failures = Vec::new();
    let lights = full_block(devnet, &client, &key, files, &mut failures).await?;
    kill_a_validator(devnet, &mut failures).await?;
    read_from_a_liar(&full_node, &network, &rows, &mut failures).await?;
    Ok(Report::new(rows, lights, LIGHTS, failures))
}

async fn quote(client: &Client, files: &[DataFile]) -> Result<()> {
    let shapes = files
        .iter()
        .map(|file| BlobShapeBody { bytes: file.bytes.len() as u64, foreign: file.foreign.clone() })
        .collect();
    let quote = client.quote(&QuoteRequest::new(shapes)).await?;
    step(&format!(
        "quote for {} blobs: {} shares at {} nano, {:.6} WEFT now, at most {:.6} WEFT within {} blocks",
        files.len(),
        quote.shares,
        quote.base_fee,
        weft(quote.cost),
        weft(quote.cost_limit),
        quote.horizon
    ));
    Ok(())
}

fn weft(nano: u64) -> f64 {
    nano as f64 / NANO_PER_WEFT as f64
}

/// Submits each file in a transaction of its own, all at the same time, and follows each to finality.
async fn submit(client: &Client, key: &Arc<SecretKey>, files: &[DataFile]) -> Result<Vec<BlobRow>> {
    let mut tasks = JoinSet::new();
    for (at, file) in files.iter().enumerate() {
        let (client, key, file) = (client.clone(), key.clone(), file.clone());
        tasks.spawn(async move {
            let blob = NewBlob {
                namespace: file.namespace,
                bytes: file.bytes.to_vec(),
                foreign: file.foreign.clone(),
            };
            let prepared = client.prepare(&key, vec![blob], SubmitOptions::default()).await?;
            let started = Instant::now();
            client.send(&prepared, None).await?;
            let mut seconds = 0.0;
            let receipt = client
                .confirm(&prepared, |tx| {
                    if tx.status.is_settled() {
                        seconds = started.elapsed().as_secs_f64();
                    }
                })
                .await?;
            anyhow::Ok((at, row(&file, &receipt, seconds)?))
        });
    }
    let mut rows = Vec::new();
    while let Some(done) = tasks.join_next().await {
        rows.push(done??);
    }
    rows.sort_by_key(|(at, _)| *at);
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

fn row(file: &DataFile, receipt: &Receipt, seconds: f64) -> Result<BlobRow> {
    let entry = receipt.entries.first().context("the receipt has no entry")?;
    Ok(BlobRow {
        file: file.name.clone(),
        namespace: file.namespace.to_string(),
        bytes: file.bytes.len() as u64,
        price: receipt.transaction.charged.context("a final transaction has no price")?,
        height: receipt.header.height(),
        seconds_to_final: (seconds * 1_000.0).round() / 1_000.0,
        light_clients_available: 0,
        verified: false,
        commitment: hex::encode(entry.commitment),
    })
}

async fn light_status(url: &str) -> Result<Status> {
    Ok(reqwest::get(url).await?.error_for_status()?.json().await?)
}

/// For each height, how many light clients found it available; waits for all of them as long as they may take.
async fn sampled(devnet: &Devnet, heights: &[u64]) -> Result<Vec<usize>> {
    let deadline = Instant::now() + SAMPLED_WITHIN;
    loop {
        let mut counts = vec![0; heights.len()];
        for light in &devnet.lights {
            let status = light_status(&light.status).await?;
            for (count, height) in counts.iter_mut().zip(heights) {
                let reported = status.heights.iter().find(|report| report.height == *height);
                *count +=
                    usize::from(reported.is_some_and(|r| matches!(r.state, StateReport::Available { .. })));
            }
        }
        if counts.iter().all(|count| *count == devnet.lights.len()) || Instant::now() > deadline {
            return Ok(counts);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Reads a blob twice and compares every byte: by commitment, and as a part of its complete namespace.
async fn read_back(client: &Client, row: &BlobRow, file: &DataFile) -> Result<bool> {
    let mut commitment = [0; 32];
    hex::decode_to_slice(&row.commitment, &mut commitment)?;
    let blob = client.get(commitment).await?;
    let list = client.list(row.height, file.namespace).await?;
    let listed = client.read(&list).await?;
    let among =
        listed.iter().any(|blob| blob.entry().commitment == commitment && blob.bytes()[..] == file.bytes[..]);
    Ok(blob.bytes()[..] == file.bytes[..] && among)
}

/// Fills one block of the largest default size, and measures what sampling it costs a light client.
async fn full_block(
    devnet: &Devnet,
    client: &Client,
    key: &SecretKey,
    files: &[DataFile],
    failures: &mut Vec<String>,
) -> Result<Vec<LightRow>> {
    step("filling one block to 8 MiB: eight blobs of real bytes in three transactions");
    let bytes: Vec<u8> = files.iter().flat_map(|file| file.bytes.iter().copied()).collect();
    ensure!(!bytes.is_empty(), "no data to fill a block with");
    let filling = |at: usize| {
        let bytes = bytes.iter().cycle().skip(at * 7_919).take(FILLING_BYTES).copied().collect();
        NewBlob {
            namespace: Namespace::from_user_id([0xf1; 10]),
            bytes,
            foreign: vec![ForeignKind::Keccak256],
        }
    };
    let mut prepared = Vec::new();
    for part in (0..FILLING_BLOBS).collect::<Vec<_>>().chunks(3) {
        let blobs = part.iter().copied().map(filling).collect();
        prepared.push(client.prepare(key, blobs, SubmitOptions::default()).await?);
    }
    let mut before = Vec::new();
    for light in &devnet.lights {
        before.push(light_status(&light.status).await?);
    }
    let started = Instant::now();
    for submission in &prepared {
        client.send(submission, None).await?;
    }
    let mut heights = Vec::new();
    for submission in &prepared {
        heights.push(client.confirm(submission, |_| ()).await?.header.height());
    }
    let seconds = started.elapsed().as_secs_f64();
    let counts = sampled(devnet, &heights).await?;
    if counts.iter().any(|count| *count < LIGHTS) {
        failures.push(format!("the full block was sampled by {counts:?} of {LIGHTS} light clients"));
    }
    heights.dedup();
    step(&format!("8 MiB final after {seconds:.1} s in block {heights:?}, sampled by all light clients"));
    let mut rows = Vec::new();
    for (light, before) in devnet.lights.iter().zip(before) {
        let status = light_status(&light.status).await?;
        let on_the_wire = |status: &Status| status.wire_bytes.received + status.wire_bytes.sent;
        let blocks = status.blocks_sampled.saturating_sub(before.blocks_sampled);
        let bytes = on_the_wire(&status).saturating_sub(on_the_wire(&before));
        let reached = heights
            .iter()
            .filter_map(|height| status.heights.iter().find(|report| report.height == *height))
            .find(|report| report.width == Some(128));
        let row = LightRow {
            confidence: reached.and_then(|report| report.state.confidence()).unwrap_or_default(),
            resident_bytes: status.resident_bytes,
            wire_bytes_per_block: bytes.checked_div(blocks).unwrap_or(u64::MAX),
            blocks_sampled: status.blocks_sampled,
        };
        if row.confidence < 0.999 {
            failures.push(format!("{} reached {} at k = 128", light.process.name, row.confidence));
        }
        if row.resident_bytes > LIGHT_RESIDENT_BYTES || row.wire_bytes_per_block > LIGHT_WIRE_BYTES {
            failures.push(format!(
                "{} uses {} bytes of memory (limit {LIGHT_RESIDENT_BYTES}) and {} bytes a block (limit {LIGHT_WIRE_BYTES})",
                light.process.name, row.resident_bytes, row.wire_bytes_per_block
            ));
        }
        rows.push(row);
    }
    Ok(rows)
}

async fn kill_a_validator(devnet: &mut Devnet, failures: &mut Vec<String>) -> Result<()> {
    step("killing validator-0");
    devnet.nodes[0].process.kill().await?;
    let api = devnet.full_node().running.api.clone();
    let before = height_of(&api).await?;
    let started = Instant::now();
    let client = Client::new(std::slice::from_ref(&api), Some(devnet.network()?))?;
    let blob = NewBlob {
        namespace: Namespace::from_user_id([0xde; 10]),
        bytes: b"three of four validators are enough".to_vec(),
        foreign: Vec::new(),
    };
    let key = dev_key(1)?;
    let receipt = tokio::time::timeout(
        Duration::from_secs(60),
        client.submit_and_wait(&key, vec![blob], SubmitOptions::default()),
    )
    .await;
    match receipt {
        Ok(receipt) => {
            let height = receipt?.header.height();
            ensure!(height > before, "a new blob is in the old block {height}");
            step(&format!(
                "blocks go on: a blob is final at height {height} after {:.1} s",
                started.elapsed().as_secs_f64()
            ));
        }
        Err(_) => failures.push("no block within 60 s of a validator's death".into()),
    }
    Ok(())
}

/// Reads a blob through a node that flips one of its bytes, with the honest node as second choice.
async fn read_from_a_liar(
    honest: &str,
    network: &chain::NetworkConfig,
    rows: &[BlobRow],
    failures: &mut Vec<String>,
) -> Result<()> {
    let row = rows.first().ok_or_else(|| anyhow!("no blob to lie about"))?;
    let mut commitment = [0; 32];
    hex::decode_to_slice(&row.commitment, &mut commitment)?;
    let liar = Liar::start(honest).await?;
    step(&format!("reading {} from {}, a full node that lies about its bytes", row.file, liar.url()));
    let client = Client::new(&[liar.url().to_owned(), honest.to_owned()], Some(network.clone()))?;
    let blob = client.get(commitment).await?;
    if blob.bytes().len() as u64 != row.bytes {
        bail!("the honest node gave another blob");
    }
    match client.rejected_nodes().as_slice() {
        [rejected] if rejected.proof == ProofKind::Commitment => {
            step(&format!("the client noticed ({rejected}) and read it from {honest}"));
        }
        other => failures.push(format!("the lying node was not named: {other:?}")),
    }
    Ok(())
}
