//! Submitting for the doors: signed here, under the cap, answered when final and verified.
//!
//! ```text
//!  the same blobs again ─▶ joins the submission under way
//!                       ─▶ goes on with the one whose end is not known: same signature, same reservation
//!  new ones ─▶ price and sign ─▶ reserve ─▶ send ─▶ follow to finality ─▶ verify ─▶ settle
//! ```
//!
//! A submission runs to its end whatever becomes of the request: a client that gave up and asks again with the same
//! blobs gets the answer of the first, and pays once. An answer that nobody came for is kept a quarter of an hour.
//!
//! Invariant: while a block may still take a transaction that a node may have, its blobs are not signed anew. That
//! none may is a verified header's word, at the transaction's `valid_until` or later; that a transaction cost
//! nothing is believed of no node before.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use chain::{Amount, Height, SecretKey, TransactionError, TxStatus, fees::MIN_BASE_FEE};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Spending, SpendingError, head::Head, spending::Reservation};
use crate::{Client, ClientError, ErrorCode, HORIZON_LIMIT, NewBlob, Prepared, Receipt, SubmitOptions};

/// How long an answer is kept for whoever asks again.
const KEPT: Duration = Duration::from_secs(15 * 60);

/// Submissions kept whose end is not known; each holds its blobs in memory.
const UNFINISHED: usize = 64;

/// Times that the same signed submission is handed to nodes of which none answers, and the pause between.
const SENDS: (usize, Duration) = (4, Duration::from_millis(500));

/// A final submission, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Submitted {
    pub(super) height: Height,
    pub(super) data_root: [u8; 32],
    /// Blob commitments, in the order given.
    pub(super) commitments: Vec<[u8; 32]>,
}

/// Why a submission is not final.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum SubmitFailure {
    /// Try again shortly.
    #[error("{limit} submissions are under way already, which is this gateway's limit; retry")]
    Busy { limit: usize },
    /// The key may not spend that now.
    #[error(transparent)]
    Spending(#[from] SpendingError),
    /// The ends of too many are not known.
    #[error(
        "the ends of {limit} submissions are not known, which is this gateway's limit: retry when the chain has gone on, \
         or put the same payloads again"
    )]
    Unfinished { limit: usize },
    /// A node's word for the height would keep the blobs from being signed anew for long.
    #[error("a node dates transactions up to height {valid_until}, and the chain is at {head}; retry")]
    Ahead { valid_until: Height, head: Height },
    /// Nodes, or what they were given.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What a door can do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// The blobs are longer than the chain allows.
    TooLarge,
    /// The blobs are wrong in another way.
    Invalid,
    /// Too much at a time: ask again later.
    Later(Option<Duration>),
    /// The same transaction is known already.
    Duplicate,
    /// No block took it in time.
    TimedOut,
    /// Nobody can be asked, or nobody can be paid: not before someone acts.
    Down,
    /// This machine failed.
    Broken,
}

impl SubmitFailure {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Self::Busy { .. } => Kind::Later(Some(Duration::from_secs(1))),
            Self::Unfinished { .. } | Self::Ahead { .. } => Kind::Down,
            Self::Spending(SpendingError::Cap { retry_after, .. }) => Kind::Later(*retry_after),
            Self::Spending(_) => Kind::Broken,
            Self::Client(error) => match error {
                ClientError::Transaction(
                    TransactionError::BlobLength { got: 1.., .. } | TransactionError::TooManyShares { .. },
                ) => Kind::TooLarge,
                ClientError::Transaction(_) | ClientError::Blob { .. } => Kind::Invalid,
                ClientError::Unreachable { .. } | ClientError::LyingNode(_) => Kind::Down,
                ClientError::NotIncluded { .. } => Kind::TimedOut,
                ClientError::Refused { detail, .. } => match detail.code {
                    ErrorCode::TooLarge => Kind::TooLarge,
                    ErrorCode::Duplicate => Kind::Duplicate,
                    ErrorCode::Underfunded => Kind::Down,
                    ErrorCode::PoolFull | ErrorCode::TooManyRequests => {
                        Kind::Later(Some(Duration::from_secs(2)))
                    }
                    ErrorCode::Invalid => Kind::Invalid,
                    ErrorCode::UnknownTransaction => Kind::TimedOut,
                    _ => Kind::Broken,
                },
                _ => Kind::Broken,
            },
        }
    }
}

