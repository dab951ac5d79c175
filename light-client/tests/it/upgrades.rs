//! Blocks of rules that the client does not know.

use std::time::Duration;

use chain::UnknownRules;
use erasure::Namespace;
use light_client::{Args, Client, Config, Event, ReadError, StartError};

use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

const UNKNOWN: UnknownRules = UnknownRules { version: 2, height: 4, newest: 1 };

/// What an old client makes of it, and what must not happen.
fn outdated(event: &Event) -> Option<UnknownRules> {
    match event {
        Event::Outdated(unknown) => Some(*unknown),
        Event::Available { height, .. } | Event::HeaderVerified { height } if *height >= UNKNOWN.height => {
            panic!("{event:?}")
        }
        Event::Unavailable { .. } | Event::PeerDropped { .. } | Event::Halted(_) => panic!("{event:?}"),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_client_stops_before_new_rules_without_an_alarm_of_fraud_and_a_new_one_goes_on() {
    let chain = shared(Chain::of(&[2, 4, 2]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&chain, 1, &[&node]);
    let mut old = Running::start(network.clone(), home.path(), impatient()).await;
    old.until_available(1..=3).await;
    {
        let mut chain = chain.write().unwrap();
        chain.rules = 2;
        chain.push(square(4, 9));
    }
    node.gossip_latest().await;
    assert_eq!(old.until(outdated).await, UNKNOWN);
    let status = old.client.status().await.unwrap();
    assert_eq!((status.outdated, status.height, status.available_height), (Some(UNKNOWN), 3, Some(3)));
    assert_eq!((status.halted, status.peers), (None, 1));
    assert!(status.heights.iter().all(|report| report.height < UNKNOWN.height));
    let mut follow = old.client.follow(Namespace::from_user_id([5; 10]), 3);
    assert_eq!(within(follow.next()).await.unwrap().height(), 3);
    let refused = within(follow.next()).await;
    assert!(matches!(refused, Err(ReadError::Outdated(UNKNOWN))), "{refused:?}");
    old.client.stop().await.unwrap();

    let knowing = Config { newest_rules: 2, ..impatient() };
    let mut new = Running::start(network.clone(), home.path(), knowing).await;
    new.until_available([4]).await;
    assert_eq!(new.client.status().await.unwrap().outdated, None);
    new.client.stop().await.unwrap();

    let back = Client::start(Args { network, home: home.path().into(), config: impatient() }).await;
    assert!(matches!(back, Err(StartError::UnknownRules(UNKNOWN))), "{:?}", back.err());
}

/// The client was away while the rules changed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_back_too_old_says_so_from_whatever_height_it_is_shown() {
    let mut blocks = Chain::of(&[2, 2, 2]);
    blocks.rules = 2;
    for fill in 0..3 {
        blocks.push(square(2, fill));
    }
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let home = tempfile::tempdir().unwrap();
    let network = config_for(&chain, 1, &[&node]);
    let config = Config { poll_after: Duration::from_millis(100), ..impatient() };
    let mut old = Running::start(network, home.path(), config).await;
    assert_eq!(old.until(outdated).await, UnknownRules { height: 6, ..UNKNOWN });
    assert_eq!(old.client.status().await.unwrap().available_height, None);
    old.client.stop().await.unwrap();
}
