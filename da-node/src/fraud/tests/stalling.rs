//! Peers that hold back what they list or announce: what they keep others from having.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use erasure::{Axis, Coordinates};
use network::{
    Answer, Config, FraudNotice, HeldCell, Kind, Limits, Network, PeerId, Provider, Refusal, Request, Topic,
    encode_cells,
};
use prometheus_client::registry::Registry;

use super::{
    CHAIN,
    net::{Honest, Producer, listening, within},
    wrong::{sign, sign_wide},
};
use crate::{
    fetch::frame,
    test_chain::{TestChain, blob},
};

/// What a peer says; nothing, for ever, if there is none.
type Says = dyn Fn(&Request) -> Option<Answer> + Send + Sync;

struct Scripted {
    says: Box<Says>,
    asked: Mutex<Vec<Request>>,
}

#[async_trait]
impl Provider for Scripted {
    async fn serve(&self, _: PeerId, request: Request) -> Answer {
        self.asked.lock().unwrap().push(request.clone());
        match (self.says)(&request) {
            Some(answer) => answer,
            None => std::future::pending().await,
        }
    }
}

pub(super) struct Peer {
    pub(super) network: Network,
    script: Arc<Scripted>,
}

impl Peer {
    /// A peer that is connected to `honest`.
    pub(super) async fn of(
        honest: &Honest,
        serves: &[Kind],
        says: impl Fn(&Request) -> Option<Answer> + Send + Sync + 'static,
    ) -> Self {
        let script = Arc::new(Scripted { says: Box::new(says), asked: Mutex::default() });
        let config = Config {
            serves: serves.to_vec(),
            topics: vec![Topic::Pool, Topic::Fraud],
            limits: patient(),
            ..listening(CHAIN)
        };
        let started = Network::start(config, script.clone(), &mut Registry::default()).await;
        let peer = Self { network: started.unwrap().0, script };
        within(peer.network.dial(honest.address())).await.unwrap();
        let mut peers = honest.network.watch_peers();
        let known = |peers: &Arc<[network::PeerInfo]>| {
            peers.iter().any(|info| info.id == peer.network.id() && info.identified)
        };
        within(peers.wait_for(known)).await.unwrap();
        peer
    }

