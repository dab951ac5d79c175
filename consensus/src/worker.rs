//! The task between engine and application.
//!
//! It owns the [`Pool`] and the pace, asks the application from tasks of their own and never waits
//! for an answer, so the engine's questions are taken up at once whatever the application does.
//!
//! **Pace.** The engine starts a height when the answer to `Finalized` (or, first, `ConsensusReady`)
//! tells it to. The worker keeps that answer back until the application is ready for the height or
//! others are seen to have started it:
//!
//! * a proposal of the height, signed by its round's proposer;
//! * a vote for the height, signed by one of its validators;
//! * more than half of the peers that told their tip have committed the height already.
//!
//! So no proposer stalls a height that all wait for, and the propose timeout need not cover the
//! wait. Nothing is lost meanwhile: the engine goes on counting late votes, and keeps messages of up
//! to ten later heights (500 each) for when they start.
//!
//! **Durability.** A proposal is in the application's store before the engine hears of it, and so
//! before this node votes for it: the engine's log holds ids only.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_app::types::streaming::{StreamId, StreamMessage};
use arc_malachitebft_core_types::{
    CommitCertificate, Height as _, HeightParams, LinearTimeouts, Round, SignedVote,
    Validator as _, ValidatorSet as _, Validity, ValueOrigin, Vote as _,
};
use arc_malachitebft_engine::consensus::{ConsensusMsg, ConsensusRef};
use arc_malachitebft_engine::host::{
    HostMsg, LocallyProposedValue, Next, ProposedValue, SyncedValueOutcome,
};
use arc_malachitebft_engine::network::{NetworkMsg, NetworkRef};
use arc_malachitebft_engine::util::streaming::StreamContent;
use arc_malachitebft_sync::RawDecidedValue;
use bytes::Bytes;
use ractor::RpcReplyPort;
use tendermint::block::Commit;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::actors::Hint;
use crate::app::{
    AppError, Application, MAX_PAYLOAD_BYTES, MAX_VALUE_BYTES, NextHeight, Payload, SyncFault,
    Timeouts, Verdict,
};
use crate::block_ref::BlockRef;
use crate::commit::{certificate_from_commit, commit_from_certificate};
use crate::context::{Address, Height, Part, ValidatorSet, WeftContext};
use crate::engine::{Error, View};
use crate::pool::{Entry, Pool, Stage};
use crate::signing::{EdSigner, SignBytes};
use crate::wire::Wire;

type Ctx = WeftContext;

/// What the worker is told from outside.
pub(crate) enum Event {
    /// The engine's host was asked or told something.
    Host(Box<HostMsg<Ctx>>),
    /// The network's hint.
    Hint(Hint),
    /// Something that a proposal of this height missed has arrived.
    Completed(Height),
    /// The user has had enough.
    Stop,
    /// The engine has stopped its host.
    Ended,
}

/// What a task comes back with.
enum Done {
    Nothing,
    Began(NextHeight, Vec<Bytes>, StartPort),
    Assessed(Height, Round, BlockRef, Verdict),
    Proposed(Entry, RpcReplyPort<LocallyProposedValue<Ctx>>),
    Synced(Entry, Round, RpcReplyPort<SyncedValueOutcome<Ctx>>),
    Committed(NextHeight, RpcReplyPort<()>),
    Recorded,
    Ready(Height),
    Failed(Error),
}

/// The two ways in which the engine asks what to start.
enum StartPort {
    First(RpcReplyPort<(Height, HeightParams<Ctx>)>),
    Next(RpcReplyPort<Next<Ctx>>),
}

/// The engine's question what to start.
struct Finished {
    /// The height to start.
    height: Height,
    port: StartPort,
    /// A commit with more signatures than the application has, to be recorded once it has one.
    fuller: Option<Commit>,
}

