//! Following a namespace: every block's blobs, once the block is known to be published.
//!
//! ```text
//!  height h ── available? ── unchallenged for the window? ── index ── entries ── shares ──► Block
//!     ▲            │ no: wait           │ no: wait             └─ of any peer, proven against the
//!     └────────────┴────────────────────┘                         data root of the verified header
//! ```
//!
//! Heights come in order, none left out and none twice; where that is impossible, an error says so.
//! A peer whose index or shares do not prove to be the block's is dropped, and another is asked.

use std::time::Duration;

use bytes::Bytes;
use chain::UnknownRules;
use erasure::{DataRootParts, Digest, Index, IndexEntry, Namespace, ProofError, RangeProof, blob_commitment};
use network::{Kind, MAX_RANGE_SHARES, Request};
use tendermint::block::Header;
use thiserror::Error;
use tokio::sync::broadcast::error::RecvError;

use crate::client::{Client, ClientError};
use crate::halt::Halt;
use crate::status::{HeightReport, StateReport};
use crate::store::{StoreError, StoredHeader};

/// How often a block that is waited for is looked at, events apart; and how long after all peers
/// were asked in vain they are asked again.
const PAUSE: Duration = Duration::from_millis(500);

/// What the worker knows about one block.
#[derive(Debug)]
pub(crate) struct Known {
    pub(crate) report: Option<HeightReport>,
    pub(crate) halted: Option<Halt>,
    /// Why no header follows.
    pub(crate) outdated: Option<UnknownRules>,
    /// Whether the height is below all that are kept.
    pub(crate) lost: bool,
    pub(crate) offline: bool,
    /// How long the block has been available and the client in touch with others.
    pub(crate) quiet_for: Duration,
    pub(crate) header: Option<StoredHeader>,
    pub(crate) parts: Option<DataRootParts>,
}

/// A block that is available, and the blobs of one namespace in it.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    header: Header,
    confidence: f64,
    blobs: Vec<Blob>,
}

impl Block {
    /// The height.
    pub fn height(&self) -> u64 {
        self.header.height.value()
    }

    /// The verified header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The probability that a withheld block would have been noticed.
    pub fn confidence(&self) -> f64 {
        self.confidence
    }

    /// All blobs of the namespace, in the square's order.
    pub fn blobs(&self) -> &[Blob] {
        &self.blobs
    }
}

/// A blob whose bytes, place and index entry were proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    entry: IndexEntry,
    bytes: Bytes,
}

impl Blob {
    /// The entry in the block's index.
    pub fn entry(&self) -> &IndexEntry {
        &self.entry
    }

    /// Who submitted it.
    pub fn signer(&self) -> [u8; 20] {
        self.entry.signer
    }

    /// The bytes.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Why a namespace cannot be followed past a height. Asked again, [`Follow::next`] tries that
/// height again.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The client follows no further, or the block itself is in doubt.
    #[error("halted: {0}")]
    Halted(Halt),
    /// This program is too old for the height. A newer one goes on there.
    #[error(transparent)]
    Outdated(UnknownRules),
    /// The client left the block out: nobody knows whether it was published.
    #[error("block {height} was not sampled ({reason}): raise catch_up, or the budget")]
    NotSampled {
        /// The height.
        height: u64,
        /// Why not.
        reason: String,
    },
    /// The height is below the checkpoint, one that it was resumed from, too, or older than what the client keeps.
    #[error(
        "block {height} is not among those that this client follows: start from an earlier checkpoint in a new home"
    )]
    Lost {
        /// The height.
        height: u64,
    },
    /// The block's index leaves more room than its blobs need: validators signed a wrong block.
    #[error("block {height}: {error}")]
    WrongIndex {
        /// The height.
        height: u64,
        /// What is wrong.
        error: ProofError,
    },
    /// The block's own index and shares contradict each other: validators signed a wrong block.
    #[error("block {height}: the shares of blob {} are not its bytes", hex::encode(commitment))]
    Misplaced {
        /// The height.
        height: u64,
        /// The blob's commitment, as the index has it.
        commitment: Digest,
    },
    /// The client has ended.
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// Follows a namespace; from [`Client::follow`].
#[derive(Clone)]
pub struct Follow {
    client: Client,
    namespace: Namespace,
    next: u64,
    window: Duration,
}

impl Follow {
    pub(crate) fn new(client: Client, namespace: Namespace, from: u64) -> Self {
        Self { client, namespace, next: from.max(1), window: Duration::ZERO }
    }

    /// Waits, too, until each block has been unchallenged for so long: available, and this client
    /// in touch with others throughout, so that it would have heard of a fraud proof.
    #[must_use]
    pub fn unchallenged_for(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }

