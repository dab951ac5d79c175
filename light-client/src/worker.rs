//! The worker behind [`Client`](crate::Client): one loop that owns all state.
//!
//! ```text
//!  gossip ─┐                        ┌─ following: headers in, data roots out
//!  answers ┼─► Worker ── every 250 ms and after every input ──┤
//!  commands┘                        └─ sampling: BlockSampler per height, newest first
//! ```
//!
//! What is verified is collected in a [`Batch`] and written at the next tick, or before a block
//! is called available or unavailable. Requests run as jobs; whatever a job finds comes back as
//! [`Done`]. Order of shutdown: jobs, store, network.

mod following;
mod sampling;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chain::VerifiedHeader;
use erasure::{Coordinates, Digest};
use network::{Gossip, Kind, Network, Offence, PeerId, RequestError};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::client::{ClientError, Command, Outcome};
use crate::clock;
use crate::config::Config;
use crate::event::Event;
use crate::headers::{FollowError, Headers};
use crate::metrics::Metrics;
use crate::sampler::{BlockSampler, Control, Fault, Millis};
use crate::status::{HeightReport, Status, WireBytes, resident_bytes};
use crate::store::{Batch, Store, StoreError};
use following::{Gap, Hint};

/// How often deadlines are looked at, and what was verified is written.
const TICK: Duration = Duration::from_millis(250);

/// Heights in a status.
const HEIGHTS_IN_STATUS: usize = 100;

pub(crate) struct Args {
    pub(crate) chain_id: String,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) headers: Headers,
    pub(crate) trusted: Option<VerifiedHeader>,
    pub(crate) network: Network,
    pub(crate) gossip: mpsc::Receiver<Gossip>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) metrics: Metrics,
}

pub(crate) struct Worker {
    args: Args,
    jobs: JoinSet<Done>,
    batch: Batch,
    reports: BTreeMap<u64, HeightReport>,

    // Following.
    following: bool,
    failures: u32,
    poll_at: Millis,
    hint: Option<Hint>,
    gaps: Vec<Gap>,
    stepping: bool,
    step_at: Millis,
    turn: usize,

    // Sampling.
    samplers: BTreeMap<u64, BlockSampler<PeerId>>,
    asking: usize,
    controls: VecDeque<(u64, Digest, Coordinates)>,
    blocks_sampled: u64,
    last_sample: Option<Millis>,
    alone_since: Option<Millis>,
    offline_since: Option<Millis>,
}

/// What a job found.
enum Done {
    Sampled {
        height: u64,
        peer: PeerId,
        at: Coordinates,
        answer: Result<Bytes, RequestError>,
    },
    Controlled {
        height: u64,
        peer: PeerId,
        control: Result<Control, Fault>,
    },
    Followed {
        /// The hint that started it, to be judged.
        hint: Option<Hint>,
        result: Box<Result<Option<VerifiedHeader>, FollowError>>,
    },
    SteppedBack {
        gap: Box<Gap>,
        result: Box<Result<VerifiedHeader, FollowError>>,
    },
}

impl Worker {
    pub(crate) fn new(args: Args) -> Result<Self, StoreError> {
        let reports = args.store.reports()?;
        let mut worker = Self {
            args,
            jobs: JoinSet::new(),
            batch: Batch::default(),
            reports: reports.into_iter().map(|r| (r.height, r)).collect(),
            following: false,
            failures: 0,
            poll_at: Millis::default(),
            hint: None,
            gaps: Vec::new(),
            stepping: false,
            step_at: Millis::default(),
            turn: 0,
            samplers: BTreeMap::new(),
            asking: 0,
            controls: VecDeque::new(),
            blocks_sampled: 0,
            last_sample: None,
            alone_since: None,
            offline_since: None,
        };
        worker.restore()?;
        Ok(worker)
    }

    pub(crate) async fn run(mut self, outcome: watch::Sender<Outcome>) {
        let mut result = self.serve().await;
        self.jobs.shutdown().await;
        result = result.and(self.flush().await.map_err(ClientError::from));
        if self.args.network.stop().await.is_err() {
            result = result.and(Err(ClientError::Network));
        }
        if let Err(error) = &result {
            tracing::error!(%error, "the light client has stopped");
        }
        // Closes the store: whoever waits for the end may open it again.
        drop(self);
        outcome.send_replace(Some(result.map_err(Arc::new)));
    }

