//! The node as consensus sees it: what to propose, how to judge, what to keep.

use std::{
    io,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use chain::{Block, BlockError, HeaderHint, Proposal, is_early};
use consensus::{AppError, Application, DecidedValue, Equivocation, NextHeight, Payload, SyncFault, Verdict};
use erasure::SHARE_BYTES;
use network::{Network, Topic};
use tendermint::{
    account,
    block::{Commit, Height},
};
use tokio::time::Instant;

use crate::{
    clock, evidence,
    fetch::Fetcher,
    heavy::Heavy,
    metrics::Stage,
    node::{Node, NodeError},
};

/// How long a validator looks for missing bodies before it says so; looking goes on after that.
const LOOK_FOR: Duration = Duration::from_millis(1_200);

/// How long before the block interval is over the next height starts, so that its proposer's square is ready by then.
const BUILD_AHEAD: Duration = Duration::from_millis(200);

/// Pause between two searches for what a proposal lacks.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// The height to stop at is committed.
#[derive(Debug, thiserror::Error)]
#[error("height {0} is committed, and --halt-height asked to stop there")]
pub(crate) struct Halted(Height);

/// The application that Malachite drives.
#[derive(Debug)]
pub(crate) struct Agree {
    node: Arc<Node>,
    fetcher: Arc<Fetcher>,
    network: Network,
    proposer: account::Id,
    halt: Option<chain::Height>,
    squares: Heavy,
    engine: OnceLock<consensus::Handle>,
}

impl Agree {
    /// An application for the validator (or follower) with this consensus address. With `halt`, committing that
    /// height ends the engine before it can vote on the next.
    pub(crate) fn new(
        node: Arc<Node>,
        fetcher: Arc<Fetcher>,
        network: Network,
        proposer: account::Id,
        halt: Option<chain::Height>,
    ) -> io::Result<Self> {
        let squares = Heavy::start()?;
        Ok(Self { node, fetcher, network, proposer, halt, squares, engine: OnceLock::new() })
    }

    /// The engine, to be told when something missing has arrived.
    pub(crate) fn set_engine(&self, engine: consensus::Handle) {
        // Set once, right after the engine started.
        let _ = self.engine.set(engine);
    }

    fn next(&self) -> Result<NextHeight, AppError> {
        let parent = self.node.head();
        Ok(NextHeight {
            height: Height::try_from(parent.next_height()).map_err(|error| error.to_string())?,
            validators: parent.validators.clone(),
        })
    }

    /// The instant `ms` milliseconds after the latest header's time; now for the first block.
    fn since_last(&self, ms: u64) -> Instant {
        let passed =
            self.node.head().last.as_ref().map_or(Duration::MAX, |last| {
                clock::now().duration_since(last.header.time).unwrap_or_default()
            });
        Instant::now() + Duration::from_millis(ms).saturating_sub(passed)
    }

    /// Runs `work` on a thread that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let node = self.node.clone();
        match tokio::task::spawn_blocking(move || work(&node)).await {
            Ok(done) => self.checked(done),
            Err(error) => Err(NodeError::Task(error.to_string())),
        }
    }

    /// Runs `work` on the thread for squares.
    async fn heavy<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Node) -> Result<T, NodeError> + Send + 'static,
    ) -> Result<T, NodeError> {
        let node = self.node.clone();
        let done = self.squares.run(move || work(&node)).await;
        self.checked(done.unwrap_or_else(|| Err(NodeError::Task("work on a square".into()))))
    }

    /// Begins to build the square that the next block has if pools are alike, while its proposal is on its way.
    fn prepare(&self) {
        let (node, proposer) = (self.node.clone(), self.proposer);
        self.squares.queue(move || match node.prepare(proposer) {
            Err(NodeError::Store(error)) => node.fail(&error),
            // Whoever builds or judges a block meets it again.
            Err(error) => tracing::debug!(%error, "no square prepared"),
            Ok(()) => {}
        });
    }

    /// Whatever the engine makes of it, a failed database ends the node.
    fn checked<T>(&self, done: Result<T, NodeError>) -> Result<T, NodeError> {
        if let Err(NodeError::Store(error)) = &done {
            self.node.fail(error);
        }
        done
    }

    /// Whether `height` is still the next: a decision that overtook what was judged says nothing about the judged.
    fn is_next(&self, height: Height) -> bool {
        self.node.head().next_height() == height.value()
    }

    /// Goes on looking for what `proposal` lacks until it is here or the height is over, then tells the engine.
    fn look_further(&self, height: Height, proposal: Proposal) {
        let (node, fetcher, engine) = (self.node.clone(), self.fetcher.clone(), self.engine.get().cloned());
        tokio::spawn(async move {
            while node.head().next_height() == height.value() {
                if fetcher.obtain_all(&proposal.ids).await.is_ok()
                    && !is_early(&proposal.header, clock::now())
                {
                    if let Some(engine) = engine {
                        engine.completed(height).await;
                    }
                    return;
                }
                tokio::time::sleep(LOOK_AGAIN).await;
            }
        });
    }
}

