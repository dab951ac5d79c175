//! Submitting: describe, price, sign, send, follow, and check that the blobs are where the node says.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use chain::{
    Action, Address, Amount, BlobHeader, Domain, Height, KzgOpening, Parameters, Payload, ReservationId,
    SecretKey, Submission, TxId, TxStatus, VerifiedHeader, VerifiedTransaction, fees::FeeRules,
};
use erasure::{ForeignKind, IndexEntry, Namespace};
use reqwest::header::CONTENT_TYPE;

use super::{
    Client, ClientError, RejectedNode,
    error::{Fault, ProofKind},
    hedge::{Node, SLOW},
    patience::{Patience, may_pass, patiently},
    request::json,
};
use crate::{
    ErrorCode, HORIZON_LIMIT, PROTOBUF, PriceBody, StatusBody, SubmittedBody, TxBody, quote::KZG_CHUNK_BYTES,
    wire::state_name,
};

/// An upload takes at most this long.
const UPLOAD_TIMEOUT: Duration = Duration::from_secs(300);

/// How long one request waits for a transaction's state to change: not long, since nobody knows meanwhile whether its
/// node still lives.
const WAIT: Duration = Duration::from_secs(1);

/// Told how many bytes of an upload are on their way. One that goes to another node starts again from 0, and there may
/// be two at once.
pub type Progress = Arc<dyn Fn(u64) + Send + Sync>;

/// A blob to be submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewBlob {
    /// Whose.
    pub namespace: Namespace,
    /// The blob.
    pub bytes: Vec<u8>,
    /// Foreign commitments that it shall carry.
    pub foreign: Vec<ForeignKind>,
}

/// What a submission may cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SubmitOptions {
    /// The most to pay per share, tip included, in nano. Unless told: what is guaranteed to cover the base fee for as
    /// long as the transaction is valid, and the tip.
    pub fee_cap: Option<u64>,
    /// Paid to the proposer per share, in nano.
    pub tip: u64,
    /// The reservation that pays for blobs instead of the account. Fee cap and tip are then nothing.
    pub reservation: Option<ReservationId>,
}

/// A signed submission. Sending it twice, or to two nodes, includes it once.
#[derive(Clone, Debug)]
pub struct Prepared {
    pub(super) id: TxId,
    sender: Address,
    pub(super) blobs: Vec<BlobHeader>,
    shares: u64,
    cost_limit: Amount,
    valid_until: Height,
    pub(super) body: Bytes,
}

impl Prepared {
    pub(super) fn new(transaction: &VerifiedTransaction, bodies: Vec<Vec<u8>>) -> Self {
        let submission = Submission { transaction: transaction.transaction().clone(), bodies };
        Self {
            id: transaction.id(),
            sender: transaction.sender(),
            blobs: transaction.blobs().to_vec(),
            shares: transaction.shares(),
            cost_limit: transaction.payload().cost_limit(transaction.shares()),
            valid_until: transaction.payload().valid_until,
            body: submission.encode().into(),
        }
    }

    /// The transaction's id.
    pub fn id(&self) -> TxId {
        self.id
    }

    /// The blobs as the transaction announces them, in the order given.
    pub fn blobs(&self) -> &[BlobHeader] {
        &self.blobs
    }

    /// Shares charged.
    pub fn shares(&self) -> u64 {
        self.shares
    }

    /// The most that may be charged, in nano.
    pub fn cost_limit(&self) -> Amount {
        self.cost_limit
    }

    /// The last height at which a block may hold it.
    pub fn valid_until(&self) -> Height {
        self.valid_until
    }

    /// The encoded [`Submission`], to keep before it is sent, or to hand in by other means.
    pub fn bytes(&self) -> &Bytes {
        &self.body
    }

    /// Bytes that go over the wire.
    pub fn wire_bytes(&self) -> u64 {
        self.body.len() as u64
    }
}

/// A final submission whose blobs were found in the block, by proofs under a verified header: each with its signer and
/// foreign commitments, at a height at which the submission is valid. That this very transaction brought them there is
/// not proven: another one of the same signer with the same blobs looks the same.
#[derive(Clone, Debug)]
pub struct Receipt {
    /// What the node says of the transaction: charge and retention are its word.
    pub transaction: TxBody,
    /// The block's header.
    pub header: VerifiedHeader,
    /// The index entry of each blob, in the order given.
    pub entries: Vec<IndexEntry>,
}

impl Client {
    /// Describes, prices and signs blobs as one transaction, without sending it. KZG proofs are made here.
    pub async fn prepare(
        &self,
        key: &SecretKey,
        blobs: Vec<NewBlob>,
        options: SubmitOptions,
    ) -> Result<Prepared, ClientError> {
        let market = self.market().await?;
        self.sign(key, blobs, options, market).await
    }

