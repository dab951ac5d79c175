use std::time::Duration;

use crate::app::Pace;
use crate::network::{LIMIT, Network};

const ON_WORK: Pace = Pace { interval: Duration::from_millis(20), idle: LIMIT };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_waits_for_what_it_misses_and_is_decided_when_told() {
    let mut network = Network::start(4, 0, ON_WORK).await;
    network.reach(1).await;
    for node in &network.nodes {
        node.app.missing_from.send_replace(2);
        node.app.work.send_replace(true);
    }
    for node in &network.nodes {
        node.reach_round(2, 1).await;
    }

    // One goes and comes back in mid-height: it has votes in its log and proposals in its store.
    let mut restarted = network.nodes.pop().unwrap();
    restarted.handle.stop().await.unwrap();
    restarted.restart(&network.nodes.iter().collect::<Vec<_>>()).await;
    restarted.reach_round(2, 1).await;
    network.nodes.push(restarted);

    for node in &network.nodes {
        assert_eq!(node.tip(), 1);
        node.app.missing_from.send_replace(u64::MAX);
        node.handle.completed(2u32.into()).await;
    }
    network.reach(2).await;
    network.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_invalid_proposal_costs_its_round() {
    let network = Network::start(4, 0, ON_WORK).await;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_its_header_does_not_commit_to_costs_its_round_and_is_judged_by_nobody() {
    let network = Network::start(4, 0, ON_WORK).await;
    network.reach(1).await;
    for node in &network.nodes {
        node.app.detached_at.send_replace(2);
        node.app.work.send_replace(true);
    }
    // An application that is asked about such a body fails the test.
    network.reach(2).await;
    for node in &network.nodes {
        assert_ne!(node.app.signed_headers()[1].commit.round.value(), 0);
    }
    network.stop().await;
}
