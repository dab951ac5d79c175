//! Consensus carries digests: how the time from a header to its decision grows with the block, when bodies have
//! been spread before. `make bench-consensus` writes `target/bench/consensus.json`.

use std::{collections::BTreeMap, fs, path::Path, time::Duration};

use blob_api::{NewBlob, SubmitOptions};
use chain::Height;
use da_node::{devnet::height_of, home::KeyRole, run::consensus_address};
use netlab::Link;
use serde_json::{Value, json};
use tendermint::Time;
use tokio::time::sleep;

use crate::{
    faults::{
        alone,
        field::{Field, VALIDATORS},
    },
    support::{blob, bytes, eventually, light_block, namespace},
};

/// Between two blocks: bodies spread in the meantime.
const INTERVAL: Duration = Duration::from_secs(6);

/// Of it, how long before the next block bytes are counted.
const COUNTED: Duration = Duration::from_secs(1);

/// How much longer the decision on the larger block may take over far links.
const GROWTH: f64 = 1.5;

/// What a proposer may send to each validator for a block of large blobs.
const PROPOSER_BYTES: u64 = 64 << 10;

/// Blocks of each kind.
const ROUNDS: u64 = 3;

/// One-share blobs in a transaction.
const A_TRANSACTION: usize = 64;

/// One-share blobs whose headers nearly fill the transaction blob of 1 MiB.
const ONE_SHARE_BLOBS: usize = 8_192;

/// What a block is filled with: bytes of each blob, blobs. Eight of almost 1 MiB leave room for the transactions.
const FILLS: [(usize, usize); 4] =
    [(256 << 10, 1), ((1 << 20) - (4 << 10), 8), (512, 512), (512, ONE_SHARE_BLOBS)];

#[derive(Debug)]
struct Measured {
    proposer_bytes: u64,
    seconds: f64,
}

#[test]
#[ignore = "minutes: make bench-consensus"]
fn the_time_to_a_decision_hardly_grows_with_the_block() {
    alone("digests::the_time_to_a_decision_hardly_grows_with_the_block", async || {
        let field = Field::idle(None, |genesis| {
            genesis.parameters.block_interval_ms = INTERVAL.as_millis() as u64;
            genesis.parameters.idle_interval_ms = 10 * INTERVAL.as_millis() as u64;
        })
        .await;
        // An idle chain decides a transaction at once; from then on each block is an interval after the one before.
        offer(&field, 1, vec![vec![blob(9, bytes(0, 100), &[])]]).await;
        eventually(INTERVAL, "a block", async || {
            height_of(&field.api(1)).await.is_ok_and(|height| height > 1).then_some(())
        })
        .await;
        let (mut rows, mut missed) = (Vec::new(), Vec::new());
        for link_ms in [75, 0] {
            field.lab.set_all(Link::delayed(Duration::from_millis(link_ms)));
            for pair in FILLS.chunks(2) {
                let small = measure(&field, pair[0]).await;
                let full = measure(&field, pair[1]).await;
                for (fill, measured) in pair.iter().zip([&small, &full]) {
                    rows.push(row(*fill, link_ms, measured, &small));
                }
                let growth = full.seconds / small.seconds;
                println!("{link_ms} ms: {:?} grows {growth:.2} times to {:?}", pair[0], pair[1]);
                if link_ms > 0 && growth >= GROWTH {
                    missed.push(format!("{growth:.2} times from {:?} to {:?}", pair[0], pair[1]));
                }
                if pair[1].0 > 512 && full.proposer_bytes >= PROPOSER_BYTES {
                    missed.push(format!("{} bytes from the proposer to a validator", full.proposer_bytes));
                }
            }
        }
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../bench");
        fs::create_dir_all(&out).unwrap();
        fs::write(out.join("consensus.json"), format!("{:#}\n", Value::from(rows))).unwrap();
        assert!(missed.is_empty(), "{missed:?}");
    });
}

fn row((len, blobs): (usize, usize), link_ms: u64, measured: &Measured, small: &Measured) -> Value {
    let row = json!({
        "block_bytes": len * blobs,
        "blobs": blobs,
        "link_ms": link_ms,
        "proposer_bytes_per_validator": measured.proposer_bytes,
        "seconds_to_decide_median": measured.seconds,
        "added_ms": (measured.seconds - small.seconds) * 1e3,
    });
    println!("{row}");
    row
}

async fn measure(field: &Field, fill: (usize, usize)) -> Measured {
    let mut rounds = Vec::new();
    let before = stages(field).await;
    for round in 0..ROUNDS {
        rounds.push(one_block(field, fill, round).await);
    }
    let spent = stages(field).await.into_iter().map(|(stage, (seconds, count))| {
        let (seconds_before, count_before) = before.get(&stage).copied().unwrap_or_default();
        format!("{stage} {:.0}", (seconds - seconds_before) / (count - count_before).max(1.0) * 1e3)
    });
    println!("{fill:?}, mean ms: {}", spent.collect::<Vec<_>>().join(", "));
    rounds.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let proposer_bytes = rounds.iter().map(|round| round.proposer_bytes).max().unwrap();
    Measured { proposer_bytes, seconds: rounds[rounds.len() / 2].seconds }
}

