//! Following notices of fraud proofs, and giving notice of this node's own.

use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use chain::{Accusation, ProvenFraud, VerifiedHeader};
use erasure::FraudProof;
use network::{
    FraudNotice, FraudPull, FraudScreen, Gossip, Kind, Network, Offence, PeerId, PullError, Request,
    Standing, Topic,
};
use tokio::{
    sync::mpsc,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};

use crate::node::{Node, NodeError};

/// Notices that wait for the watch; gossip's own queue drops what exceeds it.
const QUEUE: usize = 64;

/// Heights ahead of this node's own at which a notice is worth waiting for the header.
const AHEAD: u64 = 64;

/// How often this node's own notices are gossiped again, and peers are asked again for theirs. Gossip forgets a
/// message after a minute; peers that came since ask for the list themselves.
const REPEAT: Duration = Duration::from_secs(70);

/// How often notices of headers to come are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Follows notices until the network ends.
#[derive(Debug)]
pub(crate) struct Watch {
    node: Arc<Node>,
    network: Network,
    screen: FraudScreen,
    /// Peers that were asked for their list within the last [`REPEAT`].
    asked: HashSet<PeerId>,
    asked_since: Instant,
    jobs: JoinSet<Done>,
}

/// What a job found.
#[derive(Debug)]
enum Done {
    Pulled(Box<FraudPull>, Result<(Box<ProvenFraud>, Bytes), Fault>),
    Listed(PeerId, Result<Vec<FraudNotice>, Offence>),
}

/// A proof that was not had, or does not hold.
#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error(transparent)]
    Pull(#[from] PullError),
    #[error("{0}")]
    Wrong(String),
    #[error("the check of a fraud proof ended early")]
    Ended,
}

/// The queue of notices, for gossip.
pub(crate) fn queue() -> (mpsc::Sender<Gossip>, mpsc::Receiver<Gossip>) {
    mpsc::channel(QUEUE)
}

impl Watch {
    /// A watch of this node over these peers.
    pub(crate) fn new(node: Arc<Node>, network: Network) -> Self {
        let limit = FraudProof::max_bytes(node.genesis.parameters.width()) as u32 + (8 << 10);
        let now = Instant::now();
        let screen = FraudScreen::new(limit, now);
        Self { node, network, screen, asked: HashSet::new(), asked_since: now, jobs: JoinSet::new() }
    }

    /// Runs until `gossip` ends, or the database fails.
    pub(crate) async fn run(mut self, mut gossip: mpsc::Receiver<Gossip>) {
        let node = self.node.clone();
        let mut peers = self.network.watch_peers();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut told: Option<Instant> = None;
        let mut halted = false;
        loop {
            tokio::select! {
                message = gossip.recv() => match message {
                    Some(message) => self.heard(message).await,
                    None => return,
                },
                Some(Ok(done)) = self.jobs.join_next() => {
                    if let Err(error) = self.done(done).await {
                        node.fail(&error);
                        return;
                    }
                }
                changed = peers.changed() => match changed {
                    Ok(()) => self.ask_for_lists(),
                    Err(_) => return,
                },
                _ = tick.tick() => {
                    let now = Instant::now();
                    for pull in self.screen.caught_up(self.node.tip(), now) {
                        self.offer(pull).await;
                    }
                    if now.duration_since(self.asked_since) >= REPEAT {
                        (self.asked_since, self.asked) = (now, HashSet::new());
                        self.ask_for_lists();
                    }
                }
                _ = node.frauds.halted(), if !halted => halted = true,
            }
            if halted && told.is_none_or(|told| told.elapsed() >= REPEAT) {
                told = Some(Instant::now());
                self.announce().await;
            }
            while let Some(pull) = self.screen.next_pull() {
                self.pull(pull);
            }
        }
    }

    async fn announce(&self) {
        for notice in self.node.frauds.notices() {
            if let Err(error) = self.network.publish(Topic::Fraud, notice.encode().into()).await {
                tracing::debug!(%error, "a fraud proof was not announced");
            }
        }
    }

    async fn heard(&mut self, message: Gossip) {
        let peer = message.source;
        match FraudNotice::decode(&message.data) {
            Ok(notice) => {
                let dialled = self.dialled(peer);
                self.offer(FraudPull { notice, peer, dialled, since: None, gossip: Some(message) }).await;
            }
            Err(_) => {
                self.network.reject(message).await;
                self.network.report(peer, Offence::BadGossip).await;
            }
        }
    }

    fn dialled(&self, id: PeerId) -> bool {
        self.network.peers().iter().any(|peer| peer.id == id && peer.outbound)
    }

