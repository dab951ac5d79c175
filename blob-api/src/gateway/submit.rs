//! Submitting for the doors: signed here, under the cap, answered when final and verified.
//!
//! ```text
//!  the same blobs again ─▶ joins the submission under way
//!  new ones ─▶ price and sign ─▶ reserve ─▶ send ─▶ follow to finality ─▶ verify ─▶ settle
//! ```
//!
//! A submission runs to its end whatever becomes of the request: a client that gave up and asks again with the same
//! blobs gets the answer of the first, and pays once. An answer that nobody came for is kept a quarter of an hour.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use chain::{Amount, Height, SecretKey, TransactionError, TxStatus, fees::MIN_BASE_FEE};
use futures::{
    FutureExt,
    future::{BoxFuture, Shared},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Spending, SpendingError};
use crate::{Client, ClientError, ErrorCode, NewBlob, Prepared, Receipt, SubmitOptions};

/// How long an answer is kept for whoever asks again.
const KEPT: Duration = Duration::from_secs(15 * 60);

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

/// Submits, each set of blobs once at a time.
pub(super) struct Submitter {
    client: Client,
    key: SecretKey,
    options: SubmitOptions,
    spending: Spending,
    limit: usize,
    permits: Arc<Semaphore>,
    running: Mutex<HashMap<[u8; 32], (Running, Instant)>>,
}

impl Submitter {
    pub(super) fn new(
        client: Client,
        key: SecretKey,
        options: SubmitOptions,
        spending: Spending,
        limit: usize,
    ) -> Self {
        let permits = Arc::new(Semaphore::new(limit));
        Self { client, key, options, spending, limit, permits, running: Mutex::default() }
    }

    /// Submits and waits for finality. Cancel safe: the submission goes on.
    pub(super) async fn submit(self: &Arc<Self>, blobs: Vec<NewBlob>) -> Answer {
        let commitments = blobs.iter().map(|blob| erasure::blob_commitment(&blob.namespace, &blob.bytes));
        let id = erasure::sha256(&commitments.collect::<Vec<_>>().concat());
        let running = self.join_or_start(id, blobs)?;
        let answer = running.await;
        self.running().remove(&id);
        answer
    }

    fn running(&self) -> MutexGuard<'_, HashMap<[u8; 32], (Running, Instant)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn join_or_start(self: &Arc<Self>, id: [u8; 32], blobs: Vec<NewBlob>) -> Result<Running, SubmitFailure> {
        let mut running = self.running();
        running.retain(|_, (answer, started)| answer.peek().is_none() || started.elapsed() < KEPT);
        if let Some((running, _)) = running.get(&id) {
            return Ok(running.clone());
        }
        let permit = self.permits.clone().try_acquire_owned();
        let permit = permit.map_err(|_| SubmitFailure::Busy { limit: self.limit })?;
        let work = tokio::spawn(self.clone().work(blobs, permit));
        let ended = |ended: Result<Answer, tokio::task::JoinError>| {
            ended.unwrap_or_else(|error| Err(ClientError::Local(error.to_string()).into()))
        };
        let started = work.map(ended).boxed().shared();
        running.insert(id, (started.clone(), Instant::now()));
        Ok(started)
    }

    async fn work(self: Arc<Self>, blobs: Vec<NewBlob>, _permit: OwnedSemaphorePermit) -> Answer {
        let prepared = self.client.prepare(&self.key, blobs, self.options).await?;
        let reservation = self.spending.reserve(prepared.cost_limit())?;
        let sent = match self.send(&prepared).await {
            Ok(()) => self.confirm(&prepared).await,
            Err(error) => Err(error),
        };
        match sent {
            Ok(receipt) => {
                let charged = receipt.transaction.charged.unwrap_or(Amount::MAX);
                self.spending.settle(&reservation, charged.max(prepared.shares() * MIN_BASE_FEE));
                Ok(Submitted {
                    height: receipt.header.height(),
                    data_root: receipt.header.data_root(),
                    commitments: prepared.blobs().iter().map(|blob| blob.commitment).collect(),
                })
            }
            Err(error) => {
                if costs_nothing(&error) {
                    self.spending.settle(&reservation, 0);
                }
                tracing::warn!(transaction = %prepared.id(), %error, "submission failed");
                Err(error.into())
            }
        }
    }

    /// Hands the same signed submission over again where no node answered: it is included once all the same.
    async fn send(&self, prepared: &Prepared) -> Result<(), ClientError> {
        for _ in 1..SENDS.0 {
            match self.client.send(prepared, None).await {
                Err(ClientError::Unreachable { .. }) => tokio::time::sleep(SENDS.1).await,
                // The first hand-over may have arrived without its answer.
                Err(ClientError::Refused { detail, .. }) if detail.code == ErrorCode::Duplicate => {
                    return Ok(());
                }
                other => return other.map(|_| ()),
            }
        }
        self.client.send(prepared, None).await.map(|_| ())
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

/// Whether a submission that failed so is in no block and never will be.
fn costs_nothing(error: &ClientError) -> bool {
    match error {
        ClientError::NotIncluded { status, .. } => {
            matches!(status, TxStatus::Expired | TxStatus::Rejected { .. })
        }
        ClientError::Refused { detail, .. } => {
            !matches!(detail.code, ErrorCode::Duplicate | ErrorCode::UnknownTransaction)
        }
        _ => false,
    }
}