    /// The chain's limits and its price, from a node of the right chain that tells possible ones.
    pub(super) async fn market(&self) -> Result<Market, ClientError> {
        let network = &self.trust()?.network;
        let ask = |node: Node| async move {
            let StatusBody { chain_id, genesis_hash, parameters, height, .. } =
                json(self.transport.get(&node, "/v1/status")).await?;
            if chain_id != network.chain_id || genesis_hash != network.genesis_hash {
                return Err(Fault::Passing(format!("is a node of another chain, {chain_id}")));
            }
            parameters.check().map_err(|error| Fault::Passing(format!("told impossible {error}")))?;
            let valid_until = height.checked_add(HORIZON_LIMIT);
            let valid_until =
                valid_until.ok_or_else(|| Fault::Passing(format!("told an impossible height, {height}")))?;
            let PriceBody { excess, .. } = json(self.transport.get(&node, "/v1/price")).await?;
            Ok(Market { parameters, excess, valid_until })
        };
        Ok(self.transport.any(ask).await?.1)
    }

    async fn sign(
        &self,
        key: &SecretKey,
        blobs: Vec<NewBlob>,
        options: SubmitOptions,
        market: Market,
    ) -> Result<Prepared, ClientError> {
        let (key, domain) = (key.clone(), self.trust()?.network.domain());
        let sign = move || {
            let (headers, kzg, bodies) = describe(blobs)?;
            let action = Action::SubmitBlobs { blobs: headers, reservation: options.reservation };
            Ok(Prepared::new(&market.sign(&key, &domain, action, kzg, options)?, bodies))
        };
        tokio::task::spawn_blocking(sign).await.map_err(|error| ClientError::Local(error.to_string()))?
    }

    /// Hands a signed submission to a node. With several nodes, one that failed may have admitted it all the same:
    /// the next one's "known already" is then success.
    pub async fn send(&self, prepared: &Prepared, progress: Option<Progress>) -> Result<TxId, ClientError> {
        self.hand_in(prepared, progress, &AtomicUsize::new(0)).await
    }

    /// Sends. `taken` counts the times that may have brought it to a node, all but those that ended in a plain refusal;
    /// if there are others, "known already" is success.
    pub(crate) async fn hand_in(
        &self,
        prepared: &Prepared,
        progress: Option<Progress>,
        taken: &AtomicUsize,
    ) -> Result<TxId, ClientError> {
        let progress = &progress;
        let ask = |node: Node| async move {
            taken.fetch_add(1, Ordering::Relaxed);
            let request = self
                .transport
                .post(&node, "/v1/tx")
                .timeout(UPLOAD_TIMEOUT)
                .header(CONTENT_TYPE, PROTOBUF)
                .upload(prepared.body.clone(), progress.clone());
            match json::<SubmittedBody>(request).await {
                Ok(SubmittedBody { id }) if id == prepared.id => Ok(id),
                Ok(SubmittedBody { id }) => Err(Fault::Passing(format!("answered with another id, {id}"))),
                Err(Fault::Answer(detail))
                    if detail.code == ErrorCode::Duplicate && taken.load(Ordering::Relaxed) > 1 =>
                {
                    Ok(prepared.id)
                }
                Err(Fault::Answer(detail)) if leaves_nothing(detail.code) => {
                    taken.fetch_sub(1, Ordering::Relaxed);
                    Err(Fault::Answer(detail))
                }
                Err(fault) => Err(fault),
            }
        };
        Ok(self.transport.any(ask).await?.1)
    }

    /// Signs and sends; answers when the transaction is in a node's pool.
    pub async fn submit(
        &self,
        key: &SecretKey,
        blobs: Vec<NewBlob>,
        options: SubmitOptions,
    ) -> Result<TxId, ClientError> {
        let prepared = self.prepare(key, blobs, options).await?;
        self.send(&prepared, None).await
    }

    /// Follows a transaction until its state will not change any more, calling `seen` at each state. Survives a
    /// node's restart and fails over among nodes; fails when none has answered for a minute.
    pub async fn wait(&self, id: TxId, mut seen: impl FnMut(&TxBody)) -> Result<TxBody, ClientError> {
        Ok(self.follow(id, None, &mut seen).await?.1)
    }

    /// Submits, waits for finality, and verifies that every blob is in the block.
    ///
    /// Survives a node's restart and fails over among nodes, as long as one answers within a minute. It signs once:
    /// however often it is sent again, it is included once, or expires.
    pub async fn submit_and_wait(
        &self,
        key: &SecretKey,
        blobs: Vec<NewBlob>,
        options: SubmitOptions,
    ) -> Result<Receipt, ClientError> {
        let market = patiently(|| self.market()).await?;
        let prepared = self.sign(key, blobs, options, market).await?;
        self.send_and_wait(&prepared).await
    }

