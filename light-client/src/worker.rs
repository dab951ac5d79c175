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
//! [`Done`]. Order of shutdown: jobs, store, network, alarm hooks.

mod following;
mod fraud;
mod reading;
mod sampling;
mod thrift;
mod witness;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chain::{UnknownRules, VerifiedHeader};
use erasure::{Coordinates, Digest};
use network::{Gossip, Kind, Network, Offence, PeerId, RequestError, Topic};
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval};

use crate::alarm::{Alarm, AlarmKind};
use crate::client::{ClientError, Command, Outcome};
use crate::config::Config;
use crate::event::Event;
use crate::halt::{Halt, HaltReason};
use crate::headers::{FollowError, Headers};
use crate::metrics::Metrics;
use crate::provider::Allowance;
use crate::sampler::{BlockSampler, Budget, Control, Fault, Millis};
use crate::status::{BudgetReport, HeightReport, StateReport, Status, WireBytes, resident_bytes};
use crate::store::{Batch, Store, StoreError};
use following::{Followed, Gap, Hint};
use fraud::{Accusers, Judged, Listed};
pub(crate) use thrift::cost_of_block;
use witness::Witnessed;

/// How often deadlines are looked at, and what was verified is written.
const TICK: Duration = Duration::from_millis(250);

/// A clock that jumps by this between two ticks is that of a machine that slept.
const SLEPT: Duration = Duration::from_secs(10);

/// How long a client that ends waits for its alarm hooks.
const TELLING: Duration = Duration::from_secs(10);

/// Heights in a status.
const HEIGHTS_IN_STATUS: usize = 100;

pub(crate) struct Args {
    pub(crate) chain_id: String,
    pub(crate) home: PathBuf,
    pub(crate) config: Arc<Config>,
    pub(crate) store: Arc<Store>,
    pub(crate) allowance: Arc<Allowance>,
    pub(crate) headers: Headers,
    pub(crate) trusted: Option<VerifiedHeader>,
    pub(crate) network: Network,
    pub(crate) gossip: mpsc::Receiver<Gossip>,
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: broadcast::Sender<Event>,
    pub(crate) metrics: Metrics,
    pub(crate) alarms: mpsc::Sender<Alarm>,
    /// Ends once the last alarm was told.
    pub(crate) telling: JoinHandle<()>,
}

pub(crate) struct Worker {
    args: Args,
    jobs: JoinSet<Done>,
    batch: Batch,
    reports: BTreeMap<u64, HeightReport>,
    halted: Option<Halt>,
    /// Rules that blocks follow and that are not known here: no header of theirs is looked at.
    outdated: Option<UnknownRules>,
    accusers: Accusers,
    ticked: Millis,

    // Following.
    following: bool,
    failures: u32,
    poll_at: Millis,
    hint: Option<Hint>,
    following_stranger: bool,
    stranger_hint: Option<Hint>,
    gaps: Vec<Gap>,
    stepping: bool,
    step_at: Millis,
    turn: usize,
    /// Peers that led to no header, and until when they are asked only if there is nobody else.
    stalled: BTreeMap<PeerId, Millis>,
    /// Who led to the trusted header.
    source: Option<PeerId>,
    /// The last header that a witness had, too.
    agreed: Option<VerifiedHeader>,
    /// The height of the last one that a witness had since the start.
    witnessed: Option<u64>,
    witnessing: bool,
    /// Whether a peer is asked that hinted at another header than the verified one.
    suspecting: bool,
    witness_at: Millis,

    // Sampling.
    samplers: BTreeMap<u64, BlockSampler<PeerId>>,
    asking: usize,
    controls: VecDeque<(u64, Digest, Coordinates)>,
    blocks_sampled: u64,
    budget: Option<Budget>,
    /// Bytes on the wire that were charged to the budget.
    charged: u64,
    /// Blocks that were left out for the sake of the budget, and may be taken up.
    left_out: BTreeMap<u64, Digest>,
    last_sample: Option<Millis>,
    alone_since: Option<Millis>,
    offline_since: Option<Millis>,
    /// Since when the client has been in touch with others without a break.
    online_since: Millis,
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
        peer: PeerId,
        /// The hint that started it, to be judged.
        hint: Option<Hint>,
        result: Box<Result<Followed, FollowError>>,
    },
    Witnessed(Box<Witnessed>),
    Judged(Box<Judged>),
    Listed(Listed),
    SteppedBack {
        peer: PeerId,
        gap: Box<Gap>,
        result: Box<Result<VerifiedHeader, FollowError>>,
    },
}

