//! Gossip spreads once accepted, and no further than that.

use bytes::Bytes;
use network::{Gossip, MAX_GOSSIP_BYTES, Offence, PublishError, Topic};

use crate::support::{Echo, Node, client, serving, start, within};

/// `left` and `right` know only `middle`.
async fn three() -> [Node; 3] {
    let middle = start(serving(), Echo).await;
    let left = start(serving(), Echo).await;
    let right = start(serving(), Echo).await;
    left.connect(&middle).await;
    right.connect(&middle).await;
    [left, middle, right]
}

/// Publishes as soon as a peer is known to listen.
async fn publish(node: &Node, topic: Topic, data: &Bytes) {
    within(async {
        while let Err(error) = node.network.publish(topic, data.clone()).await {
            assert_eq!(error, PublishError::NoPeers { topic });
            tokio::task::yield_now().await;
        }
    })
    .await;
}

async fn next(node: &mut Node) -> Gossip {
    within(node.gossip.recv()).await.unwrap()
}

#[tokio::test]
async fn only_accepted_gossip_is_passed_on() {
    let [left, mut middle, mut right] = three().await;
    for topic in Topic::ALL {
        // Once both neighbours' subscriptions are known to it, the middle passes on.
        let probe = Bytes::from(format!("probe {topic:?}"));
        publish(&middle, topic, &probe).await;
        let at_right = next(&mut right).await;
        assert_eq!((at_right.topic, &at_right.data), (topic, &probe));
        right.network.ignore(at_right).await;

        let (bad, stale, good) = (
            Bytes::from(format!("bad {topic:?}")),
            Bytes::from(format!("stale {topic:?}")),
            Bytes::from(format!("good {topic:?}")),
        );
        for data in [&bad, &stale, &good] {
            publish(&left, topic, data).await;
            let gossip = next(&mut middle).await;
            assert_eq!((gossip.topic, gossip.source), (topic, left.id()));
            assert_eq!(gossip.data, data);
            if *data == bad {
                middle.network.reject(gossip).await;
            } else if *data == stale {
                middle.network.ignore(gossip).await;
            } else {
                middle.network.accept(gossip).await;
            }
        }
        let gossip = next(&mut right).await;
        assert_eq!(gossip.data, good, "neither the bad nor the stale one");
        assert_eq!(gossip.source, middle.id());
        middle.network.accept(gossip).await;
    }
}

#[tokio::test]
async fn the_same_bytes_spread_once_and_too_many_not_at_all() {
    let [left, mut middle, _right] = three().await;
    let data = Bytes::from(vec![1; MAX_GOSSIP_BYTES - 100]);
    publish(&left, Topic::Pool, &data).await;
    publish(&left, Topic::Pool, &data).await;
    publish(&left, Topic::Pool, &Bytes::from_static(b"other")).await;
    assert_eq!(next(&mut middle).await.data, data);
    assert_eq!(next(&mut middle).await.data, "other");
    let too_long = Bytes::from(vec![1; MAX_GOSSIP_BYTES + 1]);
    assert_eq!(
        left.network.publish(Topic::Pool, too_long).await,
        Err(PublishError::Oversize { limit: MAX_GOSSIP_BYTES, got: MAX_GOSSIP_BYTES + 1 })
    );
}

#[tokio::test]
async fn a_full_queue_drops_and_counts() {
    let mut config = serving();
    config.limits.gossip_queue = 1;
    let slow = start(config, Echo).await;
    let fast = start(serving(), Echo).await;
    fast.connect(&slow).await;
    for n in 0..3u8 {
        publish(&fast, Topic::Pool, &Bytes::from(vec![n])).await;
    }
    let dropped = || {
        let metrics = slow.network.metrics();
        let counter = metrics.gossip_dropped.get_or_create(&Topic::Pool.into());
        counter.get()
    };
    within(async {
        while dropped() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_peer_over_its_byte_budget_gossips_to_nobody() {
    let mut config = serving();
    config.limits.peer_burst_bytes = 1_000;
    config.limits.peer_bytes_per_second = 1;
    let mut node = start(config, Echo).await;
    let flood = start(serving(), Echo).await;
    flood.connect(&node).await;
    for n in 0..3u8 {
        publish(&flood, Topic::Pool, &Bytes::from(vec![n; 999])).await;
    }
    within(async {
        while received(&node) < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    node.gossip.close();
    let mut delivered = 0;
    while node.gossip.recv().await.is_some() {
        delivered += 1;
    }
    assert_eq!(delivered, 2);
}

fn received(node: &Node) -> u64 {
    let metrics = node.network.metrics();
    let counter = metrics.gossip_received.get_or_create(&Topic::Pool.into());
    counter.get()
}

#[tokio::test]
async fn nobody_listens_and_then_the_source_is_reported() {
    let lonely = client().await;
    let topic = Topic::Headers;
    let published = lonely.network.publish(topic, Bytes::from_static(b"h")).await;
    assert_eq!(published, Err(PublishError::NoPeers { topic }));

    let [left, mut middle, _right] = three().await;
    publish(&left, topic, &Bytes::from_static(b"forged")).await;
    let gossip = next(&mut middle).await;
    let source = gossip.source;
    middle.network.reject(gossip).await;
    middle.network.report(source, Offence::BadGossip).await;
    middle.without(left.id()).await;
    left.without(middle.id()).await;
}