    /// As [`Client::submit_and_wait`], of what is signed already.
    pub async fn send_and_wait(&self, prepared: &Prepared) -> Result<Receipt, ClientError> {
        let taken = AtomicUsize::new(0);
        patiently(|| self.hand_in(prepared, None, &taken)).await?;
        self.confirm(prepared, |_| ()).await
    }

    /// Waits for the finality of a sent submission, and verifies that every blob is in the block. Sends it again to
    /// nodes that have lost it, or dropped it for want of room.
    pub async fn confirm(
        &self,
        sent: &Prepared,
        mut seen: impl FnMut(&TxBody),
    ) -> Result<Receipt, ClientError> {
        let (node, transaction) = self.follow(sent.id, Some(sent), &mut seen).await?;
        match transaction.status {
            // A node that learned of the block without its bytes proves nothing until it has them.
            TxStatus::Final { height } => match patiently(|| self.find_all(sent, height)).await? {
                Ok((header, entries)) => Ok(Receipt { transaction, header, entries }),
                Err(why) => {
                    let reason = format!("said {} is final at {height}, where {why}", sent.id);
                    let rejected = RejectedNode { url: node.url, proof: ProofKind::Inclusion, reason };
                    self.transport.reject(rejected.clone());
                    Err(ClientError::LyingNode(rejected))
                }
            },
            status => Err(ClientError::NotIncluded { id: sent.id, status }),
        }
    }

    async fn follow(
        &self,
        id: TxId,
        sent: Option<&Prepared>,
        seen: &mut impl FnMut(&TxBody),
    ) -> Result<(Node, TxBody), ClientError> {
        let (mut path, mut wait) = (format!("/v1/tx/{id}"), Duration::ZERO);
        let mut last = None;
        let mut patience = Patience::new();
        loop {
            let ask = |node: Node| json::<TxBody>(self.transport.get(&node, &path).silence(wait + SLOW));
            match self.transport.any(ask).await {
                Ok((node, body)) => {
                    if last.as_ref() != Some(&body.status) {
                        seen(&body);
                        last = Some(body.status.clone());
                    }
                    if body.status.is_settled() {
                        return Ok((node, body));
                    }
                    let known = state_name(&body.status);
                    (path, wait) = (format!("/v1/tx/{id}?wait_ms={}&from={known}", WAIT.as_millis()), WAIT);
                    patience.answered();
                    if let (TxStatus::Evicted { .. }, Some(sent)) = (&body.status, sent) {
                        patience.pause().await;
                        self.send_again(sent).await?;
                    }
                }
                Err(error) => {
                    let lost = matches!(&error, ClientError::Refused { .. });
                    patience.bear(error).await?;
                    if let Some(sent) = sent.filter(|_| lost) {
                        self.send_again(sent).await?;
                    }
                }
            }
        }
    }

    /// Hands in once more what a node has lost. That it does not take it now is no error: it is asked again.
    async fn send_again(&self, sent: &Prepared) -> Result<(), ClientError> {
        match self.hand_in(sent, None, &AtomicUsize::new(1)).await {
            Err(error) if !may_pass(&error) => Err(error),
            _ => Ok(()),
        }
    }

    /// The entries of a submission's blobs in the block at `height`, or why it is not there.
    async fn find_all(&self, sent: &Prepared, height: Height) -> Result<Result<Found, String>, ClientError> {
        if let Err(why) = check_height(height, sent.valid_until) {
            return Ok(Err(why));
        }
        let header = self.header(height).await?;
        let mut entries: Vec<IndexEntry> = Vec::with_capacity(sent.blobs.len());
        let mut lists = BTreeMap::new();
        for blob in &sent.blobs {
            let list = match lists.entry(blob.namespace) {
                Entry::Occupied(list) => list.into_mut(),
                Entry::Vacant(place) => place.insert(self.list(height, blob.namespace).await?),
            };
            let is_new = |entry: &IndexEntry| entries.iter().all(|other| other.start != entry.start);
            let is_it = |entry: &&IndexEntry| is_entry_of(entry, blob, &sent.sender) && is_new(entry);
            match list.entries().iter().find(is_it) {
                Some(entry) => entries.push(entry.clone()),
                None => {
                    return Ok(Err(format!("blob {} is proven absent", hex::encode(blob.commitment))));
                }
            }
        }
        Ok(Ok((header, entries)))
    }
}

