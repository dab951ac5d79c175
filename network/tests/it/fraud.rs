//! Fraud proofs between nodes: told to all neighbours, pulled in chunks, checked against their hash.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use network::{
    Answer, Config, FraudNotice, MAX_FRAUD_CHUNK_BYTES, Offence, PeerId, Provider, PullError, Refusal,
    Request, Topic,
};

use crate::support::{Echo, Node, client, config, serving, start, within};

/// Holds one proof; cuts this many bytes off each chunk.
struct Holds(Arc<Vec<u8>>, usize);

#[async_trait]
impl Provider for Holds {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        let Request::Fraud { offset, len, .. } = request else { return Err(Refusal::NotFound) };
        let end = (offset + len) as usize - self.1;
        Ok(Bytes::copy_from_slice(&self.0[offset as usize..end]))
    }
}

fn proof() -> Arc<Vec<u8>> {
    Arc::new((0..2 * MAX_FRAUD_CHUNK_BYTES as usize + 77).map(|i| (i / 7) as u8).collect())
}

#[tokio::test]
async fn a_proof_of_several_chunks_is_pulled_and_is_the_one_announced() {
    let (proof, client) = (proof(), client().await);
    let honest = start(serving(), Holds(proof.clone(), 0)).await;
    let notice = FraudNotice::of(3, [1; 32], &proof).unwrap();
    client.connect(&honest).await;
    let pulled = within(client.network.pull_fraud(honest.id(), &notice)).await.unwrap();
    assert_eq!(pulled, *proof);

    let other = FraudNotice { proof: [0; 32], ..notice };
    let refused = within(client.network.pull_fraud(honest.id(), &other)).await.unwrap_err();
    assert_eq!((&refused, refused.offence()), (&PullError::Hash, Some(Offence::WrongProof)));
}

#[tokio::test]
async fn a_peer_that_announced_what_it_does_not_serve_is_at_fault() {
    let (proof, client) = (proof(), client().await);
    let notice = FraudNotice::of(3, [1; 32], &proof).unwrap();
    let short = start(serving(), Holds(proof.clone(), 1)).await;
    client.connect(&short).await;
    let refused = within(client.network.pull_fraud(short.id(), &notice)).await.unwrap_err();
    let expected = MAX_FRAUD_CHUNK_BYTES;
    assert_eq!(refused, PullError::Length { expected, got: expected as usize - 1 });
    assert_eq!(refused.offence(), Some(Offence::WrongProof));

    let without = start(serving(), network::ServesNothing).await;
    client.connect(&without).await;
    let refused = within(client.network.pull_fraud(without.id(), &notice)).await.unwrap_err();
    assert_eq!(refused, PullError::Request(Refusal::NotFound.into()));
    assert_eq!(refused.offence(), Some(Offence::BadGossip));
}

/// More neighbours than any other topic's messages go to.
#[tokio::test]
async fn a_notice_goes_to_every_neighbour_at_once() {
    let node = start(serving(), Echo).await;
    let mut neighbours: Vec<Node> = Vec::new();
    for _ in 0..12 {
        let neighbour =
            start(Config { topics: vec![Topic::Fraud], ..config() }, network::ServesNothing).await;
        within(neighbour.network.dial(node.address())).await.unwrap();
        neighbours.push(neighbour);
    }
    let notice = FraudNotice::of(3, [1; 32], b"a proof").unwrap().encode();
    // Whoever has not told yet that it listens is reached by the next attempt, with other bytes.
    let mut deaf: Vec<usize> = (0..neighbours.len()).collect();
    for attempt in 0..200u8 {
        let data: Bytes = [&notice[..], &[attempt]].concat().into();
        let published = node.network.publish(Topic::Fraud, data.clone()).await;
        let mut heard = Vec::new();
        if published.is_ok() {
            for (at, neighbour) in neighbours.iter_mut().enumerate() {
                let gossip = neighbour.gossip.recv();
                let came = tokio::time::timeout(std::time::Duration::from_millis(500), gossip).await;
                heard.extend(came.is_ok_and(|gossip| gossip.unwrap().data == data).then_some(at));
            }
        }
        deaf = (0..neighbours.len()).filter(|at| !heard.contains(at)).collect();
        if deaf.is_empty() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{deaf:?} never heard a notice together with the others");
}