/// What the worker works with.
pub(crate) struct Args {
    pub(crate) app: Arc<dyn Application>,
    pub(crate) consensus: ConsensusRef<Ctx>,
    pub(crate) network: NetworkRef<Ctx>,
    pub(crate) sign_bytes: SignBytes,
    /// `None` for a node without a vote.
    pub(crate) signer: Option<EdSigner>,
    pub(crate) timeouts: Timeouts,
    pub(crate) awaited: Arc<AtomicU64>,
    pub(crate) view: watch::Sender<View>,
}

pub(crate) struct Worker {
    args: Args,
    tasks: JoinSet<Done>,
    pool: Pool,
    /// The height to decide and its validators; `None` before the application has told.
    next: Option<(Height, ValidatorSet)>,
    /// The decided height, how many signatures its commit has, and its validators.
    decided: Option<(Height, usize, ValidatorSet)>,
    finished: Option<Finished>,
    /// A fuller commit is being recorded.
    recording: bool,
    /// The application's readiness for the next height is waited for.
    waiting: Option<AbortHandle>,
    /// What peers say they have committed.
    tips: HashMap<PeerId, Height>,
    /// Streams published, so that each has another id.
    streams: u64,
}

impl Worker {
    pub(crate) fn new(args: Args) -> Self {
        Self {
            args,
            tasks: JoinSet::new(),
            pool: Pool::default(),
            next: None,
            decided: None,
            finished: None,
            recording: false,
            waiting: None,
            tips: HashMap::new(),
            streams: 0,
        }
    }

    /// Runs until it is told to stop or something fails for good.
    pub(crate) async fn run(mut self, mut events: mpsc::Receiver<Event>) -> Result<(), Error> {
        loop {
            tokio::select! {
                event = events.recv() => match event {
                    None | Some(Event::Stop) => return Ok(()),
                    Some(Event::Ended) => return Err(Error::Ended),
                    Some(Event::Host(message)) => self.on_host(*message)?,
                    Some(Event::Hint(hint)) => self.on_hint(hint)?,
                    Some(Event::Completed(height)) => self.on_completed(height),
                },
                Some(done) = self.tasks.join_next(), if !self.tasks.is_empty() => match done {
                    Ok(done) => self.on_done(done)?,
                    Err(error) if error.is_cancelled() => {}
                    Err(error) => return Err(Error::Task(error.to_string())),
                },
            }
        }
    }

    fn on_host(&mut self, message: HostMsg<Ctx>) -> Result<(), Error> {
        let app = Arc::clone(&self.args.app);
        match message {
            HostMsg::ConsensusReady { reply_to } => {
                self.spawn(async move {
                    let next = app
                        .next_height()
                        .await
                        .map_err(Error::application("next_height"))?;
                    let stored = app.undecided(next.height).await;
                    let stored = stored.map_err(Error::application("undecided"))?;
                    Ok(Done::Began(next, stored, StartPort::First(reply_to)))
                });
            }
            HostMsg::StartedRound {
                height,
                round,
                reply_to,
                ..
            } => {
                // What is known of this round is with the engine already, or on its way.
                let _ = reply_to.send(Vec::new());
                let round = round.as_u32().unwrap_or(0);
                self.args
                    .view
                    .send_modify(|view| (view.height, view.round) = (height.as_u64(), round));
            }
            HostMsg::GetValue {
                height,
                round,
                timeout,
                reply_to,
            } => {
                self.on_get_value(height, round, timeout, reply_to);
            }
            HostMsg::ReceivedProposalPart { part, .. } => {
                // The answer, if any, goes to the consensus actor as a message of its own.
                if let Some(part) = part.content.into_data() {
                    self.on_part(part)?;
                }
            }
            HostMsg::RestreamValue {
                height, value_id, ..
            } => {
                if let Some(part) = self
                    .pool
                    .find(height, &value_id)
                    .map(|entry| entry.part.clone())
                {
                    self.publish(part);
                }
            }
            HostMsg::Decided {
                certificate,
                reply_to,
                ..
            } => self.on_decided(&certificate, reply_to)?,
            HostMsg::Finalized {
                certificate,
                reply_to,
                ..
            } => self.on_finalized(&certificate, reply_to)?,
            HostMsg::GetHistoryMinHeight { reply_to } => self.spawn(async move {
                let _ = reply_to.send(app.min_height().await.into());
                Ok(Done::Nothing)
            }),
            HostMsg::GetDecidedValues { range, reply_to } => self.spawn(async move {
                let _ = reply_to.send(decided_values(&*app, *range.start(), *range.end()).await);
                Ok(Done::Nothing)
            }),
            HostMsg::ProcessSyncedValue {
                height,
                round,
                proposer,
                value_bytes,
                reply_to,
            } => {
                self.spawn(async move {
                    synced(&*app, height, round, proposer, value_bytes, reply_to).await
                });
            }
            // Extensions are disabled at every height: neither is ever asked.
            HostMsg::ExtendVote { reply_to, .. } => drop(reply_to.send(None)),
            HostMsg::VerifyVoteExtensions { reply_to, .. } => drop(reply_to.send(Vec::new())),
        }
        Ok(())
    }