    async fn offer(&mut self, pull: FraudPull) {
        let (peer, gossip) = (pull.peer, pull.gossip.clone());
        let notice = pull.notice;
        let standing = || standing(&self.node, &notice);
        let Err(refused) = self.screen.offer(pull, Instant::now(), standing) else { return };
        tracing::debug!(%peer, %refused, "notice of a fraud proof refused");
        if let Some(gossip) = gossip {
            self.network.ignore(gossip).await;
        }
        if let Some(offence) = refused.offence() {
            self.network.report(peer, offence).await;
        }
    }

    fn pull(&mut self, pull: FraudPull) {
        let header = match self.node.verified_header(pull.notice.height) {
            Ok(Some(header)) => header,
            // A node whose database fails stops elsewhere.
            _ => return self.screen.done(&pull, true),
        };
        let network = self.network.clone();
        self.jobs.spawn(async move {
            let result = check(&network, &pull, header).await;
            Done::Pulled(Box::new(pull), result)
        });
    }

    async fn done(&mut self, done: Done) -> Result<(), NodeError> {
        match done {
            Done::Pulled(pull, result) => return self.pulled(*pull, result).await,
            Done::Listed(peer, Ok(notices)) => {
                let dialled = self.dialled(peer);
                for notice in notices {
                    self.offer(FraudPull { notice, peer, dialled, since: None, gossip: None }).await;
                }
            }
            Done::Listed(peer, Err(offence)) => self.network.report(peer, offence).await,
        }
        Ok(())
    }

    async fn pulled(
        &mut self,
        pull: FraudPull,
        result: Result<(Box<ProvenFraud>, Bytes), Fault>,
    ) -> Result<(), NodeError> {
        let judged = !matches!(result, Err(Fault::Pull(_) | Fault::Ended));
        self.screen.done(&pull, judged);
        match result {
            Ok((proven, accusation)) => {
                let node = self.node.clone();
                let kept = tokio::task::spawn_blocking(move || node.convict(&proven, accusation.to_vec()));
                kept.await.map_err(|error| NodeError::Task(error.to_string()))??;
                if let Some(gossip) = pull.gossip {
                    self.network.accept(gossip).await;
                }
            }
            Err(fault) => {
                tracing::info!(peer = %pull.peer, %fault, "a fraud proof does not hold");
                let offence = match &fault {
                    Fault::Pull(error) => error.offence(),
                    Fault::Wrong(_) => Some(Offence::WrongProof),
                    Fault::Ended => None,
                };
                if let Some(gossip) = pull.gossip {
                    self.network.reject(gossip).await;
                }
                if let Some(offence) = offence {
                    self.network.report(pull.peer, offence).await;
                }
            }
        }
        Ok(())
    }

    /// Asks each new peer for what it holds: gossip from before it was connected is lost on this node.
    fn ask_for_lists(&mut self) {
        let peers = self.network.peers();
        self.asked.retain(|asked| peers.iter().any(|peer| peer.id == *asked));
        for peer in peers.iter().filter(|peer| peer.serves.contains(&Kind::Frauds)) {
            if self.asked.insert(peer.id) {
                let (network, peer) = (self.network.clone(), peer.id);
                self.jobs.spawn(async move {
                    let answer = network.request(peer, Request::Frauds).await.unwrap_or_default();
                    Done::Listed(peer, FraudNotice::decode_list(&answer).map_err(|_| Offence::Malformed))
                });
            }
        }
    }
}

fn standing(node: &Node, notice: &FraudNotice) -> Standing {
    let tip = node.tip();
    if node.frauds.convicted().is_some() || node.frauds.judged().contains(&notice.height) {
        return Standing::Foreign;
    }
    if notice.height > tip {
        return if notice.height <= tip + AHEAD { Standing::Ahead } else { Standing::Foreign };
    }
    // The commit names the header, and is much smaller than the block.
    match node.store.commit(notice.height) {
        Ok(Some(commit)) if commit.block_id.hash.as_bytes() == notice.header => Standing::Committed,
        _ => Standing::Foreign,
    }
}

async fn check(
    network: &Network,
    pull: &FraudPull,
    header: VerifiedHeader,
) -> Result<(Box<ProvenFraud>, Bytes), Fault> {
    let bytes = network.pull_fraud(pull.peer, &pull.notice).await?;
    let work = move || {
        let accusation = Accusation::decode(&bytes).map_err(|error| Fault::Wrong(error.to_string()))?;
        let proven = accusation.verify(&header).map_err(|error| Fault::Wrong(error.to_string()))?;
        Ok((Box::new(proven), bytes))
    };
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Ended)?
}