#[async_trait]
impl Application for Agree {
    async fn next_height(&self) -> Result<NextHeight, AppError> {
        self.next()
    }

    async fn ready_to_start(&self, _height: Height) {
        let parameters = &self.node.genesis.parameters;
        // What is there by then is built while the rest of the interval passes.
        let early = parameters.block_interval_ms.saturating_sub(BUILD_AHEAD.as_millis() as u64);
        tokio::time::sleep_until(self.since_last(early)).await;
        let idle = self.since_last(parameters.idle_interval_ms);
        let mut changes = self.node.pool.changes();
        let work = async {
            loop {
                let base_fee = self.node.base_fee().unwrap_or(u64::MAX);
                if self.node.pool.has_work(base_fee) || changes.changed().await.is_err() {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout_at(idle, work).await;
        self.prepare();
    }

    fn expected_bytes(&self) -> u64 {
        let square = self.node.genesis.parameters.width().shares() * SHARE_BYTES;
        self.node.pool.size().1.min(square) as u64
    }

    async fn propose(&self, _height: Height, _round: u32, _deadline: Instant) -> Result<Payload, AppError> {
        let proposer = self.proposer;
        let draft = self.heavy(move |node| node.draft(proposer)).await?;
        tokio::time::sleep_until(self.since_last(self.node.genesis.parameters.block_interval_ms)).await;
        let valid = self.blocking(move |node| node.seal(draft, clock::now())).await?;
        let proposal = valid.proposal(&self.node.genesis);
        Ok(Payload { header: proposal.header.clone(), body: proposal.encode_body().into() })
    }

    fn check_body(&self, payload: &Payload) -> Result<(), AppError> {
        Ok(Proposal::check_body(&payload.header, &payload.body)?)
    }

    async fn assess(&self, height: Height, proposer: account::Id, payload: &Payload) -> Verdict {
        let metrics = &self.node.metrics;
        let invalid = |reason: String| {
            metrics.proposals_invalid.inc();
            tracing::warn!(%height, %proposer, reason, "invalid proposal");
            Verdict::Invalid(reason)
        };
        let proposal = match Proposal::decode(payload.header.clone(), &payload.body) {
            Ok(proposal) => proposal,
            Err(error) => return invalid(error.to_string()),
        };
        let limit = self.node.genesis.parameters.transactions_per_block as usize;
        if proposal.ids.len() > limit {
            return invalid(format!("{} transactions, a block holds {limit}", proposal.ids.len()));
        }
        if !self.is_next(height) {
            return Verdict::NotYet;
        }
        let started = std::time::Instant::now();
        let found = tokio::time::timeout(LOOK_FOR, self.fetcher.obtain_all(&proposal.ids)).await;
        metrics.took(Stage::Gather, started);
        let found = match found {
            Ok(Ok(found)) if !is_early(&proposal.header, clock::now()) => found,
            lacking => {
                metrics.proposals_incomplete.inc();
                let why = match lacking {
                    Err(_) => "not all of its transactions came in time".into(),
                    Ok(Err(missing)) => format!("nobody asked has {} of its transactions", missing.len()),
                    Ok(Ok(_)) => "its time is ahead of this node's clock".into(),
                };
                tracing::info!(%height, %proposer, why, "proposal cannot be judged yet");
                self.look_further(height, proposal);
                return Verdict::NotYet;
            }
        };
        match self.heavy(move |node| node.validate(&proposal, &found)).await {
            Ok(_) => {
                metrics.proposals_valid.inc();
                Verdict::Valid
            }
            Err(NodeError::Rule { error: BlockError::State(error), .. }) => {
                self.node.fail(&error);
                Verdict::NotYet
            }
            // Whoever knows the rules judges.
            Err(NodeError::Rule { error: BlockError::UnknownRules(_), .. }) => Verdict::NotYet,
            Err(NodeError::Rule { .. }) if !self.is_next(height) => Verdict::NotYet,
            Err(NodeError::Rule { error, .. }) => invalid(error.to_string()),
            Err(error) => {
                self.node.fail(&error);
                Verdict::NotYet
            }
        }
    }

    async fn store_undecided(&self, height: Height, bytes: Bytes) -> Result<(), AppError> {
        Ok(self.blocking(move |node| Ok(node.store.put_undecided(height.value(), &bytes)?)).await?)
    }

    async fn undecided(&self, height: Height) -> Result<Vec<Bytes>, AppError> {
        Ok(self.node.store.undecided(height.value())?.into_iter().map(Bytes::from).collect())
    }

    async fn commit(
        &self,
        height: Height,
        payload: &Payload,
        commit: Commit,
    ) -> Result<NextHeight, AppError> {
        let header = payload.header.hash();
        let valid = self.blocking(move |node| node.commit(height.value(), header, commit)).await?;
        tracing::info!(
            %height,
            transactions = valid.receipts.len(),
            width = valid.placement.width.get(),
            proposer = %valid.block.header.proposer_address,
            "block committed"
        );
        // A hint that a header exists; whoever wants it asks for it. The same bytes from every node spread once.
        let hint = HeaderHint { height: height.value(), hash: header.as_bytes().try_into()? }.encode();
        if let Err(error) = self.network.publish(Topic::Headers, hint.into()).await {
            tracing::trace!(%error, "header not announced");
        }
        if self.halt == Some(height.value()) {
            return Err(Halted(height).into());
        }
        // Before the engine can vote on a block that this build cannot judge.
        self.node.head().rules()?;
        self.next()
    }

    async fn finalized(&self, height: Height, commit: Commit) -> Result<(), AppError> {
        Ok(self.blocking(move |node| node.improve_commit(height.value(), &commit)).await?)
    }

    async fn equivocated(&self, found: Vec<Equivocation>) -> Result<(), AppError> {
        for Equivocation { validator, height, round, signed, .. } in &found {
            tracing::warn!(
                validator = hex::encode(validator),
                height,
                round,
                ?signed,
                "signed two things at once"
            );
        }
        let found: Vec<_> = found.into_iter().map(evidence::of).collect();
        Ok(self.blocking(move |node| Ok(node.store.put_evidence(&found)?)).await?)
    }

    async fn decided(&self, height: Height) -> Result<Option<DecidedValue>, AppError> {
        let store = &self.node.store;
        let (Some(block), Some(commit)) = (store.block_bytes(height.value())?, store.commit(height.value())?)
        else {
            return Ok(None);
        };
        Ok(Some(DecidedValue { value_bytes: block.into(), commit }))
    }

    async fn min_height(&self) -> Height {
        // Heights that the database holds fit.
        Height::try_from(self.node.store.base() + 1).unwrap_or(Height::from(1u32))
    }

    async fn synced(&self, height: Height, value_bytes: Bytes) -> Result<Payload, SyncFault> {
        let block = Block::decode(&value_bytes).map_err(|error| SyncFault::Peer(error.to_string()))?;
        if !self.is_next(height) || block.header.height != height {
            return Err(SyncFault::Local(format!("block {height} does not follow the latest")));
        }
        let valid =
            self.blocking(move |node| node.accept_decided(&block)).await.map_err(|error| match error {
                NodeError::Rule { error, .. } if self.is_next(height) => SyncFault::Peer(error.to_string()),
                error => SyncFault::Local(error.to_string()),
            })?;
        let proposal = valid.proposal(&self.node.genesis);
        Ok(Payload { header: proposal.header.clone(), body: proposal.encode_body().into() })
    }
}