/// Fills the pools right after a block, waits until just before the next, and sees that one decided.
async fn one_block(field: &Field, (len, blobs): (usize, usize), round: u64) -> Measured {
    let tip = height_of(&field.api(1)).await.unwrap();
    let header = light_block(&field.api(1), tip).await.signed_header.header;
    let a_transaction = if len <= 512 { A_TRANSACTION } else { 2 };
    let mut offers: Vec<Vec<Vec<NewBlob>>> = vec![Vec::new(); VALIDATORS];
    let seeds: Vec<u64> = (0..blobs as u64).map(|at| (round << 40) + ((len as u64) << 20) + at).collect();
    for (number, seeds) in seeds.chunks(a_transaction).enumerate() {
        offers[number % VALIDATORS].push(seeds.iter().map(|seed| blob(3, bytes(*seed, len), &[])).collect());
    }
    let offers = offers.into_iter().enumerate().map(|(at, offers)| offer(field, at + 1, offers));
    futures::future::join_all(offers).await;
    let since = now().duration_since(header.time).unwrap();
    assert!(since + COUNTED < INTERVAL, "submitting took {since:?}");
    sleep(INTERVAL - COUNTED - since).await;
    let before = counters(field);
    let height = tip + 1;
    for number in 1..=VALIDATORS {
        eventually(Duration::from_secs(60), "the block", async || decided_at(field, number, height)).await;
    }
    let after = counters(field);
    let block = light_block(&field.api(1), height).await.signed_header.header;
    let held = field.client(&[1]).await.list(height, namespace(3)).await.unwrap();
    assert_eq!(held.entries().len(), blobs, "the block holds all that was submitted for it");
    let mut waited: Vec<_> = (1..=VALIDATORS)
        .map(|number| decided_at(field, number, height).unwrap().duration_since(block.time).unwrap())
        .collect();
    waited.sort();
    let proposer = (1..=VALIDATORS)
        .find(|number| {
            let seed = field.home(*number).key(KeyRole::Consensus).unwrap();
            consensus_address(&seed).unwrap() == block.proposer_address
        })
        .unwrap();
    let proposer_bytes = (0..VALIDATORS).map(|to| after[proposer - 1][to] - before[proposer - 1][to]).max();
    Measured { proposer_bytes: proposer_bytes.unwrap(), seconds: waited[VALIDATORS / 2].as_secs_f64() }
}

/// Seconds and calls of each stage so far, over all validators.
async fn stages(field: &Field) -> BTreeMap<String, (f64, f64)> {
    let mut stages: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for number in 1..=VALIDATORS {
        let answer = reqwest::get(format!("{}/metrics", field.api(number))).await.unwrap();
        for line in answer.text().await.unwrap().lines() {
            let Some((name, rest)) = line.split_once("{stage=\"") else { continue };
            let (stage, value) = rest.split_once("\"} ").unwrap_or_default();
            let Ok(value) = value.parse::<f64>() else { continue };
            let entry = stages.entry(stage.to_owned()).or_default();
            match name {
                "weft_node_stage_seconds_sum" => entry.0 += value,
                "weft_node_stage_seconds_count" => entry.1 += value,
                _ => {}
            }
        }
    }
    stages.retain(|_, (_, count)| *count > 0.0);
    stages
}

fn now() -> Time {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Time::from_unix_timestamp(since.as_secs() as i64, since.subsec_nanos()).unwrap()
}

/// Bytes from each validator to each.
fn counters(field: &Field) -> Vec<Vec<u64>> {
    let to = |from| (1..=VALIDATORS).map(|to| field.lab.sent(from, to)).collect();
    (1..=VALIDATORS).map(to).collect()
}

/// Submits to one validator, a transaction each.
async fn offer(field: &Field, validator: usize, transactions: Vec<Vec<NewBlob>>) {
    let key = field.home(validator).account(KeyRole::Operator).unwrap();
    let client = field.client(&[validator]).await;
    for blobs in transactions {
        client.submit(&key, blobs, SubmitOptions::default()).await.unwrap();
    }
}

/// When a validator committed the block, by its own log.
fn decided_at(field: &Field, number: usize, height: Height) -> Option<Time> {
    let log = fs::read_to_string(field.log(number)).unwrap();
    let line =
        log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok()).find(|line| {
            let fields = &line["fields"];
            fields["message"] == "block committed"
                && fields["height"].to_string().trim_matches('"') == height.to_string()
        })?;
    Time::parse_from_rfc3339(line["timestamp"].as_str()?).ok()
}