    fn on_done(&mut self, done: Done) -> Result<(), Error> {
        match done {
            Done::Nothing => {}
            Done::Failed(error) => return Err(error),
            Done::Began(next, stored, port) => {
                self.set_next(&next)?;
                for bytes in stored {
                    // Our own disk: what does not decode is of another version and of no use.
                    let Ok(part) = Part::from_wire(bytes) else {
                        continue;
                    };
                    let settled = part.signature.is_none();
                    let stage = if settled {
                        Stage::Settled
                    } else {
                        Stage::Assessing { again: false }
                    };
                    let Some(entry) = Entry::new(part, stage) else {
                        continue;
                    };
                    self.pool.insert_always(entry.clone());
                    if !settled {
                        self.assess(entry, false);
                    }
                }
                let height = Height::from(next.height);
                self.finished = Some(Finished {
                    height,
                    port,
                    fuller: None,
                });
                self.wait_for_start();
            }
            Done::Assessed(height, round, id, verdict) => {
                self.on_assessed(height, round, id, verdict)
            }
            Done::Proposed(entry, reply_to) => {
                let (height, round) = (entry.part.height, entry.part.round);
                let part = entry.part.clone();
                let value = entry.id;
                self.pool.insert_always(entry);
                let _ = reply_to.send(LocallyProposedValue::new(height, round, value));
                self.publish(part);
            }
            Done::Synced(entry, round, reply_to) => {
                let value = proposed_value(&entry, round, Validity::Valid);
                self.pool.insert_always(entry);
                let _ = reply_to.send(SyncedValueOutcome::Verdict(value));
            }
            Done::Committed(next, reply_to) => {
                let _ = reply_to.send(());
                self.set_next(&next)?;
                self.wait_for_start();
            }
            Done::Recorded => {
                self.recording = false;
                self.wait_for_start();
            }
            Done::Ready(height) => {
                if self.next.as_ref().is_some_and(|(next, _)| *next == height) {
                    self.start();
                }
            }
        }
        Ok(())
    }

    /// `height` is committed up to: forget what is below, check what was kept unchecked.
    fn set_next(&mut self, next: &NextHeight) -> Result<(), Error> {
        let height = Height::from(next.height);
        let validators = ValidatorSet::try_from(&next.validators)?;
        self.args
            .view
            .send_modify(|view| view.committed = height.decrement().unwrap_or_default().as_u64());
        self.pool.prune(height);
        let unchecked = self.pool.take_unchecked(height);
        self.next = Some((height, validators));
        unchecked
            .into_iter()
            .try_for_each(|part| self.on_part(part))
    }

    // Proposals

