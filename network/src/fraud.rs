//! Fraud proofs on their way: announced by a small notice, pulled by hash in chunks.
//!
//! ```text
//!  gossip `fraud`, answer to `frauds` ──▶ FraudNotice ──▶ FraudScreen ──▶ pull_fraud ──▶ bytes
//!                                          76 bytes        whom to ask      their hash is the notice's
//! ```
//!
//! What the bytes prove is for who pulled them to check, against a header of its own verified chain.
//!
//! # Format
//! A notice is `height: u64 BE ‖ header hash: 32 ‖ proof hash: 32 ‖ size: u32 BE`, the answer to
//! [`Request::Frauds`] at most [`MAX_FRAUDS`] of them one after the other. The proof hash is
//! `BLAKE3("weft/fraud/1" ‖ proof)`.

mod screen;

use bytes::Bytes;
use libp2p::PeerId;
use thiserror::Error;

pub use self::screen::{FraudPull, FraudScreen, Refused, Standing};
use crate::{
    handle::{Network, RequestError},
    peers::Offence,
    request::{Kind, MAX_FRAUD_CHUNK_BYTES, MAX_FRAUDS, Refusal, Request},
};

/// Peers that are asked for a proof besides the one that announced it.
const OTHERS_ASKED: usize = 3;

/// What is announced of a fraud proof. It proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FraudNotice {
    /// Height of the block that is said to be wrong.
    pub height: u64,
    /// Hash of its header.
    pub header: [u8; 32],
    /// [`fraud_proof_hash`] of the proof.
    pub proof: [u8; 32],
    /// The proof's bytes.
    pub size: u32,
}

/// Bytes that are no notices. The sender is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("{got} bytes are no list of at most {limit} notices of {} bytes", FraudNotice::BYTES)]
pub struct NoticeError {
    /// Most notices.
    pub limit: usize,
    /// Bytes found.
    pub got: usize,
}

/// Names a fraud proof: `BLAKE3("weft/fraud/1" ‖ proof)`.
#[must_use]
pub fn fraud_proof_hash(proof: &[u8]) -> [u8; 32] {
    *blake3::Hasher::new().update(b"weft/fraud/1").update(proof).finalize().as_bytes()
}

impl FraudNotice {
    /// Bytes of a notice.
    pub const BYTES: usize = 8 + 32 + 32 + 4;

    /// The notice of a proof against a header; none of a proof of 4 GiB or more.
    #[must_use]
    pub fn of(height: u64, header: [u8; 32], proof: &[u8]) -> Option<Self> {
        let size = u32::try_from(proof.len()).ok()?;
        Some(Self { height, header, proof: fraud_proof_hash(proof), size })
    }

    /// The notice's bytes.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let Self { height, header, proof, size } = self;
        [&height.to_be_bytes()[..], header, proof, &size.to_be_bytes()].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    ///
    /// # Errors
    /// The bytes are no notice.
    pub fn decode(bytes: &[u8]) -> Result<Self, NoticeError> {
        let whole = || {
            let (height, rest) = bytes.split_first_chunk()?;
            let (header, rest) = rest.split_first_chunk()?;
            let (proof, size) = rest.split_first_chunk()?;
            let (height, size) = (u64::from_be_bytes(*height), u32::from_be_bytes(size.try_into().ok()?));
            Some(Self { height, header: *header, proof: *proof, size })
        };
        whole().ok_or(NoticeError { limit: 1, got: bytes.len() })
    }

    /// Reads the answer to [`Request::Frauds`].
    ///
    /// # Errors
    /// The bytes are no list of at most [`MAX_FRAUDS`] notices.
    pub fn decode_list(bytes: &[u8]) -> Result<Vec<Self>, NoticeError> {
        let error = NoticeError { limit: MAX_FRAUDS, got: bytes.len() };
        let notices = bytes.chunks(Self::BYTES).map(|notice| Self::decode(notice).map_err(|_| error));
        if bytes.len() > MAX_FRAUDS * Self::BYTES { Err(error) } else { notices.collect() }
    }
}

