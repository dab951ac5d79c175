use std::time::Duration;

use tokio::time::Instant;

use crate::app::Pace;
use crate::network::{LIMIT, Network};

/// CPU time of the calling thread, from the kernel (in ticks of 10 ms).
fn thread_cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    let ticks = after_name.split_whitespace().skip(11).take(2).map(|t| t.parse::<u64>().unwrap());
    Duration::from_millis(10 * ticks.sum::<u64>())
}

/// On one thread, so that its CPU time is that of all four nodes.
#[tokio::test(flavor = "current_thread")]
async fn an_idle_chain_waits_without_spinning_and_work_makes_a_block_at_once() {
    let pace = Pace { interval: Duration::from_millis(50), idle: Duration::from_secs(600) };
    let network = Network::start(4, 0, pace).await;
    network.reach(1).await;

    let window = Duration::from_secs(3);
    let before = thread_cpu();
    let mut tip = network.nodes[0].app.tip.subscribe();
    let block = tokio::time::timeout(window, tip.wait_for(|tip| *tip > 1)).await;
    assert!(block.is_err(), "a block without work");
    let used = thread_cpu() - before;
    assert!(used < window / 5, "{used:?} of CPU in {window:?}");

    for height in 2..=6 {
        let nudged = Instant::now();
        for node in &network.nodes {
            node.app.work.send_replace(true);
        }
        network.reach(height).await;
        let took = nudged.elapsed();
        assert!(took < Duration::from_secs(1), "height {height} took {took:?}");
    }
    network.stop().await;
}

/// The others learn from a proposal or a vote that somebody has started.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn work_that_one_node_knows_of_starts_them_all() {
    let pace = Pace { interval: Duration::from_millis(50), idle: LIMIT * 2 };
    let network = Network::start(4, 0, pace).await;
    network.reach(1).await;
    network.nodes[2].app.work.send_replace(true);
    network.reach(2).await;
    network.stop().await;
}