impl Worker {
    pub(crate) fn new(args: Args) -> Result<Self, StoreError> {
        let reports = args.store.reports()?;
        let now = args.config.clock.now();
        let mut budget = args.config.budget.map(|bytes_per_day| Budget::new(bytes_per_day, now));
        if let (Some(budget), Some((charged, at))) = (&mut budget, args.store.budget()?) {
            budget.restore(charged, at);
        }
        let halted = args.store.halt()?;
        args.metrics.halted.set(halted.is_some().into());
        let mut worker = Self {
            agreed: args.trusted.clone(),
            args,
            jobs: JoinSet::new(),
            batch: Batch::default(),
            reports: reports.into_iter().map(|r| (r.height, r)).collect(),
            halted,
            outdated: None,
            accusers: Accusers::new(),
            ticked: now,
            source: None,
            witnessed: None,
            witnessing: false,
            suspecting: false,
            witness_at: Millis::default(),
            budget,
            charged: 0,
            left_out: BTreeMap::new(),
            following: false,
            failures: 0,
            poll_at: Millis::default(),
            hint: None,
            following_stranger: false,
            stranger_hint: None,
            gaps: Vec::new(),
            stepping: false,
            step_at: Millis::default(),
            turn: 0,
            stalled: BTreeMap::new(),
            samplers: BTreeMap::new(),
            asking: 0,
            controls: VecDeque::new(),
            blocks_sampled: 0,
            last_sample: None,
            alone_since: None,
            offline_since: None,
            online_since: now,
        };
        worker.allow(now);
        if let Some(halt) = worker.halted.clone() {
            worker.emit(Event::Halted(halt));
        } else {
            worker.restore()?;
        }
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
        let Args { alarms, telling, store, .. } = self.args;
        drop(alarms);
        // A hook that takes longer is killed.
        tokio::time::timeout(TELLING, telling).await.ok();
        // Closed: whoever waits for the end may open it again.
        drop(store);
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
                    Some(Command::Block { height, reply }) => {
                        // After a sleep, this may be the first to run.
                        let now = self.now();
                        self.watch_clock(now);
                        self.watch_connection(now);
                        reply.send(self.block(height, now)?).ok();
                        continue;
                    }
                    Some(Command::Stop) | None => return Ok(()),
                },
                gossip = self.args.gossip.recv() => match gossip {
                    Some(gossip) if gossip.topic == Topic::Fraud => {
                        self.noticed(gossip).await?;
                        // Nothing else has changed, and a flood of notices is to cost little.
                        self.pull_next()?;
                        continue;
                    }
                    Some(gossip) => self.hear(gossip).await,
                    None => return Err(ClientError::Network),
                },
                changed = peers.changed() => {
                    changed.map_err(|_| ClientError::Network)?;
                }
                Some(done) = self.jobs.join_next() => {
                    self.done(done.map_err(|_| ClientError::Ended)?).await?;
                }
                _ = tick.tick() => {
                    self.charge(self.now());
                    self.flush().await?;
                }
            }
            let now = self.now();
            self.watch_clock(now);
            self.watch_connection(now);
            if self.halted.is_none() {
                self.follow(now);
                self.follow_stranger();
                self.step_back(now);
                self.witness(now);
                self.watch_for_fraud(now).await?;
                self.sample(now).await?;
            }
        }
    }

    async fn done(&mut self, done: Done) -> Result<(), ClientError> {
        match done {
            Done::Sampled { height, peer, at, answer } => self.sampled(height, peer, at, answer).await?,
            Done::Controlled { height, peer, control } => self.controlled(height, peer, control).await?,
            Done::Followed { peer, hint, result } => self.followed(peer, hint, *result).await?,
            Done::SteppedBack { peer, gap, result } => self.stepped_back(peer, *gap, *result).await?,
            Done::Witnessed(witnessed) => self.witnessed(*witnessed).await?,
            Done::Judged(judged) => self.judged(*judged).await?,
            Done::Listed(listed) => self.listed(listed).await?,
        }
        Ok(())
    }

    fn now(&self) -> Millis {
        self.args.config.clock.now()
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

    /// Whether this client chose a peer, if it is connected.
    fn dialled(&self, id: PeerId) -> Option<bool> {
        let peers = self.args.network.peers();
        peers.iter().find(|peer| peer.id == id).map(|peer| peer.outbound)
    }

    async fn drop_peer(&self, peer: PeerId, offence: Offence, reason: String) {
        self.args.metrics.peers_dropped.inc();
        self.args.network.report(peer, offence).await;
        self.emit(Event::PeerDropped { peer, reason });
    }

    fn raise(&self, kind: AlarmKind) {
        let chain_id = self.args.chain_id.clone();
        let alarm = Alarm { chain_id, at: self.now().0, kind };
        if self.args.alarms.try_send(alarm).is_err() {
            self.args.metrics.alarms_failed.inc();
            tracing::error!("an alarm was not passed to the hooks: too many are waiting");
        }
    }

    /// Follows no further: writes the evidence to a file of its own, then that the client halted.
    pub(crate) async fn halt(
        &mut self,
        height: u64,
        from: u64,
        reason: HaltReason,
        evidence: &serde_json::Value,
    ) -> Result<(), ClientError> {
        if self.halted.is_some() {
            return Ok(());
        }
        let since = self.now().0;
        let path = self.args.home.join(format!("evidence-{height}-{}-{since}.json", reason.word()));
        let written = tokio::fs::write(&path, format!("{evidence:#}\n")).await;
        written.map_err(|source| StoreError::Directory { path: path.display().to_string(), source })?;
        if let HaltReason::Fraud { kind } = &reason {
            let state = StateReport::Fraud { proof: kind.clone() };
            self.record(HeightReport { state, ..HeightReport::pending(height) });
        }
        let halt = Halt { height, from, since, reason, evidence: path };
        self.batch.halt = Some(halt.clone());
        self.flush().await?;
        self.halted = Some(halt.clone());
        self.samplers.clear();
        self.gaps.clear();
        self.args.metrics.halted.set(1);
        self.raise(AlarmKind::Halted(halt.clone()));
        self.emit(Event::Halted(halt));
        Ok(())
    }

    /// Follows no further: a newer program has to. What is verified is still sampled, and served.
    pub(crate) fn outdated(&mut self, unknown: UnknownRules) {
        if self.outdated.is_some() {
            return;
        }
        self.outdated = Some(unknown);
        self.args.metrics.outdated.set(1);
        self.raise(AlarmKind::Outdated(unknown));
        self.emit(Event::Outdated(unknown));
    }

    /// Begins all deadlines anew when the clock jumped.
    fn watch_clock(&mut self, now: Millis) {
        let ticked = std::mem::replace(&mut self.ticked, now);
        let by = now.since(ticked);
        if by < SLEPT && ticked.since(now) < SLEPT {
            return;
        }
        self.emit(Event::Slept { by });
        self.online_since = now;
        for sampler in self.samplers.values_mut() {
            sampler.slept(now);
        }
        (self.poll_at, self.step_at, self.witness_at, self.alone_since) = (now, now, now, None);
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
            self.online_since = self.now();
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
            header_hash: trusted.map(|header| hex::encode(header.hash())),
            available_height: available.map(|report| report.height),
            confidence: available.and_then(|report| report.state.confidence()),
            wanted_confidence: self.args.config.confidence.probability(),
            blocks_sampled: self.blocks_sampled,
            offline_since: self.offline_since.map(|at| at.0),
            last_sample: self.last_sample.map(|at| at.0),
            peers: self.args.network.peers().len(),
            wire_bytes: WireBytes::new(self.args.network.wire_bytes(), self.blocks_sampled),
            resident_bytes: resident_bytes(),
            witnessed_height: self.witnessed,
            halted: self.halted.clone(),
            outdated: self.outdated,
            budget: self.budget.clone().map(|mut budget| BudgetReport {
                bytes_per_day: budget.bytes_per_day(),
                left_bytes: budget.left(self.now()),
            }),
            heights: heights.take(HEIGHTS_IN_STATUS).map(live).collect(),
        }
    }
}
