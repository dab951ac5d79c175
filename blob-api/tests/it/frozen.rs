//! Nodes that accept connections and say nothing, from the start or in the middle: what a stopped process looks like.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use blob_api::{SubmitOptions, VerifiedList};
use chain::TxStatus;
use futures::StreamExt;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    chain_in_memory::{Chain, key, namespace},
    following::grow,
    nodes::{Manner, Server, client_of},
    submitting::blob,
};

/// What a request to a node that never answers takes alone.
const ALONE: Duration = Duration::from_secs(40);

/// What a client with another node may take: a second or two, and what a busy machine adds.
const SOON: Duration = Duration::from_secs(12);

/// What a line lets through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    All,
    /// Requests only.
    Up,
    Nothing,
}

/// A line to a node.
struct Line {
    url: String,
    flow: watch::Sender<Flow>,
    connections: Arc<AtomicUsize>,
    _server: Server,
}

impl Line {
    /// A line that takes `pause` for each 64 KiB of requests.
    async fn to(server: Server, flow: Flow, pause: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let target = server.url.strip_prefix("http://").unwrap().to_owned();
        let (flow, flows) = watch::channel(flow);
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = connections.clone();
        tokio::spawn(async move {
            loop {
                let (near, _) = listener.accept().await.unwrap();
                counted.fetch_add(1, Ordering::Relaxed);
                let (near_in, near_out) = near.into_split();
                let (far_in, far_out) = TcpStream::connect(&target).await.unwrap().into_split();
                tokio::spawn(carry(near_in, far_out, flows.clone(), |flow| flow != Flow::Nothing, pause));
                tokio::spawn(carry(
                    far_in,
                    near_out,
                    flows.clone(),
                    |flow| flow == Flow::All,
                    Duration::ZERO,
                ));
            }
        });
        Self { url, flow, connections, _server: server }
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flows: watch::Receiver<Flow>,
    open: fn(Flow) -> bool,
    pause: Duration,
) {
    let mut buffer = vec![0; 64 << 10];
    while flows.wait_for(|flow| open(*flow)).await.is_ok() {
        let Ok(read @ 1..) = from.read(&mut buffer).await else { break };
        tokio::time::sleep(pause * read as u32 / (64 << 10)).await;
        if flows.wait_for(|flow| open(*flow)).await.is_err() || to.write_all(&buffer[..read]).await.is_err() {
            break;
        }
    }
}

/// A chain with two honest nodes, the first behind a line.
async fn two(flow: Flow, pause: Duration) -> (Arc<Chain>, Line, Line) {
    let chain = Chain::new();
    let (first, second) =
        (Server::start(&chain, Manner::Honest).await, Server::start(&chain, Manner::Honest).await);
    let first = Line::to(first, flow, pause).await;
    (chain, first, Line::to(second, Flow::All, Duration::ZERO).await)
}

#[tokio::test]
async fn a_frozen_node_costs_a_second_once() {
    let (chain, frozen, good) = two(Flow::Nothing, Duration::ZERO).await;
    let client = client_of(&chain, &[frozen.url.clone(), good.url.clone()]);
    let started = Instant::now();
    client.status().await.unwrap();
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    assert_eq!(frozen.connections(), 1);

    let deciding = chain.clone();
    let decided = tokio::spawn(async move {
        deciding.pooled(1).await;
        deciding.decide()
    });
    let key = key(1);
    let receipt = client.submit_and_wait(&key, vec![blob(1, 5_000)], SubmitOptions::default());
    timeout(ALONE, receipt).await.unwrap().unwrap();
    let list = client.list(decided.await.unwrap(), namespace(1)).await.unwrap();
    assert_eq!(client.read(&list).await.unwrap().len(), 1);
    assert_eq!(frozen.connections(), 1, "it was asked again");
}

#[tokio::test]
async fn a_submission_whose_answer_does_not_come_goes_to_the_next_node_too_and_is_included_once() {
    let (chain, mute, good) = two(Flow::All, Duration::ZERO).await;
    let client = client_of(&chain, &[mute.url.clone(), good.url.clone()]);
    let prepared = client.prepare(&key(1), vec![blob(1, 5_000)], SubmitOptions::default()).await.unwrap();
    mute.flow.send(Flow::Up).unwrap();
    let deciding = chain.clone();
    let decided = tokio::spawn(async move {
        deciding.pooled(1).await;
        deciding.decide()
    });
    let started = Instant::now();
    // The second node calls it known already: the first has taken it, and told it.
    assert_eq!(client.send(&prepared, None).await.unwrap(), prepared.id());
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
    let receipt = client.confirm(&prepared, |_| ()).await.unwrap();
    assert_eq!(receipt.transaction.status, TxStatus::Final { height: decided.await.unwrap() });
    assert_eq!(chain.lock().pending(key(1).address()), 0);
}

#[tokio::test]
async fn a_stream_that_goes_silent_in_the_middle_is_followed_on_at_the_next_node() {
    let (chain, freezing, good) = two(Flow::All, Duration::ZERO).await;
    let other = client_of(&chain, std::slice::from_ref(&good.url));
    grow(&chain, &other, 6).await;
    let client = client_of(&chain, &[freezing.url.clone(), good.url.clone()]);
    let mut lists = client.follow_namespace(namespace(1), 3);
    let mut next = async || -> VerifiedList { lists.next().await.unwrap().unwrap() };
    for height in 3..=6 {
        assert_eq!(next().await.height(), height);
    }
    freezing.flow.send(Flow::Nothing).unwrap();
    grow(&chain, &other, 11).await;
    let started = Instant::now();
    for height in 7..=11 {
        let list = next().await;
        assert_eq!((list.height(), list.entries().len()), (height, if height % 2 == 0 { 2 } else { 0 }));
    }
    assert!(started.elapsed() < SOON, "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_node_that_is_only_busy_with_what_takes_time_is_asked_alone() {
    // 1 MiB over 750 KiB/s, all of which the kernel takes at once.
    let (chain, thin, other) = two(Flow::All, Duration::from_millis(83)).await;
    let client = client_of(&chain, &[thin.url.clone(), other.url.clone()]);
    let blobs = vec![blob(1, 1 << 20)];
    let started = Instant::now();
    let id = client.submit(&key(1), blobs, SubmitOptions::default()).await.unwrap();
    assert!(started.elapsed() > Duration::from_millis(1_200), "the line is not thin");
    // Neither a state nor a stream without news is a silent node.
    let long = Duration::from_secs(4);
    let mut lists = client.follow_namespace(namespace(1), chain.height() + 1);
    let waits = async { tokio::join!(client.wait(id, |_| ()), lists.next()) };
    assert!(timeout(long, waits).await.is_err());
    assert_eq!(other.connections(), 0);
}