    async fn serve(&mut self) -> Result<(), ClientError> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut peers = self.args.network.watch_peers();
        loop {
            tokio::select! {
                command = self.args.commands.recv() => match command {
                    Some(Command::Status { reply }) => {
                        // Whoever asked may have gone.
                        reply.send(self.status()).ok();
                        continue;
                    }
                    Some(Command::Stop) | None => return Ok(()),
                },
                gossip = self.args.gossip.recv() => match gossip {
                    Some(gossip) => self.hear(gossip).await,
                    None => return Err(ClientError::Network),
                },
                changed = peers.changed() => {
                    changed.map_err(|_| ClientError::Network)?;
                }
                Some(done) = self.jobs.join_next() => {
                    self.done(done.map_err(|_| ClientError::Ended)?).await?;
                }
                _ = tick.tick() => self.flush().await?,
            }
            let now = clock::now();
            self.watch_connection(now);
            self.follow(now);
            self.step_back(now);
            self.sample(now).await?;
        }
    }

    async fn done(&mut self, done: Done) -> Result<(), ClientError> {
        match done {
            Done::Sampled { height, peer, at, answer } => self.sampled(height, peer, at, answer).await?,
            Done::Controlled { height, peer, control } => self.controlled(height, peer, control).await?,
            Done::Followed { hint, result } => self.followed(hint, *result).await?,
            Done::SteppedBack { gap, result } => self.stepped_back(*gap, *result).await,
        }
        Ok(())
    }

    fn emit(&self, event: Event) {
        event.log();
        // Nobody has to listen.
        self.args.events.send(event).ok();
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        let batch = std::mem::take(&mut self.batch);
        let store = Arc::clone(&self.args.store);
        let written = tokio::task::spawn_blocking(move || store.apply(&batch));
        written.await.map_err(|_| StoreError::Damaged("writer"))?
    }

    /// Connected peers that answer requests of this kind.
    fn peers(&self, kind: Kind) -> Vec<PeerId> {
        let peers = self.args.network.peers();
        let serving = peers.iter().filter(|peer| peer.serves.contains(&kind));
        serving.map(|peer| peer.id).collect()
    }

    async fn drop_peer(&self, peer: PeerId, offence: Offence, reason: String) {
        self.args.metrics.peers_dropped.inc();
        self.args.network.report(peer, offence).await;
        self.emit(Event::PeerDropped { peer, reason });
    }

    fn watch_connection(&mut self, now: Millis) {
        if !self.args.network.peers().is_empty() {
            self.alone_since = None;
            return;
        }
        let alone_since = *self.alone_since.get_or_insert(now);
        if now.since(alone_since) >= self.args.config.offline_after {
            self.went_offline(alone_since);
        }
    }

    fn went_offline(&mut self, since: Millis) {
        if self.offline_since.is_none() {
            self.offline_since = Some(since);
            self.args.metrics.offline.set(1);
            self.emit(Event::Offline { since });
        }
    }

    /// A peer proved that it can be reached.
    fn went_online(&mut self) {
        if self.offline_since.take().is_some() {
            self.args.metrics.offline.set(0);
            self.emit(Event::Online);
        }
    }

    fn status(&self) -> Status {
        let heights = self.reports.values().rev();
        let available = heights.clone().find(|r| r.state.confidence().is_some());
        let live = |report: &HeightReport| match self.samplers.get(&report.height) {
            Some(sampler) => HeightReport::of(sampler),
            None => report.clone(),
        };
        let trusted = self.args.trusted.as_ref();
        Status {
            chain_id: self.args.chain_id.clone(),
            height: trusted.map_or(0, VerifiedHeader::height),
            available_height: available.map(|report| report.height),
            confidence: available.and_then(|report| report.state.confidence()),
            wanted_confidence: self.args.config.confidence.probability(),
            blocks_sampled: self.blocks_sampled,
            offline_since: self.offline_since.map(|at| at.0),
            last_sample: self.last_sample.map(|at| at.0),
            peers: self.args.network.peers().len(),
            wire_bytes: WireBytes::new(self.args.network.wire_bytes(), self.blocks_sampled),
            resident_bytes: resident_bytes(),
            heights: heights.take(HEIGHTS_IN_STATUS).map(live).collect(),
        }
    }
}
