//! Peers that withhold and peers that lie.

use chain::HeaderHint;
use light_client::{Event, StateReport};

use crate::chain_of_blocks::Chain;
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_withheld_block_is_unavailable_until_it_appears() {
    let chain = shared(Chain::of(&[2, 16, 16]));
    let withholding = [
        Node::start(&chain, Behaviour::Withholds(3)).await,
        Node::start(&chain, Behaviour::Withholds(3)).await,
        Node::start(&chain, Behaviour::Withholds(3)).await,
    ];
    let [a, b, c] = &withholding;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[a, b, c]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    let (cells, asked) = running
        .until(|event| match event {
            Event::Available { height: 3, .. } => panic!("a withheld block is available"),
            Event::Unavailable { height, cells, asked } => {
                assert_eq!(*height, 3, "only the withheld block is missing");
                Some((cells.clone(), asked.clone()))
            }
            _ => None,
        })
        .await;
    assert!(!cells.is_empty());
    assert!(cells.iter().all(|at| at.row >= 15 && at.column >= 15));
    assert_eq!(asked.len(), 3);
    let status = running.client.status().await.unwrap();
    assert_eq!((status.height, status.available_height), (3, Some(2)));
    assert!(matches!(status.heights[0].state, StateReport::Unavailable { .. }));
    assert_eq!(status.heights[0].samples, 21 - cells.len());

    b.behave(Behaviour::Honest);
    running.until(|event| matches!(event, Event::Available { height: 3, .. }).then_some(())).await;
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn liars_are_dropped_and_another_peer_is_asked() {
    for lie in [Behaviour::AnotherCell, Behaviour::AnotherHeight, Behaviour::Garbage] {
        let chain = shared(Chain::of(&[8, 16]));
        let liar = Node::start(&chain, lie).await;
        let honest = Node::start(&chain, Behaviour::Honest).await;
        let home = tempfile::tempdir().unwrap();
        let config = config_for(&chain, 1, &[&liar, &honest]);
        let mut running = Running::start(config, home.path(), impatient()).await;
        let (mut open, mut dropped) = (vec![1, 2], false);
        running
            .until(|event| {
                match event {
                    Event::Available { height, .. } => open.retain(|open| open != height),
                    Event::PeerDropped { peer, .. } => {
                        assert_eq!(*peer, liar.network.id());
                        dropped = true;
                    }
                    Event::Unavailable { .. } => panic!("{lie:?}: a lie is not withholding"),
                    _ => {}
                }
                // The honest node may connect, and serve everything, first.
                (open.is_empty() && (dropped || liar.asked(2).is_empty())).then_some(())
            })
            .await;
        running.client.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_liars_never_make_a_block_available() {
    let chain = shared(Chain::of(&[8, 16]));
    let liar = Node::start(&chain, Behaviour::Garbage).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&liar]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running
        .until(|event| match event {
            Event::Available { .. } | Event::Unavailable { .. } => panic!("{event:?}"),
            Event::Offline { .. } => Some(()),
            _ => None,
        })
        .await;
    let status = running.client.status().await.unwrap();
    assert_eq!(status.available_height, None);
    running.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hint_at_a_header_that_does_not_exist_drops_its_source() {
    let chain = shared(Chain::of(&[2, 4]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let config = config_for(&chain, 1, &[&node]);
    let mut running = Running::start(config, home.path(), impatient()).await;
    running.until_available(1..=2).await;
    node.gossip(HeaderHint { height: 3, hash: [9; 32] }.encode()).await;
    let dropped = running
        .until(|event| match event {
            Event::HeaderVerified { height: 3 } => panic!("there is no header 3"),
            Event::PeerDropped { peer, .. } => Some(*peer),
            _ => None,
        })
        .await;
    assert_eq!(dropped, node.network.id());
    assert_eq!(running.client.status().await.unwrap().height, 2);
    running.client.stop().await.unwrap();
}