/// Whether an entry is that of a blob as its transaction announces it.
pub(super) fn is_entry_of(entry: &IndexEntry, announced: &BlobHeader, sender: &Address) -> bool {
    entry.commitment == announced.commitment
        && entry.foreign == announced.foreign
        && entry.signer == *sender.as_bytes()
}

/// Fails unless a block at `height` may hold a submission that is valid until then.
pub(super) fn check_height(height: Height, valid_until: Height) -> Result<(), String> {
    let first = valid_until.saturating_sub(HORIZON_LIMIT);
    if (first..=valid_until).contains(&height) {
        return Ok(());
    }
    Err(format!("it cannot be: it is valid from {first} to {valid_until}"))
}

type Found = (VerifiedHeader, Vec<IndexEntry>);

/// What a transaction is priced and dated by.
pub(super) struct Market {
    pub(super) parameters: Parameters,
    excess: u64,
    valid_until: Height,
}

impl Market {
    /// Signs with a fresh salt. What a reservation pays for has neither cap nor tip.
    pub(super) fn sign(
        &self,
        key: &SecretKey,
        domain: &Domain,
        action: Action,
        kzg: Vec<KzgOpening>,
        options: SubmitOptions,
    ) -> Result<VerifiedTransaction, ClientError> {
        let guaranteed = FeeRules::new(&self.parameters).guaranteed_cap(self.excess, HORIZON_LIMIT);
        let fee_cap = options.fee_cap.unwrap_or_else(|| guaranteed.saturating_add(options.tip));
        let is_paid = matches!(action, Action::SubmitBlobs { reservation: Some(_), .. });
        let (fee_cap, tip) = if is_paid { (0, 0) } else { (fee_cap, options.tip) };
        let mut salt = [0; 16];
        getrandom::fill(&mut salt).map_err(|error| ClientError::Local(format!("no randomness: {error}")))?;
        let valid_until = self.valid_until;
        let payload = Payload { sender: key.address(), salt, valid_until, fee_cap, tip, action };
        let transaction = key
            .sign(payload, kzg, domain)
            .map_err(|error| ClientError::Local(format!("could not sign: {error}")))?;
        Ok(transaction.verify(domain, &self.parameters)?)
    }
}

/// Whether a node that answers a submission so has not taken it.
fn leaves_nothing(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::Invalid
            | ErrorCode::Underfunded
            | ErrorCode::PoolFull
            | ErrorCode::TooLarge
            | ErrorCode::TooManyRequests
            | ErrorCode::TooSlow
            | ErrorCode::UnsupportedMediaType
            | ErrorCode::NoSuchPath
            | ErrorCode::MethodNotAllowed
    )
}

type Described = (Vec<BlobHeader>, Vec<KzgOpening>, Vec<Vec<u8>>);

fn describe(blobs: Vec<NewBlob>) -> Result<Described, ClientError> {
    let (mut headers, mut openings, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
    for (at, NewBlob { namespace, bytes, foreign }) in blobs.into_iter().enumerate() {
        let kzg = if foreign.contains(&ForeignKind::Eip4844) { open(at, &bytes)? } else { Vec::new() };
        headers.push(BlobHeader::describe(namespace, &bytes, &foreign, &kzg));
        openings.extend(kzg);
        bodies.push(bytes);
    }
    Ok((headers, openings, bodies))
}

/// A KZG opening of each 131,072 bytes.
fn open(blob: usize, bytes: &[u8]) -> Result<Vec<KzgOpening>, ClientError> {
    if bytes.is_empty() || !bytes.len().is_multiple_of(KZG_CHUNK_BYTES) {
        let reason = format!("eip4844 needs a multiple of {KZG_CHUNK_BYTES} bytes, got {}", bytes.len());
        return Err(ClientError::Blob { blob, field: "len", reason });
    }
    let settings = c_kzg::ethereum_kzg_settings(0);
    let opening = |chunk: &[u8]| {
        let chunk = c_kzg::Blob::from_bytes(chunk)?;
        let commitment = settings.blob_to_kzg_commitment(&chunk)?.to_bytes();
        let proof = settings.compute_blob_kzg_proof(&chunk, &commitment)?.to_bytes();
        Ok::<_, c_kzg::Error>(KzgOpening { commitment: commitment.into_inner(), proof: proof.into_inner() })
    };
    bytes
        .chunks(KZG_CHUNK_BYTES)
        .enumerate()
        .map(|(at, chunk)| {
            opening(chunk).map_err(|_| ClientError::Blob {
                blob,
                field: "bytes",
                reason: format!(
                    "chunk {at} is not an EIP-4844 blob: every 32-byte word must be below the BLS12-381 scalar order"
                ),
            })
        })
        .collect()
}