type Answer = Result<Submitted, SubmitFailure>;
type Running = Shared<BoxFuture<'static, Answer>>;

/// What stands for a set of blobs.
type Id = [u8; 32];

/// A signed submission on its way, and what is promised for it.
#[derive(Debug)]
struct Going {
    prepared: Prepared,
    reservation: Reservation,
    /// How often it was handed to a node that may have it.
    taken: AtomicUsize,
}

impl Going {
    fn is_taken(&self) -> bool {
        self.taken.load(Ordering::Relaxed) > 0
    }
}

/// Submits, each set of blobs once at a time.
pub(super) struct Submitter {
    client: Client,
    head: Head,
    key: SecretKey,
    options: SubmitOptions,
    spending: Spending,
    limit: usize,
    permits: Arc<Semaphore>,
    running: Mutex<HashMap<Id, (Running, Instant)>>,
    unfinished: Mutex<HashMap<Id, Arc<Going>>>,
}

impl Submitter {
    pub(super) fn new(
        client: Client,
        head: Head,
        key: SecretKey,
        options: SubmitOptions,
        spending: Spending,
        limit: usize,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(limit));
        let (running, unfinished) = Default::default();
        Self { client, head, key, options, spending, limit, permits, running, unfinished }
    }

    /// Submits and waits for finality. Cancel safe: the submission goes on.
    pub(super) async fn submit(self: &Arc<Self>, blobs: Vec<NewBlob>) -> Answer {
        let commitments = blobs.iter().map(|blob| erasure::blob_commitment(&blob.namespace, &blob.bytes));
        let id = erasure::sha256(&commitments.collect::<Vec<_>>().concat());
        let mine = self.join_or_start(id, blobs)?;
        let answer = mine.clone().await;
        let mut running = self.running();
        // Whoever was answered earlier may have begun anew.
        if running.get(&id).is_some_and(|(other, _)| other.ptr_eq(&mine)) {
            running.remove(&id);
        }
        answer
    }

    fn running(&self) -> MutexGuard<'_, HashMap<Id, (Running, Instant)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfinished(&self) -> MutexGuard<'_, HashMap<Id, Arc<Going>>> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join_or_start(self: &Arc<Self>, id: Id, blobs: Vec<NewBlob>) -> Result<Running, SubmitFailure> {
        let mut running = self.running();
        running.retain(|_, (answer, started)| answer.peek().is_none() || started.elapsed() < KEPT);
        if let Some((running, _)) = running.get(&id) {
            return Ok(running.clone());
        }
        let permit = self.permits.clone().try_acquire_owned();
        let permit = permit.map_err(|_| SubmitFailure::Busy { limit: self.limit })?;
        let work = tokio::spawn(self.clone().work(id, blobs, permit));
        let ended = |ended: Result<Answer, tokio::task::JoinError>| {
            ended.unwrap_or_else(|error| Err(ClientError::Local(error.to_string()).into()))
        };
        let started = work.map(ended).boxed().shared();
        running.insert(id, (started.clone(), Instant::now()));
        Ok(started)
    }

    async fn work(self: Arc<Self>, id: Id, blobs: Vec<NewBlob>, _permit: OwnedSemaphorePermit) -> Answer {
        let earlier = self.unfinished().get(&id).cloned();
        if let Some(going) = earlier {
            let answer = self.bring_to_end(id, &going).await;
            if answer.is_ok() || self.unfinished().contains_key(&id) {
                return answer;
            }
        }
        let going = self.begin(id, blobs).await?;
        self.bring_to_end(id, &going).await
    }

    async fn begin(&self, id: Id, blobs: Vec<NewBlob>) -> Result<Arc<Going>, SubmitFailure> {
        self.forget_old();
        if self.unfinished().len() >= UNFINISHED {
            return Err(SubmitFailure::Unfinished { limit: UNFINISHED });
        }
        let prepared = self.client.prepare(&self.key, blobs, self.options).await?;
        let (valid_until, head) = (prepared.valid_until(), self.head().await?);
        if valid_until > head.saturating_add(2 * HORIZON_LIMIT) {
            self.client.turn_to_next_node();
            return Err(SubmitFailure::Ahead { valid_until, head });
        }
        let reservation = self.spending.reserve(prepared.cost_limit())?;
        let going = Arc::new(Going { prepared, reservation, taken: AtomicUsize::new(0) });
        self.unfinished().insert(id, going.clone());
        Ok(going)
    }

    /// What no block can take any more is not needed; that it cost nothing, nobody said.
    fn forget_old(&self) {
        let Some(head) = self.head.latest() else { return };
        let running = self.running();
        self.unfinished()
            .retain(|id, going| running.contains_key(id) || going.prepared.valid_until() > head.height());
    }

    /// The height of the latest verified header.
    async fn head(&self) -> Result<Height, ClientError> {
        match self.head.latest() {
            Some(header) => Ok(header.height()),
            None => Ok(self.client.latest().await?.height()),
        }
    }

    async fn bring_to_end(&self, id: Id, going: &Going) -> Answer {
        let prepared = &going.prepared;
        let error = match self.send_and_confirm(going).await {
            Ok(receipt) => {
                let charged = receipt.transaction.charged.unwrap_or(Amount::MAX);
                self.spending.settle(&going.reservation, charged.max(prepared.shares() * MIN_BASE_FEE));
                self.unfinished().remove(&id);
                return Ok(Submitted {
                    height: receipt.header.height(),
                    data_root: receipt.header.data_root(),
                    commitments: prepared.blobs().iter().map(|blob| blob.commitment).collect(),
                });
            }
            Err(error) => error,
        };
        let over = going.is_taken() && self.is_over(prepared).await;
        let free = !going.is_taken() || over && ended_outside(&error);
        if free {
            self.spending.settle(&going.reservation, 0);
        }
        if free || over {
            self.unfinished().remove(&id);
        }
        tracing::warn!(transaction = %prepared.id(), %error, free, over, "submission failed");
        Err(error.into())
    }

    /// Whether every block that could hold it is decided, by a verified header.
    async fn is_over(&self, prepared: &Prepared) -> bool {
        let until = prepared.valid_until();
        self.head.latest().is_some_and(|head| head.height() >= until)
            || self.client.latest().await.is_ok_and(|head| head.height() >= until)
    }

    /// A refusal does not say what becomes of what an earlier hand-over may have brought to a node.
    async fn send_and_confirm(&self, going: &Going) -> Result<Receipt, ClientError> {
        match self.send(going).await {
            Err(error) if !going.is_taken() => return Err(error),
            Err(error) => {
                if self.client.transaction(going.prepared.id()).await.is_err() {
                    return Err(error);
                }
            }
            Ok(()) => {}
        }
        self.confirm(&going.prepared).await
    }

    /// Hands the same signed submission over again where no node answered: it is included once all the same.
    async fn send(&self, going: &Going) -> Result<(), ClientError> {
        let mut sends = 1;
        loop {
            match self.client.hand_in(&going.prepared, None, &going.taken).await {
                Err(ClientError::Unreachable { .. }) if sends < SENDS.0 => {
                    tokio::time::sleep(SENDS.1).await;
                    sends += 1;
                }
                // The first hand-over may have arrived without its answer.
                Err(ClientError::Refused { detail, .. }) if detail.code == ErrorCode::Duplicate => {
                    return Ok(());
                }
                other => return other.map(|_| ()),
            }
        }
    }

    /// A node that lies about finality is not asked again; the next one is.
    async fn confirm(&self, prepared: &Prepared) -> Result<Receipt, ClientError> {
        loop {
            let liars = self.client.rejected_nodes().len();
            match self.client.confirm(prepared, |_| ()).await {
                Err(ClientError::LyingNode(_)) if self.client.rejected_nodes().len() > liars => {}
                other => return other,
            }
        }
    }
}

/// Whether a node says that no block took it.
fn ended_outside(error: &ClientError) -> bool {
    let ClientError::NotIncluded { status, .. } = error else { return false };
    matches!(status, TxStatus::Expired | TxStatus::Rejected { .. })
}
