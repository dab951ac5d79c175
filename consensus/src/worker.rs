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

mod pace;
mod proposals;
mod sync;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use arc_malachitebft_app::types::PeerId;
use arc_malachitebft_core_consensus::SignedConsensusMsg;
use arc_malachitebft_core_types::{CommitCertificate, Height as _, HeightParams, Round, Validity};
use arc_malachitebft_engine::consensus::{ConsensusMsg, ConsensusRef};
use arc_malachitebft_engine::host::{HostMsg, LocallyProposedValue, Next, SyncedValueOutcome};
use arc_malachitebft_engine::network::{NetworkEvent, NetworkMsg, NetworkRef};
use bytes::Bytes;
use ractor::RpcReplyPort;
use tendermint::block::Commit;
use tendermint::chain;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tracing::info;

use crate::actors::Hint;
use crate::app::{Application, NextHeight, Verdict};
use crate::block_ref::BlockRef;
use crate::commit::commit_from_certificate;
use crate::config::Timeouts;
use crate::context::{Height, Part, WeftContext};
use crate::engine::{Error, View};
use crate::equivocation::Equivocation;
use crate::pool::{Entry, Pool, Stage};
use crate::signer::ConsensusSigner;
use crate::signing::SignBytes;
use crate::validators::ValidatorSet;
use crate::wire::Wire;
use proposals::proposed_value;
use sync::{decided_values, synced};

type Ctx = WeftContext;

/// What the worker is told from outside.
pub(crate) enum Event {
    /// The engine's host was asked or told something.
    Host(Box<HostMsg<Ctx>>),
    /// The network's hint.
    Hint(Hint),
    /// A vote or proposal of this node's that was signed late.
    Signed(SignedConsensusMsg<Ctx>),
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
    /// Who contradicted himself, to be recorded before anything else.
    equivocations: Vec<Equivocation>,
}

/// What the worker works with.
pub(crate) struct Args {
    pub(crate) app: Arc<dyn Application>,
    pub(crate) consensus: ConsensusRef<Ctx>,
    pub(crate) network: NetworkRef<Ctx>,
    pub(crate) sign_bytes: SignBytes,
    /// `None` for a node without a vote.
    pub(crate) signer: Option<ConsensusSigner>,
    /// This node's own.
    pub(crate) peer_id: PeerId,
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
    /// The engine's height and round.
    round: (Height, u32),
    /// The decided height, how many signatures its commit has, and its validators.
    decided: Option<(Height, usize, ValidatorSet)>,
    /// The application is committing.
    committing: bool,
    finished: Option<Finished>,
    /// A fuller commit, or a contradiction, is being recorded.
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
            round: (Height::default(), 0),
            decided: None,
            committing: false,
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
                    None | Some(Event::Stop) => return self.finish_commit().await,
                    Some(Event::Ended) => return Err(Error::Ended),
                    Some(Event::Host(message)) => self.on_host(*message)?,
                    Some(Event::Hint(hint)) => self.on_hint(hint),
                    Some(Event::Signed(message)) => self.on_signed(message),
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

    /// A commit that has begun is not torn off.
    async fn finish_commit(mut self) -> Result<(), Error> {
        while self.committing {
            match self.tasks.join_next().await {
                Some(Ok(Done::Committed(..))) | None => self.committing = false,
                Some(Ok(Done::Failed(error))) => return Err(error),
                Some(_) => {}
            }
        }
        Ok(())
    }