/// A proof that was not had.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PullError {
    /// The peer did not answer.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The peer did not serve it by the deadline of one request: a proof is not to be trickled.
    #[error("the proof did not come in time")]
    Slow,
    /// A chunk of another length than asked for. The peer is at fault.
    #[error("a chunk of {got} bytes, asked were {expected}")]
    Length {
        /// Bytes asked for.
        expected: u32,
        /// Bytes that came.
        got: usize,
    },
    /// The bytes are not those of the notice. The peer is at fault.
    #[error("the proof has another hash than its notice")]
    Hash,
}

impl PullError {
    /// What a peer that sent the notice itself did wrong, if no honest one would have.
    #[must_use]
    pub const fn offence(&self) -> Option<Offence> {
        match self {
            Self::Length { .. } | Self::Hash => Some(Offence::WrongProof),
            Self::Request(RequestError::Refused(
                Refusal::NotFound | Refusal::Pruned | Refusal::Malformed,
            )) => Some(Offence::BadGossip),
            Self::Request(_) | Self::Slow => None,
        }
    }
}

impl Network {
    /// Pulls the proof of a notice from the peer that it came from, chunk by chunk, and checks that its
    /// hash is the notice's. The caller has bounded the notice's size.
    ///
    /// Where that peer fails, a few that this node dialled are asked: a true notice can come first from
    /// somebody who keeps the proof back, and gossip then suppresses it from the others.
    ///
    /// Cancel safe: what has come is dropped.
    ///
    /// # Errors
    /// What the first peer did; [`PullError::offence`] says whether it is at fault.
    pub async fn pull_fraud(&self, peer: PeerId, notice: &FraudNotice) -> Result<Bytes, PullError> {
        let pulled = self.pull_from(peer, notice).await;
        if pulled.is_ok() {
            return pulled;
        }
        let peers = self.peers();
        let others = peers.iter().filter(|other| other.outbound && other.id != peer);
        for other in others.filter(|other| other.serves.contains(&Kind::Fraud)).take(OTHERS_ASKED) {
            if let Ok(proof) = self.pull_from(other.id, notice).await {
                return Ok(proof);
            }
        }
        pulled
    }

    async fn pull_from(&self, peer: PeerId, notice: &FraudNotice) -> Result<Bytes, PullError> {
        let deadline = self.limits().bulk_deadline;
        let pulled = tokio::time::timeout(deadline, self.pull_chunks(peer, notice));
        pulled.await.map_err(|_| PullError::Slow)?
    }

    async fn pull_chunks(&self, peer: PeerId, notice: &FraudNotice) -> Result<Bytes, PullError> {
        let mut proof = Vec::new();
        while proof.len() < notice.size as usize {
            let offset = proof.len() as u32;
            let len = (notice.size - offset).min(MAX_FRAUD_CHUNK_BYTES);
            let chunk = self.request(peer, Request::Fraud { proof: notice.proof, offset, len }).await?;
            if chunk.len() != len as usize {
                return Err(PullError::Length { expected: len, got: chunk.len() });
            }
            proof.extend_from_slice(&chunk);
        }
        if fraud_proof_hash(&proof) == notice.proof { Ok(proof.into()) } else { Err(PullError::Hash) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn notices_survive_the_wire_and_nothing_else_is_one() {
        let notice = FraudNotice::of(7, [1; 32], b"a proof").unwrap();
        let bytes = notice.encode();
        assert_eq!(bytes.len(), FraudNotice::BYTES);
        assert_eq!(FraudNotice::decode(&bytes), Ok(notice));
        for len in (0..200).filter(|len| *len != FraudNotice::BYTES) {
            assert_eq!(FraudNotice::decode(&vec![0; len]), Err(NoticeError { limit: 1, got: len }));
        }
        let list = bytes.repeat(MAX_FRAUDS);
        assert_eq!(FraudNotice::decode_list(&list), Ok(vec![notice; MAX_FRAUDS]));
        assert_eq!(FraudNotice::decode_list(&[]), Ok(Vec::new()));
        for wrong in [&list[1..], &bytes.repeat(MAX_FRAUDS + 1)] {
            let error = NoticeError { limit: MAX_FRAUDS, got: wrong.len() };
            assert_eq!(FraudNotice::decode_list(wrong), Err(error));
        }
    }
}
