//! How many shares a submission counts, before it is signed.

use chain::{Action, Address, BlobHeader, KzgOpening, Payload, Transaction, fees};
use erasure::{ForeignCommitment, ForeignKind, Namespace};

/// Blocks that a submission may wait at most, and a quote is good for.
pub const HORIZON_LIMIT: u64 = chain::SUBMIT_HORIZON;

/// Bytes of one EIP-4844 blob.
pub(crate) const KZG_CHUNK_BYTES: usize = 131_072;

/// A blob's size and what is asked of it: all that its price depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlobShape {
    /// Bytes.
    pub len: u64,
    /// Kinds of foreign commitments.
    pub foreign: Vec<ForeignKind>,
}

/// Why a shape has no price. The asker is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum QuoteError {
    /// A blob is never empty, nor longer than the chain allows.
    #[error("bytes: a blob has 1 to {limit} bytes, got {got}")]
    Bytes {
        /// Bytes allowed.
        limit: u64,
        /// Bytes asked for.
        got: u64,
    },
    /// No blob, or more than a transaction carries.
    #[error("blobs: a transaction carries 1 to {limit} blobs, got {got}")]
    Blobs {
        /// Blobs allowed.
        limit: u64,
        /// Blobs asked for.
        got: u64,
    },
    /// An EIP-4844 commitment covers whole chunks.
    #[error("foreign: eip4844 needs a multiple of {KZG_CHUNK_BYTES} bytes, got {got}")]
    Chunks {
        /// Bytes asked for.
        got: u64,
    },
    /// Nothing is guaranteed for longer than a submission may wait.
    #[error("horizon: a quote holds for 1 to {limit} blocks, got {got}")]
    Horizon {
        /// Blocks allowed.
        limit: u64,
        /// Blocks asked for.
        got: u64,
    },
}

impl QuoteError {
    /// Field, limit and what was got.
    pub(crate) fn parts(&self) -> (&'static str, u64, u64) {
        match *self {
            Self::Bytes { limit, got } => ("bytes", limit, got),
            Self::Blobs { limit, got } => ("blobs", limit, got),
            Self::Chunks { got } => ("foreign", KZG_CHUNK_BYTES as u64, got),
            Self::Horizon { limit, got } => ("horizon", limit, got),
        }
    }
}

/// Shares that a transaction with blobs of these shapes counts at most, whatever its salt and signature: what each
/// blob counts, and the transaction's own bytes. The exact count can be lower by the one share that a few bytes of
/// shorter numbers save.
pub fn shares_of(blobs: &[BlobShape]) -> Result<u64, QuoteError> {
    let headers = blobs.iter().map(header).collect::<Result<Vec<_>, _>>()?;
    let counted = blobs
        .iter()
        .zip(&headers)
        .map(|(shape, header)| fees::blob_shares(shape.len, header.foreign.iter().map(|f| f.kind)));
    let counted = counted.fold(0u64, u64::saturating_add);
    let chunks = headers.iter().flat_map(|h| &h.foreign).filter(|f| f.kind == ForeignKind::Eip4844).count();
    let widest = Transaction {
        payload: Payload {
            sender: Address::from_bytes([0xff; 20]),
            salt: [0xff; 16],
            valid_until: u64::from(u32::MAX),
            fee_cap: u64::from(u32::MAX),
            tip: u64::from(u32::MAX),
            action: Action::SubmitBlobs { blobs: headers, reservation: None },
        },
        kzg: vec![KzgOpening { commitment: [0xff; 48], proof: [0xff; 48] }; chunks],
        signature: [0xff; 65],
    };
    Ok(counted.saturating_add(erasure::shares_for(widest.encode().len() as u64)))
}

fn header(shape: &BlobShape) -> Result<BlobHeader, QuoteError> {
    let mut kinds = shape.foreign.clone();
    kinds.sort_unstable();
    kinds.dedup();
    let mut foreign = Vec::new();
    for kind in kinds {
        let times = match kind {
            ForeignKind::Eip4844 if shape.len == 0 || !shape.len.is_multiple_of(KZG_CHUNK_BYTES as u64) => {
                return Err(QuoteError::Chunks { got: shape.len });
            }
            ForeignKind::Eip4844 => shape.len / KZG_CHUNK_BYTES as u64,
            _ => 1,
        };
        // More chunks than any limit allows would only be counted to be refused.
        let times = usize::try_from(times).unwrap_or(usize::MAX).min(1024);
        foreign.extend(std::iter::repeat_n(ForeignCommitment { kind, value: [0xff; 32] }, times));
    }
    Ok(BlobHeader {
        namespace: Namespace::from_user_id([0xff; 10]),
        commitment: [0xff; 32],
        len: shape.len,
        foreign,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn a_quote_counts_the_blob_its_checks_and_the_transaction() {
        let plain = BlobShape { len: 512 * 100, foreign: vec![] };
        assert_eq!(shares_of(std::slice::from_ref(&plain)).unwrap(), 101);
        let hashed = BlobShape { foreign: vec![ForeignKind::Keccak256, ForeignKind::Sha256], ..plain };
        assert_eq!(shares_of(&[hashed]).unwrap(), 103);
        let kzg = BlobShape { len: 131_072, foreign: vec![ForeignKind::Eip4844] };
        assert_eq!(shares_of(&[kzg]).unwrap(), 256 + 8 + 1);
    }

    #[test]
    fn an_eip4844_quote_wants_whole_chunks() {
        let shape = BlobShape { len: 1000, foreign: vec![ForeignKind::Eip4844] };
        assert_eq!(shares_of(&[shape]).unwrap_err(), QuoteError::Chunks { got: 1000 });
    }
}
