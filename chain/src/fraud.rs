//! Fraud proofs against headers of this chain.
//!
//! ```text
//! FraudProof ─ ProvenFraud::verify(header, parameters) ─▶ ProvenFraud
//! ```
//!
//! What makes a block wrong is said in `erasure`; what it leaves to the chain is [`FraudRules`], which a
//! chain's [`Parameters`] are. A light client may have them from anybody: the header names their hash.
//!
//! No valid block has such a proof: the rules here are the functions that blocks are built and validated with.

use erasure::{BlobMeta, FraudError, FraudProof, FraudRules, VerifiedFraud, Width};
use tendermint::Hash;

use crate::{
    Height, body,
    genesis::Parameters,
    header::VerifiedHeader,
    proposal::decode_transaction_list,
    transaction::{KzgOpening, blob_metas},
};

impl FraudRules for Parameters {
    fn k_max(&self) -> Width {
        self.width()
    }

    fn blobs(&self, transaction_list: &[u8]) -> Option<Vec<BlobMeta>> {
        decode_transaction_list(transaction_list).ok().map(|transactions| blob_metas(&transactions))
    }

    fn kzg_opens(&self, chunk: &[u8], commitment: &[u8; 48], proof: &[u8; 48]) -> bool {
        let opening = KzgOpening { commitment: *commitment, proof: *proof };
        body::check_kzg(&[opening], chunk).is_ok()
    }
}

/// A proof that the block of a verified header is wrong. Whoever holds one stops following the chain there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenFraud {
    height: Height,
    header_hash: [u8; 32],
    fraud: VerifiedFraud,
}

impl ProvenFraud {
    /// Checks a proof against a header of the caller's own verified chain, by the parameters that it names.
    pub fn verify(
        proof: FraudProof,
        header: &VerifiedHeader,
        parameters: &Parameters,
    ) -> Result<Self, ProvenFraudError> {
        let (height, expected, got) = (header.height(), header.header().consensus_hash, parameters.hash());
        if expected != got {
            return Err(ProvenFraudError::OtherParameters { height, expected, got });
        }
        let fraud = proof
            .verify(&header.data_root(), parameters)
            .map_err(|error| ProvenFraudError::NotProven { height, error })?;
        Ok(Self { height, header_hash: header.hash(), fraud })
    }

    /// Height of the wrong block.
    pub fn height(&self) -> Height {
        self.height
    }

    /// Hash of its header.
    pub fn header_hash(&self) -> [u8; 32] {
        self.header_hash
    }

    /// The proof with the data root that it was checked against.
    pub fn fraud(&self) -> &VerifiedFraud {
        &self.fraud
    }
}

impl std::fmt::Display for ProvenFraud {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "block {} is wrong: {}", self.height, self.fraud.proof())
    }
}

/// Why a block is not proven wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProvenFraudError {
    /// Parameters of another chain. Whoever gave them is at fault: in an accusation, its sender.
    #[error("header {height} names the parameters with hash {expected}, got those with {got}")]
    OtherParameters {
        /// The header's height.
        height: Height,
        /// The header's `consensus_hash`.
        expected: Hash,
        /// The parameters' hash.
        got: Hash,
    },
    /// The proof's sender is at fault.
    #[error("the fraud proof against block {height} does not hold: {error}")]
    NotProven {
        /// The header's height.
        height: Height,
        /// Why.
        error: FraudError,
    },
}
