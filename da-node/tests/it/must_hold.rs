//! The promises in numbers, with four validators and everything else on this machine's two cores.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use blob_api::SubmitOptions;
use chain::Height;
use da_node::devnet::dev_key;
use tendermint::Time;
use tokio::task::JoinSet;

use crate::support::{Network, blob, bytes, eventually, light_block};

const LIGHTS: usize = 3;

/// Nothing happened for so long on an idle chain.
const IDLE: Duration = Duration::from_secs(3);

/// Share of a core that all idle nodes may use together.
const IDLE_CORES: f64 = 0.3;

/// A lone blob on an idle chain.
const FINAL_WITHIN: Duration = Duration::from_secs(2);

/// Between two blocks while there is work.
const BLOCK_WITHIN: Duration = Duration::from_secs(2);

/// A full block, from its first byte to the last vote.
const FULL_BLOCK_WITHIN: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn lone_blobs_full_blocks_and_load_take_as_long_as_promised_slow() {
    let mut network = Network::start().await;
    lone_blob(&network).await;
    network.devnet.start_lights(LIGHTS).await.unwrap();
    full_block(&network).await;
    load(&network).await;
    network.stop().await;
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Time::from_unix_timestamp(since.as_secs() as i64, since.subsec_nanos()).unwrap()
}

/// What the nodes have used of the cores so far: fields 14 and 15 of `/proc/<pid>/stat`, in hundredths of a second.
fn cpu(network: &Network) -> Duration {
    let ticks = network.devnet.nodes.iter().map(|node| {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", node.running.pid)).unwrap();
        let (_, after_name) = stat.rsplit_once(") ").unwrap();
        let fields = after_name.split(' ').skip(11).take(2);
        fields.map(|field| field.parse::<u64>().unwrap()).sum::<u64>()
    });
    Duration::from_millis(10 * ticks.sum::<u64>())
}

async fn time_of(network: &Network, height: Height) -> Time {
    light_block(network.api(4), height).await.signed_header.header.time
}

async fn lone_blob(network: &Network) {
    let client = network.client(4);
    let (before, spent, started) = (network.height().await, cpu(network), Instant::now());
    eventually(Duration::from_secs(30), "three idle seconds", async || {
        let last = client.status().await.unwrap().block_time?;
        (now().duration_since(last).ok()? >= IDLE).then_some(())
    })
    .await;
    assert!(network.height().await <= before + 1, "an idle chain makes no blocks");
    let busy = (cpu(network) - spent).as_secs_f64() / started.elapsed().as_secs_f64();
    println!("five idle nodes keep {:.1} % of a core busy", busy * 100.0);
    assert!(busy < IDLE_CORES, "{busy} of a core");
    let prepared = client
        .prepare(&dev_key(1).unwrap(), vec![blob(1, bytes(1, 10_000), &[])], SubmitOptions::default())
        .await
        .unwrap();
    let started = Instant::now();
    client.send(&prepared, None).await.unwrap();
    client.wait(prepared.id(), |_| ()).await.unwrap();
    let taken = started.elapsed();
    println!("a lone blob is final after {taken:?}");
    assert!(taken < FINAL_WITHIN, "final after {taken:?}");
}

/// Eight blobs that fill a square of width 128 but for its last shares.
async fn full_block(network: &Network) {
    let client = network.client(4);
    let blobs = (0..8).map(|at| blob(2, bytes(10 + at, 1_040_000), &[])).collect();
    let prepared = client.prepare(&dev_key(1).unwrap(), blobs, SubmitOptions::default()).await.unwrap();
    let started = Instant::now();
    client.send(&prepared, None).await.unwrap();
    let receipt = client.confirm(&prepared, |_| ()).await.unwrap();
    let taken = started.elapsed();
    println!("8 MiB are final after {taken:?}");
    assert!(taken < FULL_BLOCK_WITHIN, "final after {taken:?}");
    let height = receipt.header.height();
    let reports = network.sampled(height).await;
    println!("and sampled by all after {:?}", started.elapsed());
    assert_eq!(reports.len(), LIGHTS);
    for (confidence, width) in reports {
        assert_eq!(width, Some(128));
        assert!(confidence >= 0.999, "{confidence}");
    }
}

/// Four nodes take submissions at the same time, one after the other each.
async fn load(network: &Network) {
    let mut tasks = JoinSet::new();
    for node in 0..4 {
        let client = network.client(node);
        tasks.spawn(async move {
            let key = dev_key(1 + node % 2).unwrap();
            let mut heights = Vec::new();
            for at in 0..5u64 {
                let blobs = vec![blob(3, bytes(100 * node as u64 + at, 250_000), &[])];
                let receipt = client.submit_and_wait(&key, blobs, SubmitOptions::default()).await.unwrap();
                heights.push(receipt.header.height());
            }
            heights
        });
    }
    let heights: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    let (first, last) = (*heights.iter().min().unwrap(), *heights.iter().max().unwrap());
    let mut before = time_of(network, first).await;
    for height in first + 1..=last {
        let time = time_of(network, height).await;
        let gap = time.duration_since(before).unwrap();
        println!("block {height} after {gap:?}");
        assert!(gap <= BLOCK_WITHIN, "block {height} came after {gap:?}");
        before = time;
    }
}