    fn on_get_value(
        &mut self,
        height: Height,
        round: Round,
        timeout: Duration,
        reply_to: RpcReplyPort<LocallyProposedValue<Ctx>>,
    ) {
        let Some(signer) = self.args.signer.clone() else {
            return;
        };
        let proposer = signer.address();
        if let Some(entry) = self.pool.proposed(height, round, proposer) {
            let part = entry.part.clone();
            let _ = reply_to.send(LocallyProposedValue::new(height, round, entry.id));
            return self.publish(part);
        }
        let app = Arc::clone(&self.args.app);
        let deadline = Instant::now() + timeout;
        self.spawn(async move {
            let number = round.as_u32().unwrap_or(0);
            let payload = match app.propose(height.to_block(), number, deadline).await {
                Ok(payload) => payload.encode(),
                Err(error) => {
                    warn!(%height, %round, %error, "nothing to propose");
                    return Ok(Done::Nothing);
                }
            };
            let part = Part {
                height,
                round,
                proposer,
                payload,
                signature: None,
            };
            let part = signer.sign_part(part);
            let Some(entry) = Entry::new(part, Stage::Settled) else {
                return Err(Error::Proposal {
                    height: height.as_u64(),
                    limit: MAX_PAYLOAD_BYTES,
                });
            };
            store(&*app, &entry).await?;
            Ok(Done::Proposed(entry, reply_to))
        });
    }

    fn publish(&mut self, part: Part) {
        if part.signature.is_none() {
            return;
        }
        self.streams += 1;
        let stream = StreamId::new(Bytes::copy_from_slice(&self.streams.to_be_bytes()));
        let message = StreamMessage::new(stream, 0, StreamContent::Data(part));
        let _ = self
            .args
            .network
            .cast(NetworkMsg::PublishProposalPart(message));
    }

    /// A proposal from the network, or one that was kept until its height's validators were known.
    fn on_part(&mut self, part: Part) -> Result<(), Error> {
        let Some((next, validators)) = &self.next else {
            return Ok(());
        };
        let (next, height) = (*next, part.height);
        if !Pool::covers(next, height) {
            return Ok(());
        }
        let stage = if height == next {
            let proposer = validators.proposer(height, part.round);
            let genuine = *proposer.address() == part.proposer
                && part.round.is_defined()
                && self
                    .args
                    .sign_bytes
                    .check_part(&part, proposer.public_key());
            if !genuine {
                debug!(%height, round = %part.round, proposer = %part.proposer, "proposal is not its proposer's");
                return Ok(());
            }
            Stage::Assessing { again: false }
        } else {
            Stage::Unchecked
        };
        let Some(entry) = Entry::new(part, stage) else {
            debug!(%height, "proposal does not decode");
            return Ok(());
        };
        if self.pool.insert(entry.clone()) && stage != Stage::Unchecked {
            self.assess(entry, true);
            if self.waiting.is_some() {
                self.start();
            }
        }
        Ok(())
    }

    /// Asks the application for its verdict, after having stored a `new` proposal.
    fn assess(&mut self, entry: Entry, new: bool) {
        let app = Arc::clone(&self.args.app);
        self.spawn(async move {
            if new {
                store(&*app, &entry).await?;
            }
            let Part {
                height,
                round,
                proposer,
                ..
            } = entry.part;
            let verdict = app
                .assess(height.to_block(), proposer.to_account(), &entry.payload)
                .await;
            Ok(Done::Assessed(height, round, entry.id, verdict))
        });
    }

    fn on_assessed(&mut self, height: Height, round: Round, id: BlockRef, verdict: Verdict) {
        let Some(stage) = self.pool.stage(height, round, &id) else {
            return;
        };
        let again = matches!(stage, Stage::Assessing { again: true });
        let validity = match verdict {
            Verdict::Valid => Validity::Valid,
            Verdict::Invalid(reason) => {
                warn!(%height, %round, block = %id, reason, "proposal is invalid");
                Validity::Invalid
            }
            Verdict::NotYet => {
                *stage = Stage::Waiting;
                if again {
                    self.on_completed(height);
                }
                return;
            }
        };
        *stage = Stage::Settled;
        let Some(entry) = self.pool.find(height, &id) else {
            return;
        };
        let value = proposed_value(entry, round, validity);
        let message = ConsensusMsg::ReceivedProposedValue(value, ValueOrigin::Consensus);
        let _ = self.args.consensus.cast(message);
    }

    fn on_completed(&mut self, height: Height) {
        for entry in self.pool.retry(height) {
            self.assess(entry, false);
        }
    }

    // Decisions

