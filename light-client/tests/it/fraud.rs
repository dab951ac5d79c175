//! Fraud proofs: acted upon when they hold, at hardly any cost when they do not.

use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use chain::Accusation;
use erasure::{Axis, BadEncoding, Coordinates, FraudProof, LineRoot};
use light_client::{Client, Event, HaltReason, StateReport};
use network::{FraudNotice, Kind, Request};

use crate::accuser::{Accuser, accusation, forged, header_hash, unfounded};
use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, Running, config_for, impatient, shared, within};

async fn start(
    chain: &Arc<RwLock<Chain>>,
    node: &Node,
    accusers: &[&Accuser],
    home: &std::path::Path,
) -> Running {
    let mut network = config_for(chain, 1, &[node]);
    network.bootstrap.extend(accusers.iter().map(|accuser| accuser.address().to_string()));
    Running::start(network, home, impatient()).await
}

fn halted(event: &Event) -> Option<light_client::Halt> {
    match event {
        Event::Halted(halt) => Some(halt.clone()),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_holds_stops_the_client_across_restarts_and_is_served_to_others() {
    let mut blocks = Chain::of(&[2]);
    let (wrong, proof) = forged();
    blocks.push(wrong);
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let accuser = Accuser::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut running = start(&chain, &node, &[&accuser], home.path()).await;
    running.until_available([2]).await;
    let notice = accuser.holds.add(2, header_hash(&chain, 2), proof.clone());
    accuser.announce(&notice).await;
    let halt = running.until(halted).await;
    assert_eq!((halt.height, halt.from), (2, 2));
    assert_eq!(halt.reason, HaltReason::Fraud { kind: "wrong index".into() });
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(&halt.evidence).unwrap()).unwrap();
    assert_eq!(json["accusation"], hex::encode(&proof));
    let status = running.client.status().await.unwrap();
    assert_eq!(status.halted, Some(halt.clone()));
    assert!(matches!(&status.heights[0].state, StateReport::Fraud { proof } if proof == "wrong index"));

    // Over the connection that the client opened.
    let peer = running.client.peer_id();
    let answer = within(accuser.network.request(peer, Request::Frauds)).await.unwrap();
    assert_eq!(FraudNotice::decode_list(&answer).unwrap(), [notice]);
    let pulled = within(accuser.network.pull_fraud(peer, &notice)).await.unwrap();
    assert_eq!(pulled, proof);
    running.client.stop().await.unwrap();

    // More blocks do not move it.
    chain.write().unwrap().push(square(2, 9));
    let mut again = start(&chain, &node, &[], home.path()).await;
    assert_eq!(again.until(halted).await, halt);
    node.gossip_latest().await;
    let status = again.client.status().await.unwrap();
    assert_eq!((status.height, status.halted), (2, Some(halt)));
    again.client.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_comes_later_is_told_by_the_list_of_its_peer() {
    let mut blocks = Chain::of(&[2]);
    let (wrong, proof) = forged();
    blocks.push(wrong);
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let accuser = Accuser::start().await;
    let (first, second) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut told = start(&chain, &node, &[&accuser], first.path()).await;
    told.until_available([2]).await;
    accuser.announce(&accuser.holds.add(2, header_hash(&chain, 2), proof)).await;
    told.until(halted).await;

    let listening =
        light_client::Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..impatient() };
    told.client.stop().await.unwrap();
    let mut told = Running::start(config_for(&chain, 1, &[]), first.path(), listening).await;
    told.until(halted).await;
    let mut network = config_for(&chain, 1, &[&node]);
    network.bootstrap.push(told.client.listen_addrs()[0].to_string());
    let mut late = Running::start(network, second.path(), impatient()).await;
    assert_eq!(late.until(halted).await.height, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_that_does_not_hold_drops_its_sender_and_nothing_else_happens() {
    let chain = shared(Chain::of(&[2, 8]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let square = chain.read().unwrap().block(2).unwrap().square.clone();
    let own = header_hash(&chain, 2);
    let garbage = vec![7; 2_000];
    let fine_line = {
        // k cells of a right line, which encode to its root.
        let row = square.line_samples(Axis::Row, 3, &[0]).is_some();
        assert!(row);
        let sample = |place| square.sample(Coordinates { row: 3, column: place, axis: Axis::Row }).unwrap();
        let samples: Vec<_> = (0..8).map(sample).collect();
        let encoded = samples[0].encode();
        // The line's path to the axis root ends a sample: log₂ 4k hashes.
        let path = encoded[encoded.len() - 5 * 32..].as_chunks().0.to_vec();
        let line = LineRoot { axis: Axis::Row, index: 3, root: square.root(Axis::Row, 3).unwrap(), path };
        accusation(FraudProof::BadEncoding(BadEncoding::new(&line, &samples).unwrap()))
    };
    let of_other_block = forged().1;
    for proof in [unfounded(&square, 5), garbage, fine_line, of_other_block] {
        let accuser = Accuser::start().await;
        let home = tempfile::tempdir().unwrap();
        let mut running = start(&chain, &node, &[&accuser], home.path()).await;
        running.until_available([2]).await;
        accuser.announce(&accuser.holds.add(2, own, proof)).await;
        let dropped = running
            .until(|event| match event {
                Event::Halted(halt) => panic!("{halt}"),
                Event::PeerDropped { peer, .. } => Some(*peer),
                _ => None,
            })
            .await;
        assert_eq!(dropped, accuser.network.id());
        assert_eq!(running.client.status().await.unwrap().halted, None);
        running.client.stop().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_proof_against_a_header_that_was_never_committed_does_nothing() {
    let chain = shared(Chain::of(&[2, 8]));
    let node = Node::start(&chain, Behaviour::Honest).await;
    let accuser = Accuser::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut running = start(&chain, &node, &[&accuser], home.path()).await;
    running.until_available([2]).await;
    let (_, proof) = forged();
    for height in [1, 2, 1_000_000_u64] {
        accuser.announce(&accuser.holds.add(height, [height as u8; 32], proof.clone())).await;
    }
    within(async {
        while counter(&running.client, "fraud_notices") < 3 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    // The next block is followed as ever.
    chain.write().unwrap().push(square(2, 9));
    node.gossip_latest().await;
    running.until_available([3]).await;
    let metrics = running.client.metrics_text();
    assert!(metrics.contains("weft_light_client_fraud_proofs_judged_total 0"), "{metrics}");
    assert_eq!(running.client.status().await.unwrap().halted, None);
    assert_eq!(accuser.network.traffic(Kind::Fraud).read_bytes, 0, "it was not even asked for the proof");
    running.client.stop().await.unwrap();
}

/// Peers that connect only to announce a proof that does not hold, each with an identity and a proof of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bogus_proofs_is_dropped_and_an_honest_one_gets_through() {
    const FLOOD: u32 = 160;
    let mut blocks = Chain::of(&[2]);
    let (wrong, proof) = forged();
    let square = wrong.clone();
    blocks.push(wrong);
    let chain = shared(blocks);
    let node = Node::start(&chain, Behaviour::Honest).await;
    let honest = Accuser::start().await;
    let home = tempfile::tempdir().unwrap();
    let mut network = config_for(&chain, 1, &[&node]);
    network.bootstrap.push(honest.address().to_string());
    let listening =
        light_client::Config { listen: vec!["/ip4/127.0.0.1/tcp/0".parse().unwrap()], ..impatient() };
    let mut running = Running::start(network, home.path(), listening).await;
    running.until_available([2]).await;
    let client = Arc::new(running.client.clone());
    let (target, own) = (client.listen_addrs()[0].clone(), header_hash(&chain, 2));

    let began = Instant::now();
    let mut flood = tokio::task::JoinSet::new();
    for salt in 0..FLOOD {
        while flood.len() >= 8 {
            flood.join_next().await.unwrap().unwrap();
        }
        let (target, bogus) = (target.clone(), unfounded(&square, salt));
        flood.spawn(async move {
            let stranger = Accuser::start().await;
            within(stranger.network.dial(target)).await.unwrap();
            stranger.announce(&stranger.holds.add(2, own, bogus)).await;
            // Banned, and so disconnected.
            let mut peers = stranger.network.watch_peers();
            within(peers.wait_for(|peers| peers.is_empty())).await.unwrap();
            stranger.network.stop().await.unwrap();
        });
    }
    flood.join_all().await;
    let seconds = began.elapsed().as_secs();
    let judged = counter(&client, "fraud_proofs_judged");
    let allowed = 64 + 8 * (seconds + 1);
    println!("{FLOOD} bogus proofs in {seconds} s: all senders dropped, {judged} proofs judged");
    assert!(judged <= allowed, "{judged} judged in {seconds} s, at most {allowed}");
    assert_eq!(client.status().await.unwrap().halted, None);
    honest.announce(&honest.holds.add(2, own, proof)).await;
    running.until(halted).await;
    client.stop().await.unwrap();
}

/// Nanoseconds that this thread has computed.
fn thread_cpu() -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(schedstat.split(' ').next().unwrap().parse().unwrap())
}

/// What strangers may have judged in a second costs less than a tenth of one, by the proofs that cost a decoding
/// and by those that cost hardly more than their bytes.
#[test]
fn the_proofs_that_strangers_may_have_judged_cost_less_than_a_tenth_of_a_core() {
    let square = square(128, 3);
    let sample = |place| square.sample(Coordinates { row: 3, column: place, axis: Axis::Row }).unwrap();
    let samples: Vec<_> = (0..128).map(sample).collect();
    let encoded = samples[0].encode();
    let path = encoded[encoded.len() - 9 * 32..].as_chunks().0.to_vec();
    let line = LineRoot { axis: Axis::Row, index: 3, root: square.root(Axis::Row, 3).unwrap(), path };
    let fine_line = accusation(FraudProof::BadEncoding(BadEncoding::new(&line, &samples).unwrap()));
    for (name, bytes) in [("split cell", unfounded(&square, 7)), ("bad encoding", fine_line)] {
        // Enough that what the system counts in ticks does not matter.
        const TIMES: u32 = 1_000;
        let before = thread_cpu();
        for _ in 0..TIMES {
            assert_ne!(network::fraud_proof_hash(&bytes), [0; 32]);
            let Accusation { parameters, proof } = Accusation::decode(&bytes).unwrap();
            assert!(proof.verify(&square.data_root(), &parameters).is_err());
        }
        let each = (thread_cpu() - before) / TIMES;
        // 128 KiB a second, each proof 16 KiB more than its size: see network's FraudScreen.
        let a_second = (128 << 10) as f64 / (bytes.len() + (16 << 10)) as f64;
        let core = each.as_secs_f64() * a_second;
        println!(
            "{name}: {} B, {each:?} each, {a_second:.1} a second: {:.3} % of a core",
            bytes.len(),
            core * 100.0
        );
        assert!(core < 0.1, "{name}: {core} of a core");
    }
}

fn counter(client: &Client, name: &str) -> u64 {
    let text = client.metrics_text();
    let name = format!("weft_light_client_{name}_total ");
    text.lines().find_map(|line| line.strip_prefix(&name)).unwrap().parse().unwrap()
}
