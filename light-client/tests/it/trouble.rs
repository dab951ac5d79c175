//! Laptops that sleep, Wi-Fi that is gone, packets that are lost, peers that trickle or claim to
//! have nothing: no false alarm, and never a false success.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use light_client::{Config, Event};

use crate::chain_of_blocks::{Chain, square};
use crate::link::{Link, Mode};
use crate::node::{Behaviour, Node, Running, config_for, config_over, impatient, shared};

/// Lets a client that has sampled blocks 1 to 3 hear of block 4, of which nobody has a cell yet.
async fn waiting_for_block_4(
    config: Config,
    home: &std::path::Path,
) -> (Arc<RwLock<Chain>>, [Node; 2], [Link; 2], Running) {
    let chain = shared(Chain::of(&[2, 8, 16]));
    let nodes = [Node::start(&chain, Behaviour::Honest).await, Node::start(&chain, Behaviour::Honest).await];
    let links = [Link::to(&nodes[0]).await, Link::to(&nodes[1]).await];
    let network = config_over(&chain, 1, &[&links[0], &links[1]]);
    let mut running = Running::start(network, home, config).await;
    running.until_available(1..=3).await;
    for node in &nodes {
        node.behave(Behaviour::NothingFrom(4));
    }
    chain.write().unwrap().push(square(16, 9));
    nodes[0].gossip_latest().await;
    running.until(|event| matches!(event, Event::HeaderVerified { height: 4 }).then_some(())).await;
    (chain, nodes, links, running)
}

