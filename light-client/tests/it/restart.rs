//! A client that stops and starts again goes on where it was.

use std::collections::BTreeSet;

use light_client::Event;

use crate::chain_of_blocks::Chain;
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asks_for_the_same_cells_and_nothing_twice() {
    let chain = shared(Chain::of(&[2, 16]));
    let node = Node::start(&chain, Behaviour::Withholds(2)).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&node]);
    let unavailable = |event: &Event| match event {
        Event::Unavailable { height: 2, cells, .. } => Some(cells.clone()),
        _ => None,
    };

    let mut running = Running::start(config.clone(), home.path(), impatient()).await;
    let missing = running.until(unavailable).await;
    let missing: BTreeSet<_> = missing.into_iter().collect();
    running.client.stop().await.unwrap();
    assert!(node.asked(2).len() > missing.len());
    node.asked(1);

    // Still withheld: the alarm stands, and only the missing cells are asked for.
    let mut running = Running::start(config.clone(), home.path(), impatient()).await;
    let report = running.client.status().await.unwrap().heights.remove(0);
    assert_eq!((report.height, report.state.word()), (2, "unavailable"));
    node.behave(Behaviour::Honest);
    running.until_available([2]).await;
    running.client.stop().await.unwrap();
    let asked: BTreeSet<_> = node.asked(2).into_iter().collect();
    assert_eq!(asked, missing);

    // Done: nothing is asked for any more, until there is a new block.
    let mut running = Running::start(config, home.path(), impatient()).await;
    let block = crate::chain_of_blocks::square(8, 3);
    chain.write().unwrap().push(block);
    running.until_available([3]).await;
    running.client.stop().await.unwrap();
    assert_eq!((node.asked(1).len(), node.asked(2).len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_finishes_the_headers_that_were_jumped_over() {
    let chain = shared(Chain::of(&[2; 12]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(config.clone(), home.path(), impatient()).await;
    running.until(|event| matches!(event, Event::HeaderVerified { height: 12 }).then_some(())).await;
    running.client.stop().await.unwrap();
    let before = running.client.join().await;
    assert!(before.is_ok());

    let mut running = Running::start(config, home.path(), impatient()).await;
    let done = |status: &light_client::Status| {
        status.heights.len() == 12 && status.heights.iter().all(|report| report.state.word() == "available")
    };
    while !done(&running.client.status().await.unwrap()) {
        running.until(|event| matches!(event, Event::Available { .. }).then_some(())).await;
    }
    running.client.stop().await.unwrap();
}
