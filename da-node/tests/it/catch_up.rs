//! How fast nodes catch up with a chain that goes on: away for a thousand blocks, from genesis, from a snapshot, when
//! nobody has the squares of those blocks any more. `make catch-up` prints the numbers.

use std::time::{Duration, Instant};

use blob_api::SubmitOptions;
use da_node::{
    devnet::{dev_key, height_of},
    home::Home,
};
use tokio::time::sleep;

use crate::{
    snapshot::{snapshot, trust},
    support::{Network, blob, bytes, eventually, light_block},
};

/// Blocks that one node misses.
const AWAY: u64 = 1_000;

/// How long squares are kept here.
const RETENTION_SECONDS: u64 = 15;

/// Shortest and longest time between two blocks here.
const INTERVAL_MS: u64 = 50;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(900);

/// Pause between two small blobs, and between two looks at what every node has dropped.
const PAUSE: Duration = Duration::from_millis(500);

async fn height(api: &str) -> u64 {
    height_of(api).await.unwrap_or(0)
}

/// Waits until the node `at` has what the others have by then, and prints how fast it came from height `from`.
async fn catches_up(network: &Network, what: &str, at: usize, from: u64, started: Instant) {
    let tip = height(network.api(0)).await;
    let reached = eventually(PATIENCE, what, async || {
        let (own, others) = (height(network.api(at)).await, height(network.api(0)).await);
        (own >= tip && own + 3 >= others).then_some(own)
    })
    .await;
    let (blocks, took) = (reached - from, started.elapsed());
    println!(
        "{what}: {blocks} blocks in {:.1} s, {:.0} blocks/s; {} of them made meanwhile",
        took.as_secs_f64(),
        blocks as f64 / took.as_secs_f64(),
        reached.saturating_sub(tip)
    );
    let hash = async |api: &str| light_block(api, reached - 1).await.signed_header.header.hash();
    assert_eq!(hash(network.api(at)).await, hash(network.api(0)).await);
}

/// The height up to which a node has dropped its squares.
async fn pruned(api: &str) -> u64 {
    let metrics = reqwest::get(format!("{api}/metrics")).await.unwrap().text().await.unwrap();
    let line = metrics.lines().find(|line| line.starts_with("weft_node_pruned_height_blocks "));
    line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes: make catch-up"]
async fn nodes_catch_up_with_a_thousand_blocks_whose_squares_nobody_has() {
    let mut network = Network::start_with(|genesis| {
        genesis.parameters.block_interval_ms = INTERVAL_MS;
        genesis.parameters.idle_interval_ms = INTERVAL_MS;
        genesis.parameters.retention_seconds = RETENTION_SECONDS;
    })
    .await;
    let client = network.client(0);
    let load = tokio::spawn(async move {
        let key = dev_key(1).unwrap();
        for seed in 0.. {
            let blobs = vec![blob(1, bytes(seed, 10_000), &[])];
            if let Err(error) = client.submit(&key, blobs, SubmitOptions::default()).await {
                println!("a blob was not taken: {error}");
            }
            sleep(PAUSE).await;
        }
    });
    let left = network.height().await;
    network.devnet.nodes[4].process.stop().await.unwrap();
    let started = Instant::now();
    eventually(PATIENCE, "a thousand blocks without squares", async || {
        sleep(PAUSE).await;
        let mut all = true;
        for at in 0..4 {
            all &= pruned(network.api(at)).await >= left + AWAY;
        }
        all.then_some(())
    })
    .await;
    let tip = height(network.api(0)).await;
    println!("the chain made {:.1} blocks/s", (tip - left) as f64 / started.elapsed().as_secs_f64());

    let started = Instant::now();
    network.devnet.restart(4).await.unwrap();
    catches_up(&network, "away for a thousand blocks", 4, left, started).await;

    let started = Instant::now();
    let fresh = network.devnet.add_full_node("fresh", async |_: &Home| Ok(())).await.unwrap();
    catches_up(&network, "from genesis", fresh, 0, started).await;

    let url = network.api(1).to_owned();
    let trusted = trust(&url, height(&url).await).await;
    let started = Instant::now();
    let load_snapshot = async |home: &Home| {
        let said = snapshot(home, &["load", "--from", &url, "--trust", &trusted]).await.unwrap();
        println!("{said}");
        Ok(())
    };
    let base = height(&url).await;
    let late = network.devnet.add_full_node("late", load_snapshot).await.unwrap();
    catches_up(&network, "from a snapshot", late, base, started).await;

    // They have the squares of new blocks, too.
    load.abort();
    let client = network.client(2);
    let receipt = client
        .submit_and_wait(
            &dev_key(2).unwrap(),
            vec![blob(2, bytes(1 << 40, 9_000), &[])],
            SubmitOptions::default(),
        )
        .await
        .unwrap();
    let path = format!("v1/blob/{}", hex::encode(receipt.entries[0].commitment));
    for at in [4, fresh, late] {
        eventually(PATIENCE, "a new blob", async || {
            let answer = reqwest::get(format!("{}/{path}", network.api(at))).await.ok()?;
            answer.status().is_success().then_some(())
        })
        .await;
    }
    network.stop().await;
}
