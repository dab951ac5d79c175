//! Bodies: a blob's bytes, checked against all that its transaction claims of them.

use std::sync::{Arc, LazyLock};

use erasure::ForeignKind;
use kzg_rs::{Blob, Bytes48, KzgProof, KzgSettings};

use crate::transaction::{BlobHeader, KZG_CHUNK_BYTES, KzgOpening};

static KZG: LazyLock<Option<KzgSettings>> = LazyLock::new(|| KzgSettings::load_trusted_setup_file().ok());

/// A blob's bytes that have the length, the commitment and every foreign commitment of their header.
#[derive(Clone, PartialEq, Eq)]
pub struct CheckedBlob {
    header: BlobHeader,
    bytes: Arc<[u8]>,
}

impl std::fmt::Debug for CheckedBlob {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CheckedBlob").field("header", &self.header).finish_non_exhaustive()
    }
}

impl CheckedBlob {
    /// Checks `bytes` against `header`; `kzg` are this blob's openings. KZG costs milliseconds a chunk and is
    /// checked last, in one batch.
    pub fn check(header: &BlobHeader, kzg: &[KzgOpening], bytes: Arc<[u8]>) -> Result<Self, BodyError> {
        if bytes.len() as u64 != header.len {
            return Err(BodyError::Length { announced: header.len, got: bytes.len() as u64 });
        }
        if erasure::blob_commitment(&header.namespace, &bytes) != header.commitment {
            return Err(BodyError::Commitment);
        }
        for claim in header.foreign.iter().filter(|f| f.kind != ForeignKind::Eip4844) {
            if claim.kind.hash(&header.namespace, &bytes) != Some(claim.value) {
                return Err(BodyError::Foreign(claim.kind));
            }
        }
        let claimed = header.foreign.iter().filter(|f| f.kind == ForeignKind::Eip4844);
        if !kzg.iter().map(KzgOpening::foreign).eq(claimed.cloned()) {
            return Err(BodyError::Foreign(ForeignKind::Eip4844));
        }
        if !kzg.is_empty() {
            check_kzg(kzg, &bytes)?;
        }
        Ok(Self { header: header.clone(), bytes })
    }

    /// What the transaction says of the blob.
    pub fn header(&self) -> &BlobHeader {
        &self.header
    }

    /// The bytes.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }
}

/// Checks one opening for each chunk of `bytes`, in one batch.
pub(crate) fn check_kzg(openings: &[KzgOpening], bytes: &[u8]) -> Result<(), BodyError> {
    let settings = KZG.as_ref().ok_or(BodyError::Foreign(ForeignKind::Eip4844))?;
    let mut blobs = Vec::with_capacity(openings.len());
    for (chunk, part) in bytes.chunks(KZG_CHUNK_BYTES as usize).enumerate() {
        let blob = Blob::from_slice(part).map_err(|_| BodyError::NotCanonical { chunk })?;
        blob.as_polynomial().map_err(|_| BodyError::NotCanonical { chunk })?;
        blobs.push(blob);
    }
    let points = |of: fn(&KzgOpening) -> &[u8; 48]| {
        openings.iter().map(|o| Bytes48::from_slice(of(o))).collect::<Result<Vec<_>, _>>()
    };
    let bad = |_| BodyError::KzgProof;
    let commitments = points(|o| &o.commitment).map_err(bad)?;
    let proofs = points(|o| &o.proof).map_err(bad)?;
    match KzgProof::verify_blob_kzg_proof_batch(blobs, commitments, proofs, settings) {
        Ok(true) => Ok(()),
        Ok(false) | Err(_) => Err(BodyError::KzgProof),
    }
}

/// Why bytes are not the blob that a header describes. Whoever sent them is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Another length.
    #[error("body: {announced} bytes were announced, got {got}")]
    Length {
        /// Bytes in the header.
        announced: u64,
        /// Bytes that came.
        got: u64,
    },
    /// Another blob commitment.
    #[error("commitment: the bytes do not hash to the blob commitment of their header")]
    Commitment,
    /// Another foreign commitment.
    #[error("foreign: the bytes do not match their {0} commitment")]
    Foreign(ForeignKind),
    /// A 32-byte word that is no field element.
    #[error(
        "body: chunk {chunk} is not an EIP-4844 blob: every 32-byte word must be below the BLS12-381 scalar order"
    )]
    NotCanonical {
        /// Which 131,072 bytes.
        chunk: usize,
    },
    /// The proof or a point does not verify.
    #[error("kzg: the opening proofs do not verify against the bytes")]
    KzgProof,
}
