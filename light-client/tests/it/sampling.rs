//! Honest networks: what a client finds out, says, serves and costs.

use erasure::{Axis, Coordinates, Sample};
use std::collections::BTreeSet;
use std::sync::Arc;

use light_client::sampler::confidence;
use light_client::{Event, StateReport, Status, http};
use network::{Refusal, Request, RequestError};
use tokio::net::TcpListener;

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_block_from_the_checkpoint_on_becomes_available() {
    let chain = shared(Chain::of(&[2, 4, 16, 2, 64]));
    let (a, b) = (Node::start(&chain, Behaviour::Honest).await, Node::start(&chain, Behaviour::Honest).await);
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 2, &[&a, &b]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available(2..=5).await;

    let status = running.client.status().await.unwrap();
    assert_eq!((status.height, status.available_height), (5, Some(5)));
    assert_eq!((status.blocks_sampled, status.heights.len()), (4, 4));
    let reported: Vec<_> = status.heights.iter().map(|r| (r.height, r.samples, r.width)).collect();
    assert_eq!(reported, [(5, 24, Some(64)), (4, 6, Some(2)), (3, 21, Some(16)), (2, 13, Some(4))]);
    let width = chain.read().unwrap().block(5).unwrap().square.width();
    assert_eq!(status.confidence, Some(confidence(width, 24)));
    // The probe and the drawn cells.
    let asked: BTreeSet<_> = a.asked(5).into_iter().chain(b.asked(5)).collect();
    assert_eq!(asked.len(), 1 + 24);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_block_costs_less_than_48_kb_with_headers_gossiped_by_every_peer() {
    let full = square(128, 1);
    let mut blocks = Chain::new();
    blocks.push(Arc::clone(&full));
    let chain = shared(blocks);
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(Node::start(&chain, Behaviour::Honest).await);
    }
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &nodes.iter().collect::<Vec<_>>());
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available([1]).await;
    for height in 2..=16 {
        chain.write().unwrap().push(Arc::clone(&full));
        for node in &nodes {
            node.gossip_latest().await;
        }
        running.until_available([height]).await;
    }
    let status = running.client.status().await.unwrap();
    println!("{:?}", status.wire_bytes);
    assert!(status.wire_bytes.per_block < 48 * 1024, "{:?}", status.wire_bytes);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_endpoint_tells_scripts_and_monitors() {
    let chain = shared(Chain::of(&[2, 8]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 2, &[]);
    let lonely = Running::start(config, &home.path().join("lonely"), impatient()).await;
    let config = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(config, &home.path().join("served"), impatient()).await;
    running.until_available(1..=2).await;

    let serve = |client: &light_client::Client| {
        let client = client.clone();
        async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            (url, tokio::spawn(http::serve(listener, client)))
        }
    };
    let (url, server) = serve(&running.client).await;
    let get = async |path: &str| reqwest::get(format!("{url}{path}")).await.unwrap();
    let status: Status = get("/status").await.json().await.unwrap();
    assert_eq!((status.chain_id.as_str(), status.height), ("weft-test", 2));
    assert!(status.wire_bytes.received > 0 && status.resident_bytes > 0);
    assert_eq!(status.peers, 1);
    assert_eq!(get("/healthz").await.status(), 200);
    let metrics = get("/metrics").await.text().await.unwrap();
    for line in [
        "weft_light_client_blocks_available_total 2",
        "weft_light_client_available_height 2",
        "weft_network_peers 1",
    ] {
        assert!(metrics.contains(line), "{line} is not in\n{metrics}");
    }
    assert_eq!(get("/nothing").await.status(), 404);

    let (url, _) = serve(&lonely.client).await;
    let answer = reqwest::get(format!("{url}/healthz")).await.unwrap();
    assert_eq!(answer.status(), 503);

    running.client.stop().await.unwrap();
    within(server).await.unwrap().unwrap();
    assert!(running.client.status().await.is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn samples_and_headers_are_served_over_connections_that_the_client_opened() {
    let chain = shared(Chain::of(&[2, 16]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available(1..=2).await;
    assert!(running.client.listen_addrs().is_empty());

    let client = running.client.peer_id();
    let request = |at: Coordinates| Request::Sample {
        height: 2,
        row: at.row,
        column: at.column,
        axis: u8::from(at.axis == Axis::Column),
    };
    let data_root = chain.read().unwrap().block(2).unwrap().square.data_root();
    let mut held = node.asked(2);
    for &at in &held {
        let bytes = node.network.request(client, request(at)).await.unwrap();
        Sample::decode(&bytes).unwrap().verify(&data_root, at).unwrap();
    }
    held.sort();
    let all = (0..32).map(|column| Coordinates { row: 9, column, axis: Axis::Row });
    let not_held = all.clone().find(|at| held.binary_search(at).is_err()).unwrap();
    let answer = node.network.request(client, request(not_held)).await;
    assert_eq!(answer, Err(RequestError::Refused(Refusal::NotFound)));

    let light = chain.read().unwrap().block(2).unwrap().light.encode();
    for height in [2, 0] {
        let answer = node.network.request(client, Request::Header { height, known: None }).await;
        assert_eq!(answer.unwrap(), light);
    }
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_peers_a_client_is_offline_and_comes_back_online() {
    let chain = shared(Chain::of(&[2, 8]));
    let first = Node::start(&chain, Behaviour::Honest).await;
    let second = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&first]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available(1..=2).await;
    first.network.stop().await.unwrap();
    running.until(|event| matches!(event, Event::Offline { .. }).then_some(())).await;
    chain.write().unwrap().push(square(8, 9));
    let status = running.client.status().await.unwrap();
    assert!(status.offline_since.is_some());
    assert_eq!(status.heights.len(), 2);
    running.client.stop().await.unwrap();

    let config = config_for(&chain, 1, &[&second]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available([3]).await;
    let status = running.client.status().await.unwrap();
    assert!(status.heights.iter().all(|r| matches!(r.state, StateReport::Available { .. })));
    assert_eq!(status.blocks_sampled, 1);
    running.client.stop().await.unwrap();
}
