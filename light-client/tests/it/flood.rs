//! A thousand bogus fraud proofs a second, from ever new peers, against the program itself: what they cost it
//! beyond the connections.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use network::{FraudNotice, Kind, MAX_FRAUDS, Multiaddr, Topic};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::accuser::{Accuser, header_hash, unfounded};
use crate::chain_of_blocks::{Chain, square};
use crate::node::{Behaviour, Node, config_for, shared, within};
use crate::process::Process;

/// Forty new peers a second, twenty-five notices each.
const NEW_PEER_EVERY: Duration = Duration::from_millis(25);
const NOTICES: u32 = 25;
const PEERS: u32 = 160;

/// How long a peer waits to be dropped.
const PATIENCE: Duration = Duration::from_secs(3);

/// What the peers of a run say.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flood {
    /// Nothing: they connect, introduce themselves, and leave.
    Silent,
    /// Proofs about a block of the chain, to be had, that show nothing.
    Unfounded,
    /// The same, in answer to the client's question for a list.
    Listed,
    /// Proofs about a header that was never committed.
    Foreign,
    /// Proofs about a block to come.
    Ahead,
}

/// What became of one peer.
#[derive(Default)]
struct Peer {
    sent: u32,
    dropped: bool,
}

impl Flood {
    fn notice(self, chain: &Arc<RwLock<Chain>>, accuser: &Accuser, salt: u32) -> FraudNotice {
        let proof = unfounded(&chain.read().unwrap().block(2).unwrap().square, salt);
        match self {
            Self::Silent | Self::Unfounded | Self::Listed => {
                accuser.holds.add(2, header_hash(chain, 2), proof)
            }
            Self::Foreign => accuser.holds.add(2, [7; 32], proof),
            Self::Ahead => accuser.holds.add(12, [7; 32], proof),
        }
    }

    /// Connects to the client and says what there is to say.
    async fn peer(self, chain: Arc<RwLock<Chain>>, client: Multiaddr, at: u32) -> Peer {
        let lists = [Kind::Fraud, Kind::Frauds];
        let accuser = Accuser::serving(if self == Self::Listed { &lists } else { &lists[..1] }).await;
        let notices = match self {
            Self::Silent => 0,
            Self::Listed => MAX_FRAUDS as u32,
            Self::Unfounded | Self::Foreign | Self::Ahead => NOTICES,
        };
        let notices: Vec<_> = (0..notices).map(|n| self.notice(&chain, &accuser, at * NOTICES + n)).collect();
        let mut peers = accuser.network.watch_peers();
        within(accuser.network.dial(client)).await.unwrap();
        let mut peer = Peer::default();
        if self == Self::Listed {
            peer.sent = notices.len() as u32;
        } else {
            for notice in notices {
                let notice = notice.encode();
                // The first one waits for the client to say that it listens.
                while peer.sent == 0
                    && accuser.network.publish(Topic::Fraud, notice.clone().into()).await.is_err()
                    && !peers.borrow().is_empty()
                {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                peer.sent += u32::from(accuser.network.publish(Topic::Fraud, notice.into()).await.is_ok());
            }
        }
        if self == Self::Silent {
            let known = |peers: &Arc<[network::PeerInfo]>| peers.iter().any(|peer| peer.identified);
            within(peers.wait_for(known)).await.unwrap();
        } else {
            let gone = timeout(PATIENCE, peers.wait_for(|peers| peers.is_empty())).await;
            peer.dropped = gone.is_ok();
        }
        accuser.network.stop().await.unwrap();
        peer
    }

    /// Lets the peers come; gives what all of them cost the client, and what became of them.
    async fn run(self) -> (Duration, Vec<Peer>) {
        let chain = shared(Chain::of(&[2, 8]));
        let node = Node::start(&chain, Behaviour::Honest).await;
        let dir = tempfile::tempdir().unwrap();
        let network = config_for(&chain, 1, &[&node]);
        let client = Process::run(&network, dir.path(), &["/ip4/127.0.0.1/tcp/0"]).await;
        client.until(|status| status.available_height == Some(2)).await;
        let address = client.listening[0].clone();

        let before = client.cpu();
        let mut peers = JoinSet::new();
        let mut pace = interval(NEW_PEER_EVERY);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for at in 0..PEERS {
            pace.tick().await;
            peers.spawn(self.peer(chain.clone(), address.clone(), at));
        }
        let peers = peers.join_all().await;
        let cost = client.cpu() - before;

        let heard = client.counter("weft_network_gossip_received_total{topic=\"fraud\"}").await;
        let judged = client.counter("weft_light_client_fraud_proofs_judged_total").await;
        let dropped = peers.iter().filter(|peer| peer.dropped).count();
        println!(
            "{self:?}: {cost:?}; {heard} notices by gossip, {judged} proofs judged, {dropped} of {PEERS} dropped"
        );
        // All that does not keep it from its work.
        chain.write().unwrap().push(square(4, 9));
        node.gossip_latest().await;
        let status = client.until(|status| status.available_height == Some(3)).await;
        assert_eq!(status.halted, None);
        assert!(client.stop().await.success());
        (cost, peers)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_bogus_proofs_a_second_cost_less_than_a_tenth_of_a_core_beyond_the_connections() {
    let (connections, _) = Flood::Silent.run().await;
    for flood in [Flood::Unfounded, Flood::Listed, Flood::Foreign, Flood::Ahead] {
        let (cost, peers) = flood.run().await;
        let sent: u32 = peers.iter().map(|peer| peer.sent).sum();
        assert!(sent >= PEERS, "{flood:?}: {sent} notices of {PEERS} peers");
        let beyond = cost.saturating_sub(connections);
        // Seconds of computing that a thousand cost: what a second of the flood takes of a core.
        let core = beyond.as_secs_f64() / f64::from(sent) * 1_000.0;
        println!(
            "{flood:?}: {sent} notices of {PEERS} peers, {:.1} % of a core at 1,000 a second",
            core * 100.0
        );
        assert!(core < 0.1, "{flood:?}: {core} of a core");
        let dropped = peers.iter().filter(|peer| peer.dropped).count();
        assert!(dropped * 10 >= peers.len() * 8, "{flood:?}: {dropped} of {PEERS} peers dropped");
    }
}
