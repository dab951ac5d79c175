//! A fraud proof as it travels and is kept: with the parameters that it is judged by.
//!
//! ```text
//! accusation   length: u32 BE ‖ the chain's parameters as JSON ‖ fraud proof
//! ```
//!
//! A light client does not know the parameters; the header that is accused names their hash.

use erasure::FraudProof;

use crate::{
    codec::DecodeError,
    fraud::{ProvenFraud, ProvenFraudError},
    genesis::Parameters,
    header::VerifiedHeader,
};

/// Longest JSON of parameters; the default's has 400 bytes.
const PARAMETERS_BYTES: usize = 4096;

/// A fraud proof with the parameters that it is judged by. Nothing has been checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accusation {
    /// The chain's parameters, as the accuser has them.
    pub parameters: Parameters,
    /// What shows that a block is wrong.
    pub proof: FraudProof,
}

impl Accusation {
    /// `length: u32 BE ‖ parameters as JSON ‖ fraud proof`.
    pub fn encode(&self) -> Vec<u8> {
        let parameters = serde_json::to_vec(&self.parameters).unwrap_or_default();
        [&(parameters.len() as u32).to_be_bytes()[..], &parameters, &self.proof.encode()].concat()
    }

    /// Reads what [`Self::encode`] wrote. The caller bounds the length.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let missing = || DecodeError::Missing("accusation.parameters");
        let (length, rest) = bytes.split_first_chunk().ok_or_else(missing)?;
        let (length, limit) = (u32::from_be_bytes(*length) as usize, PARAMETERS_BYTES);
        if length > limit {
            return Err(DecodeError::TooMany { field: "accusation.parameters", limit, got: length });
        }
        let (parameters, proof) = rest.split_at_checked(length).ok_or_else(missing)?;
        let bad = |field| move |reason: String| DecodeError::Field { field, reason };
        let accusation = Self {
            parameters: serde_json::from_slice(parameters)
                .map_err(|error| bad("accusation.parameters")(error.to_string()))?,
            proof: FraudProof::decode(proof).map_err(|error| bad("accusation.proof")(error.to_string()))?,
        };
        // Its hash names it: there must be no second way to write it.
        if accusation.encode() != bytes {
            return Err(DecodeError::NotCanonical);
        }
        Ok(accusation)
    }

    /// Checks it against a header of the caller's own verified chain.
    pub fn verify(self, header: &VerifiedHeader) -> Result<ProvenFraud, ProvenFraudError> {
        ProvenFraud::verify(self.proof, header, &self.parameters)
    }
}