/// Waits until blocks are available and panics at any alarm; says whether `wanted` was seen.
async fn no_alarm_until(running: &mut Running, heights: &[u64], wanted: impl Fn(&Event) -> bool) -> bool {
    let mut open = heights.to_vec();
    let mut seen = false;
    running
        .until(|event| {
            seen |= wanted(event);
            match event {
                Event::Available { height, .. } => open.retain(|open| open != height),
                Event::Unavailable { height, .. } => panic!("false alarm at {height}"),
                _ => {}
            }
            open.is_empty().then_some(())
        })
        .await;
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_laptop_that_slept_raises_no_alarm_and_catches_up() {
    let home = tempfile::tempdir().unwrap();
    let mut config = impatient();
    config.timing.deadline = Duration::from_secs(60);
    let clock = config.clock.clone();
    let (chain, nodes, links, mut running) = waiting_for_block_4(config, home.path()).await;

    // Asleep: the machine sees nothing, then hours have passed and its connections are dead.
    links.iter().for_each(|link| link.set(Mode::Cut));
    nodes.iter().for_each(|node| node.behave(Behaviour::Honest));
    for fill in 0..5 {
        chain.write().unwrap().push(square(8, fill));
    }
    clock.jump(Duration::from_secs(8 * 3_600));
    running.until(|event| matches!(event, Event::Slept { .. }).then_some(())).await;
    links.iter().for_each(|link| link.set(Mode::Works));
    no_alarm_until(&mut running, &[4, 5, 6, 7, 8, 9], |_| false).await;
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_wifi_is_offline_and_no_alarm() {
    let home = tempfile::tempdir().unwrap();
    let mut config = impatient();
    config.timing.deadline = Duration::from_secs(3);
    let (_chain, nodes, links, mut running) = waiting_for_block_4(config, home.path()).await;

    // The block's cells are denied, then nothing arrives any more, controls included.
    links.iter().for_each(|link| link.set(Mode::Silent));
    running
        .until(|event| match event {
            Event::Unavailable { .. } => panic!("false alarm"),
            Event::Offline { .. } => Some(()),
            _ => None,
        })
        .await;
    assert!(running.client.status().await.unwrap().offline_since.is_some());

    nodes.iter().for_each(|node| node.behave(Behaviour::Honest));
    links.iter().for_each(|link| link.set(Mode::Works));
    assert!(no_alarm_until(&mut running, &[4], |event| matches!(event, Event::Online)).await);
    assert!(running.client.status().await.unwrap().offline_since.is_none());

    // All connections cut at once, as when the address changes.
    links.iter().for_each(|link| link.set(Mode::Cut));
    running.until(|event| matches!(event, Event::Offline { .. }).then_some(())).await;
    links.iter().for_each(|link| link.set(Mode::Works));
    running.until(|event| matches!(event, Event::Online).then_some(())).await;
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fifth_of_all_packets_lost_raises_no_alarm() {
    const BLOCKS: u64 = 30;
    let chain = shared(Chain::of(&[16]));
    let mut links = Vec::new();
    let mut nodes = Vec::new();
    for _ in 0..3 {
        let node = Node::start_on("/ip4/127.0.0.1/udp/0/quic-v1", &chain, Behaviour::Honest).await;
        links.push(Link::losing(20, &node).await);
        nodes.push(node);
    }
    let home = tempfile::tempdir().unwrap();
    let network = config_over(&chain, 1, &links.iter().collect::<Vec<_>>());
    // The patience of a laptop, not that of a test.
    let config = Config { poll_after: Duration::from_millis(500), ..Config::default() };
    let mut running = Running::start(network, home.path(), config).await;
    no_alarm_until(&mut running, &[1], |_| false).await;
    let mut took = Vec::new();
    let mut offline = 0;
    for height in 2..=BLOCKS {
        chain.write().unwrap().push(square(16, height as u8));
        let at = Instant::now();
        let seen = no_alarm_until(&mut running, &[height], |e| matches!(e, Event::Offline { .. })).await;
        offline += u32::from(seen);
        took.push(at.elapsed());
    }
    took.sort();
    println!(
        "20 % loss each way over QUIC, {BLOCKS} blocks: 0 alarms, {offline} times offline; \
         available after {:?} (median), {:?} (worst)",
        took[took.len() / 2],
        took[took.len() - 1]
    );
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_trickles_is_hedged_and_alone_is_offline() {
    let chain = shared(Chain::of(&[2, 16]));
    let trickling = Node::start(&chain, Behaviour::Honest).await;
    let honest = Node::start(&chain, Behaviour::Honest).await;
    let links = [Link::to(&trickling).await, Link::to(&honest).await];
    let home = tempfile::tempdir().unwrap();
    let network = config_over(&chain, 1, &[&links[0], &links[1]]);
    let mut running = Running::start(network, home.path(), impatient()).await;
    no_alarm_until(&mut running, &[1, 2], |_| false).await;

    links[0].set(Mode::Trickles);
    chain.write().unwrap().push(square(16, 3));
    no_alarm_until(&mut running, &[3], |_| false).await;

    // Block 4's header is there; then both trickle.
    for node in [&trickling, &honest] {
        node.behave(Behaviour::NothingFrom(4));
    }
    chain.write().unwrap().push(square(16, 4));
    running.until(|event| matches!(event, Event::HeaderVerified { height: 4 }).then_some(())).await;
    links[1].set(Mode::Trickles);
    running
        .until(|event| match event {
            Event::Offline { .. } => Some(()),
            Event::Available { height: 4, .. } | Event::Unavailable { .. } => panic!("{event:?}"),
            _ => None,
        })
        .await;
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_claim_to_have_nothing_are_neither_success_nor_hindrance() {
    let chain = shared(Chain::of(&[2, 16, 16]));
    let empty = Node::start(&chain, Behaviour::NothingFrom(0)).await;
    let full = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&chain, 1, &[&empty, &full]);
    let mut running = Running::start(network, home.path(), impatient()).await;
    no_alarm_until(&mut running, &[1, 2, 3], |_| false).await;

    // Nobody has the new block, though the full one answers for older ones: an alarm.
    full.behave(Behaviour::NothingFrom(4));
    chain.write().unwrap().push(square(16, 9));
    let asked = running
        .until(|event| match event {
            Event::Unavailable { height: 4, cells, asked } => {
                assert!(!cells.is_empty());
                Some(asked.clone())
            }
            _ => None,
        })
        .await;
    assert!(asked.contains(&full.network.id()));

    // Nobody answers for anything any more: nothing can be said.
    full.behave(Behaviour::NothingFrom(0));
    chain.write().unwrap().push(square(16, 10));
    running
        .until(|event| match event {
            Event::Offline { .. } => Some(()),
            Event::Available { .. } | Event::Unavailable { height: 5, .. } => panic!("{event:?}"),
            _ => None,
        })
        .await;
    full.behave(Behaviour::Honest);
    running.until(|event| matches!(event, Event::Available { height: 5, .. }).then_some(())).await;
    running.client.stop().await.unwrap();
}