    async fn publish(&self, topic: Topic, data: Vec<u8>) {
        within(async {
            while self.network.publish(topic, data.clone().into()).await.is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// What it was asked of this kind.
    pub(super) fn asked_for(&self, kind: Kind) -> Vec<Request> {
        let asked = self.script.asked.lock().unwrap();
        asked.iter().filter(|request| request.kind() == kind).cloned().collect()
    }

    fn asked(&self, kind: Kind) -> usize {
        self.asked_for(kind).len()
    }

    pub(super) async fn until_asked(&self, kind: Kind, times: usize) {
        within(async {
            while self.asked(kind) < times {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
    }
}

/// Requests wait for as long as a test does.
fn patient() -> Limits {
    let hour = Duration::from_secs(3_600);
    Limits { small_deadline: hour, bulk_deadline: hour, ..Limits::default() }
}

fn cells(rows: std::ops::Range<u16>, columns: std::ops::Range<u16>) -> Vec<u8> {
    let row = |row| columns.clone().map(move |column| HeldCell { row, column, axis: 0 });
    encode_cells(rows.flat_map(row))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_list_all_cells_and_give_none_do_not_keep_a_block_from_being_rebuilt() {
    let mut chain = TestChain::new(CHAIN);
    let honest = Honest::start(&chain.genesis).await;
    let signed = sign_wide(&mut chain, &honest.node.store, 1);
    honest.commit(&signed);
    let square = signed.square;
    let kinds = [Kind::Cells, Kind::Sample];
    // Half of each of the first 16 columns, which is enough, after 512 cells that only liars list.
    let giver = Peer::of(&honest, &kinds, move |request| match *request {
        Request::Cells { .. } => Some(Ok(cells(16..32, 0..16).into())),
        Request::Sample { row, column, axis, .. } => {
            let at = Coordinates { row, column, axis: if axis == 0 { Axis::Row } else { Axis::Column } };
            Some(square.sample(at).map(Into::into).ok_or(Refusal::NotFound))
        }
        _ => None,
    });
    let _giver = giver.await;
    let mut liars = Vec::new();
    for _ in 0..3 {
        let liar = Peer::of(&honest, &kinds, |request| match request {
            Request::Cells { .. } => Some(Ok(cells(0..32, 0..32).into())),
            _ => None,
        });
        liars.push(liar.await);
    }
    honest.backfill();
    honest.until_whole().await;
    assert!(liars.iter().all(|liar| liar.asked(Kind::Cells) > 0));
    assert!(liars.iter().any(|liar| liar.asked(Kind::Sample) > 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_that_cannot_be_had_does_not_keep_those_below_it_from_being_fetched() {
    let mut chain = TestChain::new(CHAIN);
    let producer = Producer::start(CHAIN).await;
    let honest = Honest::start(&chain.genesis).await;
    within(honest.network.dial(producer.address())).await.unwrap();
    for height in [1, 2] {
        let signed = sign(&mut chain, &honest.node.store, height, None);
        honest.commit(&signed);
        if height == 1 {
            producer.publish(signed);
        }
    }
    honest.backfill();
    within(async {
        while honest.node.store.missing().unwrap().contains(&1) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    assert!(honest.node.store.missing().unwrap().contains(&2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn announcements_of_what_is_not_given_do_not_keep_notices_of_fraud_waiting() {
    let mut chain = TestChain::new(CHAIN);
    let honest = Honest::limited(&chain.genesis, patient()).await;
    let signed = sign(&mut chain, &honest.node.store, 1, None);
    honest.commit(&signed);
    let staller = Peer::of(&honest, &[Kind::Transaction, Kind::Fraud], |_| None).await;
    for n in 0..200 {
        staller.publish(Topic::Pool, vec![n; 32]).await;
    }
    let header = signed.block.header.hash().as_bytes().try_into().unwrap();
    let notice = FraudNotice::of(1, header, b"whatever").unwrap();
    staller.publish(Topic::Fraud, notice.encode()).await;
    // The proof is asked for: the notice was not kept waiting.
    staller.until_asked(Kind::Fraud, 1).await;
    staller.until_asked(Kind::Transaction, 8).await;
    assert_eq!(staller.asked(Kind::Transaction), 8, "of one peer at once");
    let other = Peer::of(&honest, &[Kind::Transaction], |_| None).await;
    other.publish(Topic::Pool, vec![255; 32]).await;
    other.until_asked(Kind::Transaction, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bodies_of_what_cannot_be_paid_are_fetched_for_a_proposal_only() {
    let chain = TestChain::new(CHAIN);
    let honest = Honest::start(&chain.genesis).await;
    // Only the first three accounts own anything.
    for (account, payable) in [(1, true), (9, false)] {
        let bytes = vec![account; 5_000];
        let candidate = chain.transaction(account, 1, 50, vec![blob(2, bytes.clone())]);
        let transaction = candidate.transaction().clone();
        let id = transaction.id();
        let peer = Peer::of(&honest, &[Kind::Transaction, Kind::Body], move |request| match request {
            Request::Transaction { .. } => Some(Ok(frame([transaction.transaction().encode()]))),
            Request::Body { .. } => Some(Ok(bytes.clone().into())),
            _ => None,
        });
        let peer = peer.await;
        let obtained = within(honest.fetcher.obtain(id, Some(peer.network.id()))).await;
        assert_eq!((obtained.is_some(), peer.asked(Kind::Body) > 0), (payable, payable));
        let proposed = within(honest.fetcher.obtain_all(&[id])).await;
        assert!(proposed.is_ok() && peer.asked(Kind::Body) > 0);
        peer.network.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn small_bodies_come_in_one_answer_and_a_false_one_is_had_from_another_peer() {
    let chain = TestChain::new(CHAIN);
    let honest = Honest::start(&chain.genesis).await;
    let bodies: Vec<Vec<u8>> = (0..64).map(|at| vec![at; 478]).collect();
    let blobs = bodies.iter().map(|bytes| blob(2, bytes.clone())).collect();
    let candidate = chain.transaction(1, 1, 50, blobs);
    let transaction = candidate.transaction().clone();
    let says = move |falsified: usize| {
        let (transaction, mut bodies) = (transaction.clone(), bodies.clone());
        let whole = bodies.clone();
        bodies[falsified.min(63)][0] ^= u8::from(falsified < 64);
        move |request: &Request| match request {
            Request::Transaction { .. } => Some(Ok(frame([transaction.transaction().encode()]))),
            Request::Bodies { .. } => Some(Ok(bodies.concat().into())),
            Request::Body { commitment, .. } => {
                let asked = transaction.blobs().iter().position(|blob| blob.commitment == *commitment)?;
                Some(Ok(whole[asked].clone().into()))
            }
            _ => None,
        }
    };
    let kinds = [Kind::Transaction, Kind::Body, Kind::Bodies];
    let liar = Peer::of(&honest, &kinds, says(40)).await;
    let other = Peer::of(&honest, &[Kind::Body], says(64)).await;
    let id = candidate.transaction().id();
    let obtained = within(honest.fetcher.obtain(id, Some(liar.network.id()))).await.unwrap();
    assert_eq!(obtained.transaction().id(), id);
    // The liar is banned for it, and the other is asked for the one.
    assert_eq!((liar.asked(Kind::Bodies), liar.asked(Kind::Body)), (1, 0));
    assert_eq!(other.asked(Kind::Body), 1);
    liar.network.stop().await.unwrap();

    let truthful = Peer::of(&honest, &kinds, says(64)).await;
    assert!(within(honest.fetcher.obtain(id, Some(truthful.network.id()))).await.is_some());
    assert_eq!((truthful.asked(Kind::Bodies), truthful.asked(Kind::Body)), (1, 0));
}
