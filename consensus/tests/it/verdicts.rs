use std::time::Duration;

use crate::app::Pace;
use crate::network::{FAST, LIMIT, Network};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_waits_for_what_it_misses_and_is_decided_when_told() {
    let network = Network::start(4, 0, FAST).await;
    network.reach(2).await;
    network
        .nodes
        .iter()
        .for_each(|node| drop(node.app.missing_from.send_replace(node.tip() + 3)));
    let stuck = network
        .nodes
        .iter()
        .map(|node| *node.app.missing_from.borrow())
        .max()
        .unwrap();
    network
        .nodes
        .iter()
        .for_each(|node| drop(node.app.missing_from.send_replace(stuck)));
    network.reach(stuck - 1).await;
    for node in &network.nodes {
        let mut watch = node.handle.watch();
        let later_round = watch.wait_for(|view| view.height == stuck && view.round > 0);
        tokio::time::timeout(LIMIT, later_round)
            .await
            .unwrap()
            .unwrap();
    }
    assert!(network.nodes.iter().all(|node| node.tip() == stuck - 1));

    for node in &network.nodes {
        node.app.missing_from.send_replace(u64::MAX);
        node.handle.completed(stuck.try_into().unwrap()).await;
    }
    network.reach(stuck + 2).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_proposal_costs_its_round() {
    let pace = Pace {
        interval: Duration::from_millis(20),
        idle: LIMIT * 2,
    };
    let network = Network::start(4, 0, pace).await;
    network.reach(1).await;
    for node in &network.nodes {
        node.app.invalid_at.send_replace(2);
        node.app.work.send_replace(true);
    }
    network.reach(2).await;
    for node in &network.nodes {
        let commit = &node.app.signed_headers()[1].commit;
        assert_ne!(commit.round.value(), 0);
    }
    network.stop().await;
}