    fn on_decided(
        &mut self,
        certificate: &CommitCertificate<Ctx>,
        reply_to: RpcReplyPort<()>,
    ) -> Result<(), Error> {
        let height = certificate.height;
        let missing = || Error::MissingPayload {
            height: height.as_u64(),
        };
        let payload = Arc::clone(
            &self
                .pool
                .find(height, &certificate.value_id)
                .ok_or_else(missing)?
                .payload,
        );
        let (_, validators) = self
            .next
            .as_ref()
            .filter(|(next, _)| *next == height)
            .ok_or_else(missing)?;
        let commit = commit_from_certificate(certificate, validators);
        self.decided = Some((
            height,
            certificate.commit_signatures.len(),
            validators.clone(),
        ));
        info!(%height, round = %certificate.round, block = %certificate.value_id, "decided");
        let app = Arc::clone(&self.args.app);
        self.spawn(async move {
            let next = app.commit(height.to_block(), &payload, commit).await;
            Ok(Done::Committed(
                next.map_err(Error::application("commit"))?,
                reply_to,
            ))
        });
        Ok(())
    }

    fn on_finalized(
        &mut self,
        certificate: &CommitCertificate<Ctx>,
        reply_to: RpcReplyPort<Next<Ctx>>,
    ) -> Result<(), Error> {
        let height = certificate.height;
        let (_, known, validators) = self
            .decided
            .as_ref()
            .filter(|(decided, ..)| *decided == height)
            .ok_or(Error::MissingPayload {
                height: height.as_u64(),
            })?;
        let fuller = certificate.commit_signatures.len() > *known;
        let fuller = fuller.then(|| commit_from_certificate(certificate, validators));
        let (height, port) = (height.increment(), StartPort::Next(reply_to));
        self.finished = Some(Finished {
            height,
            port,
            fuller,
        });
        self.wait_for_start();
        Ok(())
    }

    // Pace

    /// Begins to wait for the next height's start once the last one is finalized, committed and
    /// recorded.
    fn wait_for_start(&mut self) {
        let (Some(finished), Some((next, _))) = (&mut self.finished, &self.next) else {
            return;
        };
        if finished.height != *next || self.recording || self.waiting.is_some() {
            return;
        }
        let next = *next;
        let app = Arc::clone(&self.args.app);
        if let Some(commit) = finished.fuller.take() {
            self.recording = true;
            self.spawn(async move {
                let recorded = app.finalized(commit.height, commit).await;
                recorded.map_err(Error::application("finalized"))?;
                Ok(Done::Recorded)
            });
        } else if self.pool.has_checked(next) || self.most_peers_have(next) {
            self.start();
        } else {
            self.args.awaited.store(next.as_u64(), Ordering::Relaxed);
            self.waiting = Some(self.tasks.spawn(async move {
                app.ready_to_start(next.to_block()).await;
                Done::Ready(next)
            }));
        }
    }

    /// Starts the next height, if it is waited for.
    fn start(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            waiting.abort();
        }
        self.args.awaited.store(0, Ordering::Relaxed);
        let (Some(finished), Some((height, validators))) = (self.finished.take(), &self.next)
        else {
            return;
        };
        let timeouts = linear(&self.args.timeouts);
        let params = HeightParams::new(
            validators.clone(),
            timeouts,
            Some(self.args.timeouts.finalize),
        );
        match finished.port {
            StartPort::First(port) => drop(port.send((*height, params))),
            StartPort::Next(port) => drop(port.send(Next::Start(*height, params))),
        }
    }

    fn on_hint(&mut self, hint: Hint) -> Result<(), Error> {
        match hint {
            Hint::Tip(peer, tip) => drop(self.tips.insert(peer, tip)),
            Hint::Gone(peer) => drop(self.tips.remove(&peer)),
            Hint::Listening(address) => {
                self.args
                    .view
                    .send_modify(|view| view.listening.push(address));
            }
            Hint::Vote(vote) => {
                if self.waiting.is_some() && self.is_for_next(&vote) {
                    self.start();
                }
            }
        }
        if self.waiting.is_some()
            && self
                .next
                .as_ref()
                .is_some_and(|(next, _)| self.most_peers_have(*next))
        {
            self.start();
        }
        Ok(())
    }

    fn is_for_next(&self, vote: &SignedVote<Ctx>) -> bool {
        self.next.as_ref().is_some_and(|(next, validators)| {
            vote.height() == *next
                && validators
                    .get_by_address(vote.validator_address())
                    .is_some_and(|v| self.args.sign_bytes.check_vote(vote, v.public_key()))
        })
    }

    /// One peer alone cannot hurry this node, unless it has no other.
    fn most_peers_have(&self, height: Height) -> bool {
        let ahead = self.tips.values().filter(|tip| **tip >= height).count();
        ahead * 2 > self.tips.len()
    }

    fn spawn(&mut self, task: impl Future<Output = Result<Done, Error>> + Send + 'static) {
        self.tasks
            .spawn(async move { task.await.unwrap_or_else(Done::Failed) });
    }
}