    /// The next block, as soon as it is available. Cancel safe: a block is not lost, but asked for
    /// again.
    ///
    /// # Errors
    /// When the next height cannot be had, now or ever; the variant says which.
    pub async fn next(&mut self) -> Result<Block, ReadError> {
        let (header, confidence, parts) = self.available().await?;
        let height = header.height;
        let index = self.index(&header, parts).await?;
        let mut blobs = Vec::new();
        for entry in index.namespace(self.namespace) {
            let bytes = self.bytes(&header, entry).await;
            if blob_commitment(&entry.namespace, &bytes) != entry.commitment {
                return Err(ReadError::Misplaced { height, commitment: entry.commitment });
            }
            blobs.push(Blob { entry: entry.clone(), bytes });
        }
        let light_block = header.light_block().map_err(ClientError::from)?;
        self.next = height + 1;
        Ok(Block { header: light_block.signed_header.header, confidence, blobs })
    }

    /// Waits until the next height is available and unchallenged.
    async fn available(&self) -> Result<(StoredHeader, f64, DataRootParts), ReadError> {
        let height = self.next;
        let mut events = self.client.events();
        loop {
            let known = self.client.block(height).await?;
            if let Some(halt) = known.halted {
                return Err(ReadError::Halted(halt));
            }
            if known.lost {
                return Err(ReadError::Lost { height });
            }
            if let Some(unknown) = known.outdated.filter(|_| known.report.is_none()) {
                return Err(ReadError::Outdated(unknown));
            }
            match known.report.map(|report| report.state) {
                Some(StateReport::Skipped { reason }) => {
                    return Err(ReadError::NotSampled { height, reason });
                }
                Some(StateReport::Available { confidence }) => {
                    let unchallenged =
                        self.window.is_zero() || !known.offline && known.quiet_for >= self.window;
                    match (known.header, known.parts) {
                        (Some(header), Some(parts)) if unchallenged => {
                            return Ok((header, confidence, parts));
                        }
                        (Some(_), Some(_)) => {}
                        _ => return Err(ClientError::from(StoreError::Damaged("samples")).into()),
                    }
                }
                _ => {}
            }
            tokio::select! {
                event = events.recv() => if let Err(RecvError::Closed) = event {
                    return Err(ClientError::Ended.into());
                },
                () = tokio::time::sleep(PAUSE) => {}
            }
        }
    }

    async fn index(&self, header: &StoredHeader, parts: DataRootParts) -> Result<Index, ReadError> {
        let height = header.height;
        let check = |bytes: Bytes| {
            let index = Index::decode(&bytes).map_err(|error| error.to_string())?;
            match index.verify(parts, &header.data_root) {
                Ok(verified) => Ok(Ok(verified.into_index())),
                // It is the block's index: whoever sent it is not to blame.
                Err(error @ ProofError::Width { .. }) => Ok(Err(ReadError::WrongIndex { height, error })),
                Err(error) => Err(error.to_string()),
            }
        };
        self.ask(&Request::Index { height }, check).await
    }

    /// A blob's bytes, as the shares have them that the index names.
    async fn bytes(&self, header: &StoredHeader, entry: &IndexEntry) -> Bytes {
        let mut bytes = Vec::new();
        let mut range = entry.range();
        while !range.is_empty() {
            let part = range.start..range.end.min(range.start.saturating_add(MAX_RANGE_SHARES));
            let request =
                Request::Range { height: header.height, start: part.start, count: part.end - part.start };
            let check = |bytes: Bytes| {
                let proof = RangeProof::decode(&bytes).map_err(|error| error.to_string())?;
                let verified = proof.verify(&header.data_root, part.clone());
                Ok(verified.map_err(|error| error.to_string())?.into_bytes())
            };
            bytes.extend(self.ask(&request, check).await);
            range.start = part.end;
        }
        bytes.truncate(usize::try_from(entry.len).unwrap_or(usize::MAX));
        bytes.into()
    }

    /// Asks peer after peer, again and again, until an answer passes the check.
    async fn ask<T>(&self, request: &Request, check: impl Fn(Bytes) -> Result<T, String>) -> T {
        let network = self.client.network();
        let kind: Kind = request.kind();
        loop {
            for peer in network.peers().iter().filter(|peer| peer.serves.contains(&kind)) {
                // Not answered says nothing about the block, which is available.
                let Ok(bytes) = network.request(peer.id, request.clone()).await else { continue };
                match check(bytes) {
                    Ok(checked) => return checked,
                    Err(reason) => self.client.accuse(peer.id, reason).await,
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