    fn on_host(&mut self, message: HostMsg<Ctx>) -> Result<(), Error> {
        let app = Arc::clone(&self.args.app);
        match message {
            HostMsg::ConsensusReady { reply_to } => {
                self.spawn(async move {
                    let next = app.next_height().await.map_err(Error::application("next_height"))?;
                    let stored = app.undecided(next.height).await;
                    let stored = stored.map_err(Error::application("undecided"))?;
                    Ok(Done::Began(next, stored, StartPort::First(reply_to)))
                });
            }
            HostMsg::StartedRound { height, round, reply_to, .. } => {
                // What is known of this round is with the engine already, or on its way.
                let _ = reply_to.send(Vec::new());
                let round = round.as_u32().unwrap_or(0);
                self.round = (height, round);
                self.args.view.send_modify(|view| (view.height, view.round) = (height.as_u64(), round));
            }
            HostMsg::GetValue { height, round, timeout, reply_to } => {
                self.on_get_value(height, round, timeout, reply_to);
            }
            HostMsg::ReceivedProposalPart { part, .. } => {
                // The answer, if any, goes to the consensus actor as a message of its own.
                if let Some(part) = part.content.into_data() {
                    self.on_part(part);
                }
            }
            HostMsg::RestreamValue { height, value_id, .. } => {
                if let Some(part) = self.pool.find(height, &value_id).map(|entry| entry.part.clone()) {
                    self.publish(part);
                }
            }
            HostMsg::Decided { certificate, reply_to, .. } => self.on_decided(&certificate, reply_to)?,
            HostMsg::Finalized { certificate, evidence, reply_to, .. } => {
                self.on_finalized(&certificate, &evidence, reply_to)?;
            }
            HostMsg::GetHistoryMinHeight { reply_to } => self.spawn(async move {
                let _ = reply_to.send(app.min_height().await.into());
                Ok(Done::Nothing)
            }),
            HostMsg::GetDecidedValues { range, reply_to } => self.spawn(async move {
                let _ = reply_to.send(decided_values(&*app, *range.start(), *range.end()).await);
                Ok(Done::Nothing)
            }),
            HostMsg::ProcessSyncedValue { height, round, proposer, value_bytes, reply_to } => {
                let chain_id = self.chain_id();
                self.spawn(async move {
                    synced(&*app, height, round, proposer, value_bytes, reply_to, &chain_id).await
                });
            }
            // Extensions are disabled at every height: neither is ever asked.
            HostMsg::ExtendVote { reply_to, .. } => drop(reply_to.send(None)),
            HostMsg::VerifyVoteExtensions { reply_to, .. } => drop(reply_to.send(Vec::new())),
        }
        Ok(())
    }

    /// Gives the engine what it decided on itself and could not sign then, and sends it. The engine
    /// knows messages of this node's only as it knows those of others.
    fn on_signed(&self, message: SignedConsensusMsg<Ctx>) {
        let event = match message.clone() {
            SignedConsensusMsg::Vote(vote) => NetworkEvent::Vote(self.args.peer_id, vote),
            SignedConsensusMsg::Proposal(proposal) => NetworkEvent::Proposal(self.args.peer_id, proposal),
        };
        let _ = self.args.consensus.cast(ConsensusMsg::NetworkEvent(event));
        let _ = self.args.network.cast(NetworkMsg::PublishConsensusMsg(message));
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
                    let stage = if settled { Stage::Settled } else { Stage::Assessing { again: false } };
                    let Some(entry) = Entry::new(part, stage, &self.chain_id()) else {
                        continue;
                    };
                    self.pool.insert_always(entry.clone());
                    if !settled {
                        self.assess(entry, false);
                    }
                }
                let height = Height::from(next.height);
                self.finished = Some(Finished { height, port, fuller: None, equivocations: Vec::new() });
                self.wait_for_start();
            }
            Done::Assessed(height, round, id, verdict) => self.on_assessed(height, round, id, verdict),
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
                self.committing = false;
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
        self.args.view.send_modify(|view| view.committed = height.decrement().unwrap_or_default().as_u64());
        self.pool.prune(height);
        let unchecked = self.pool.take_unchecked(height);
        self.next = Some((height, validators));
        unchecked.into_iter().for_each(|part| self.on_part(part));
        Ok(())
    }

    fn on_decided(
        &mut self,
        certificate: &CommitCertificate<Ctx>,
        reply_to: RpcReplyPort<()>,
    ) -> Result<(), Error> {
        let height = certificate.height;
        let missing = || Error::MissingPayload { height: height.as_u64() };
        let payload = Arc::clone(&self.pool.find(height, &certificate.value_id).ok_or_else(missing)?.payload);
        let (_, validators) = self.next.as_ref().filter(|(next, _)| *next == height).ok_or_else(missing)?;
        let commit = commit_from_certificate(certificate, validators);
        self.decided = Some((height, certificate.commit_signatures.len(), validators.clone()));
        info!(%height, round = %certificate.round, block = %certificate.value_id, "decided");
        let app = Arc::clone(&self.args.app);
        self.committing = true;
        self.spawn(async move {
            let next = app.commit(height.to_block(), &payload, commit).await;
            Ok(Done::Committed(next.map_err(Error::application("commit"))?, reply_to))
        });
        Ok(())
    }

    fn chain_id(&self) -> chain::Id {
        self.args.sign_bytes.chain_id.clone()
    }

    fn spawn(&mut self, task: impl Future<Output = Result<Done, Error>> + Send + 'static) {
        self.tasks.spawn(async move { task.await.unwrap_or_else(Done::Failed) });
    }
}
