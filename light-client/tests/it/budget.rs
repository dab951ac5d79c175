//! A client that may not use much.

use std::time::Duration;

use light_client::{Args, Client, Config, Event, StartError};
use network::{Refusal, Request, RequestError};

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

/// A bucket of 100 KB: two blocks at once, however small they are.
const BYTES_PER_DAY: u64 = 2_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_budget_leaves_out_is_skipped_and_taken_up_when_it_allows() {
    let chain = shared(Chain::of(&[128]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&chain, 1, &[&node]);
    let config = Config { budget: Some(BYTES_PER_DAY.try_into().unwrap()), ..impatient() };
    let clock = config.clock.clone();
    let mut running = Running::start(network.clone(), home.path(), config.clone()).await;
    running.until_available([1]).await;
    for height in 2..=8 {
        chain.write().unwrap().push(square(128, height));
        node.gossip_latest().await;
        running
            .until(|event| match event {
                Event::Available { height: at, .. } | Event::Skipped { to: at, .. } => {
                    (*at == u64::from(height)).then_some(())
                }
                _ => None,
            })
            .await;
    }
    let status = running.client.status().await.unwrap();
    let word = |height: u64| {
        let report = status.heights.iter().find(|report| report.height == height);
        report.map(|report| serde_json::to_value(&report.state).unwrap()).unwrap()
    };
    assert_eq!(word(1)["state"], "available");
    let skipped: Vec<u64> = (1..=8).filter(|&height| word(height)["reason"] == "budget").collect();
    let available = (1..=8).filter(|&height| word(height)["state"] == "available").count();
    println!("{skipped:?} left out of 8, {:?}", status.wire_bytes);
    assert_eq!(skipped.len() + available, 8, "neither available nor skipped: {:?}", status.heights);
    assert!((1..=3).contains(&available), "{available}");
    // The bucket, and what cannot be refused: headers, gossip, pings.
    let used = status.wire_bytes.received + status.wire_bytes.sent;
    assert!(used < BYTES_PER_DAY / 24 + 60_000, "{used}");
    assert!(status.budget.unwrap().left_bytes < 40_000, "{:?}", status.budget);
    running.client.stop().await.unwrap();

    // A restart does not fill it.
    let mut running = Running::start(network, home.path(), config).await;
    let left = running.client.status().await.unwrap().budget.unwrap();
    assert!(left.left_bytes < 40_000, "{left:?}");
    // Time does: the newest of those left out come first.
    clock.jump(Duration::from_secs(3_600));
    let newest = *skipped.last().unwrap();
    let taken_up = running
        .until(|event| match event {
            Event::Available { height, .. } => Some(*height),
            _ => None,
        })
        .await;
    assert_eq!(taken_up, newest);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_asks_for_much_does_not_use_up_what_sampling_needs() {
    const BUCKET: u64 = 200_000;
    let chain = shared(Chain::of(&[128]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = Config { budget: Some((24 * BUCKET).try_into().unwrap()), ..impatient() };
    let mut running = Running::start(config_for(&chain, 1, &[&node]), home.path(), config).await;
    running.until_available([1]).await;
    let (client, at) = (running.client.peer_id(), node.asked(1)[0]);
    let sample = Request::Sample { height: 1, row: at.row, column: at.column, axis: at.axis as u8 };
    let mut served = 0;
    for _ in 0..300 {
        match within(node.network.request(client, sample.clone())).await {
            Ok(_) => served += 1,
            Err(RequestError::Refused(Refusal::Busy)) => break,
            Err(error) => panic!("{error}"),
        }
    }
    assert!((1..BUCKET / 2 / 1_000).contains(&served), "{served}");
    let left = running.client.status().await.unwrap().budget.unwrap().left_bytes;
    assert!(left > BUCKET / 2 - 20_000, "{left}");
    // Whoever asks about fraud is told in any case.
    assert!(within(node.network.request(client, Request::Frauds)).await.is_ok());
    chain.write().unwrap().push(square(128, 2));
    node.gossip_latest().await;
    running
        .until(|event| match event {
            Event::Skipped { .. } => panic!("{event:?}"),
            Event::Available { height: 2, .. } => Some(()),
            _ => None,
        })
        .await;
    running.client.stop().await.unwrap();
}

#[tokio::test]
async fn a_budget_that_affords_no_block_is_refused() {
    let chain = shared(Chain::of(&[2]));
    let home = tempfile::tempdir().unwrap();
    for (confidence, least) in [("99.9%", 864_000), ("1-2^-40", 3_456_000)] {
        for (budget, starts) in [(least - 1, false), (least, true)] {
            let budget = Some(u64::try_into(budget).unwrap());
            let config = Config { budget, confidence: confidence.parse().unwrap(), ..impatient() };
            let args = Args { network: config_for(&chain, 1, &[]), home: home.path().to_owned(), config };
            match Client::start(args).await {
                Ok((client, _)) => client.stop().await.unwrap(),
                Err(StartError::Budget { least: told, .. }) => assert_eq!((told, starts), (least, false)),
                Err(error) => panic!("{error}"),
            }
        }
    }
}
