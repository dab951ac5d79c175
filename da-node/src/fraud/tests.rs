//! Blocks that were signed by all validators and are wrong: what an honest node does about each.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]

mod grid;
mod light;
mod net;
mod stalling;
mod wrong;

use chain::Accusation;
use erasure::FraudKind;
use network::{Answer, FraudNotice, Kind, Refusal, Request};

use self::{
    net::{Honest, Producer, within},
    stalling::Peer,
    wrong::{Wrong, sign},
};
use crate::{node::Node, storage::Store, test_chain::TestChain};

const CHAIN: &str = "weft-fraud";

/// The kinds of proof that show what is wrong: where more than one does, which is found depends on what comes first.
fn kinds(wrong: Wrong) -> &'static [FraudKind] {
    match wrong {
        Wrong::SplitCell => &[FraudKind::SplitCell],
        Wrong::BadEncoding => &[FraudKind::BadEncoding],
        Wrong::Checkerboard => &[FraudKind::SplitCell, FraudKind::BadEncoding],
        Wrong::ForgedIndex => &[FraudKind::WrongIndex],
        Wrong::MisplacedBlob => &[FraudKind::MisplacedBlob],
        Wrong::BadPadding => &[FraudKind::BadPadding],
        Wrong::FalseForeign | Wrong::FalseKzg => &[FraudKind::FalseForeign],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_halts_at_each_kind_of_wrong_block_and_gives_the_proof_to_another() {
    for wrong in Wrong::ALL {
        let mut chain = TestChain::new(CHAIN);
        let producer = Producer::start(CHAIN).await;
        let (finder, listener) = (Honest::start(&chain.genesis).await, Honest::start(&chain.genesis).await);
        within(listener.network.dial(finder.address())).await.unwrap();
        within(finder.network.dial(producer.address())).await.unwrap();
        finder.backfill();
        for (height, wrong) in [(1, None), (2, Some(wrong))] {
            finder.until_whole().await;
            let signed = sign(&mut chain, &finder.node.store, height, wrong);
            listener.commit(&signed);
            finder.commit(&signed);
            producer.publish(signed);
        }
        let convicted = within(finder.node.frauds.halted()).await;
        assert_eq!(convicted.height, 2, "{wrong:?}");
        assert_eq!(within(listener.node.frauds.halted()).await, convicted, "{wrong:?}");

        for node in [&finder.node, &listener.node] {
            let stored = node.store.frauds().unwrap();
            let [stored] = &stored[..] else { panic!("{wrong:?}: {} proofs", stored.len()) };
            let accusation = Accusation::decode(&stored.accusation).unwrap();
            assert!(kinds(wrong).contains(&accusation.proof.kind()), "{wrong:?}: {}", accusation.proof);
            let header = node.verified_header(2).unwrap().unwrap();
            assert!(accusation.verify(&header).is_ok());
        }
        // The block before it is right, and what is wrong was not kept.
        assert!(finder.node.store.index(1).unwrap().is_some(), "{wrong:?}");
        assert!(finder.node.store.index(2).unwrap().is_none(), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_stays_halted_until_its_operator_has_judged() {
    let mut chain = TestChain::new(CHAIN);
    let producer = Producer::start(CHAIN).await;
    let honest = Honest::start(&chain.genesis).await;
    let signed = sign(&mut chain, &honest.node.store, 1, Some(Wrong::BadPadding));
    honest.commit(&signed);
    producer.publish(signed);
    within(honest.network.dial(producer.address())).await.unwrap();
    honest.backfill();
    let convicted = within(honest.node.frauds.halted()).await;
    assert!(convicted.to_string().contains("bad padding"), "{convicted}");
    let folder = honest.stop().await;

    let open = || {
        let store = Store::open(folder.path(), &chain.genesis).unwrap();
        Node::open(chain.genesis.clone(), store, crate::metrics::Metrics::default(), chain::RULES_VERSION)
            .unwrap()
    };
    let node = open();
    assert_eq!(node.frauds.convicted(), Some(convicted.clone()));
    let notice = node.frauds.notices()[0];
    let chunk = |offset, len| node.frauds.chunk(&notice.proof, offset, len);
    let proof: Answer = chunk(0, notice.size);
    assert_eq!(network::fraud_proof_hash(&proof.unwrap()), convicted.proof);
    assert_eq!(chunk(1, notice.size), Err(Refusal::Malformed));
    assert_eq!(node.frauds.chunk(&[0; 32], 0, 1), Err(Refusal::NotFound));
    let evidence = tempfile::tempdir().unwrap();
    super::write_evidence(&node, &convicted, evidence.path()).unwrap();
    let json = std::fs::read(evidence.path().join("fraud-1.json")).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json).unwrap();
    assert_eq!(json["proof"], hex::encode(convicted.proof));
    drop(node);

    let store = Store::open(folder.path(), &chain.genesis).unwrap();
    assert_eq!(super::resume(&store).unwrap().into_iter().collect::<Vec<_>>(), [1]);
    assert!(super::resume(&store).unwrap().is_empty());
    drop(store);
    let node = open();
    assert_eq!(node.frauds.convicted(), None);
    // The block stays unreachable; it is not fetched again, to be found wrong again.
    assert!(node.store.missing().unwrap().contains(&1));
    assert!(tokio::time::timeout(std::time::Duration::ZERO, node.next_missing()).await.is_err());
}

/// A proof is about one header; to a chain that has another one it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_against_a_header_that_was_never_committed_does_nothing() {
    let mut chain = TestChain::new(CHAIN);
    let other = TestChain::new(CHAIN);
    let producer = Producer::start(CHAIN).await;
    let (fooled, honest) = (Honest::start(&chain.genesis).await, Honest::start(&chain.genesis).await);
    let wrong = sign(&mut chain, &fooled.node.store, 1, Some(Wrong::BadPadding));
    fooled.commit(&wrong);
    producer.publish(wrong);
    within(fooled.network.dial(producer.address())).await.unwrap();
    fooled.backfill();
    within(fooled.node.frauds.halted()).await;

    let mut other = other;
    let right = sign(&mut other, &honest.node.store, 1, None);
    honest.commit(&right);
    within(honest.network.dial(fooled.address())).await.unwrap();
    // Once the list was answered, it was judged before the next request.
    within(async {
        while honest.network.traffic(Kind::Frauds).read_bytes == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    let listed = honest.network.request(fooled.network.id(), Request::Frauds);
    assert!(!within(listed).await.unwrap().is_empty());
    assert_eq!(honest.node.frauds.convicted(), None);
    assert_eq!(honest.network.traffic(Kind::Fraud).read_bytes, 0, "it was not even pulled");
    assert_eq!(honest.network.peers().len(), 1, "the peer may be honest, on another fork");

    // The same in a list, ahead of a notice about this chain: only that one is followed up.
    let header = right.block.header.hash().as_bytes().try_into().unwrap();
    let mut notices = fooled.node.frauds.notices();
    notices.push(FraudNotice::of(1, header, b"whatever").unwrap());
    let list: Vec<u8> = notices.iter().flat_map(FraudNotice::encode).collect();
    let peer = Peer::of(&honest, &[Kind::Fraud, Kind::Frauds], move |request| match request {
        Request::Frauds => Some(Ok(list.clone().into())),
        _ => None,
    });
    let peer = peer.await;
    peer.until_asked(Kind::Fraud, 1).await;
    let proof = notices[1].proof;
    assert_eq!(notices.len(), 2);
    assert!(
        matches!(peer.asked_for(Kind::Fraud)[..], [Request::Fraud { proof: asked, .. }] if asked == proof)
    );
    assert_eq!((honest.node.frauds.convicted(), honest.network.peers().len()), (None, 2));
}