fn linear(timeouts: &Timeouts) -> LinearTimeouts {
    LinearTimeouts {
        propose: timeouts.propose,
        propose_delta: timeouts.delta,
        prevote: timeouts.prevote,
        prevote_delta: timeouts.delta,
        precommit: timeouts.precommit,
        precommit_delta: timeouts.delta,
        rebroadcast: timeouts.rebroadcast,
        ..LinearTimeouts::default()
    }
}

fn proposed_value(entry: &Entry, round: Round, validity: Validity) -> ProposedValue<Ctx> {
    ProposedValue {
        height: entry.part.height,
        round,
        valid_round: Round::Nil,
        proposer: entry.part.proposer,
        value: entry.id,
        validity,
    }
}

async fn store(app: &dyn Application, entry: &Entry) -> Result<(), Error> {
    let stored = app
        .store_undecided(entry.part.height.to_block(), entry.part.to_wire())
        .await;
    stored.map_err(Error::application("store_undecided"))
}

async fn synced(
    app: &dyn Application,
    height: Height,
    round: Round,
    proposer: Address,
    value_bytes: Bytes,
    reply_to: RpcReplyPort<SyncedValueOutcome<Ctx>>,
) -> Result<Done, Error> {
    let payload: Result<Payload, SyncFault> = app.synced(height.to_block(), value_bytes).await;
    let entry = payload.and_then(|payload| {
        let part = Part {
            height,
            round,
            proposer,
            payload: payload.encode(),
            signature: None,
        };
        Entry::new(part, Stage::Settled)
            .ok_or_else(|| SyncFault::Peer("not a block of this height".into()))
    });
    let outcome = match entry {
        Ok(entry) => {
            store(app, &entry).await?;
            return Ok(Done::Synced(entry, round, reply_to));
        }
        Err(SyncFault::Peer(reason)) => {
            warn!(%height, reason, "a peer sent a wrong value");
            SyncedValueOutcome::PeerFault
        }
        Err(SyncFault::Local(reason)) => {
            warn!(%height, reason, "a synced value could not be processed");
            SyncedValueOutcome::LocalTransientError
        }
    };
    let _ = reply_to.send(outcome);
    Ok(Done::Nothing)
}

/// The values from `start` to `end` as far as there are any without a gap.
async fn decided_values(
    app: &dyn Application,
    start: Height,
    end: Height,
) -> Vec<RawDecidedValue<Ctx>> {
    let mut values = Vec::new();
    let mut height = start;
    while height <= end {
        let found: Result<_, AppError> = app.decided(height.to_block()).await;
        let value = match found {
            Ok(Some(value)) if value.value_bytes.len() <= MAX_VALUE_BYTES => value,
            Ok(_) => break,
            Err(error) => {
                warn!(%height, %error, "a decided value could not be read");
                break;
            }
        };
        let Some(certificate) = certificate_from_commit(&value.commit) else {
            break;
        };
        values.push(RawDecidedValue::new(value.value_bytes, certificate));
        height = height.increment();
    }
    values
}
