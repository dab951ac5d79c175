//! Proofs that a key of the state has a value, or none, under a root that a header carries as `app_hash`.
//!
//! | bytes | |
//! | --- | --- |
//! | leaf | 0, or 1 ‖ key hash: 32 ‖ value hash: 32 |
//! | siblings | count: u32 **LE**, then from the leaf up: 0 (empty), 1 ‖ left: 32 ‖ right: 32 (inner), 2 ‖ key hash ‖ value hash |
//!
//! `key hash = SHA-256(key)`, `value hash = SHA-256(value)`, leaf `SHA-256("JMT::LeafNode" ‖ key hash ‖ value hash)`,
//! inner `SHA-256("JMT::IntrnalNode" ‖ left ‖ right)`, an empty subtree is `"SPARSE_MERKLE_PLACEHOLDER_HASH__"`. The
//! bits of the key hash, first bit at the root, say on which side each sibling lies.

use jmt::{KeyHash, RootHash, proof::SparseMerkleProof};
use sha2::Sha256;

use crate::{
    codec::DecodeError,
    header::VerifiedHeader,
    state::{State, StateError, StateStore},
    state_key::StateKey,
    tree_reader,
};

/// Siblings of a path at most: one for each bit of a key hash.
const SIBLINGS_LIMIT: usize = 256;

/// Longest encoding: as many siblings of 65 bytes, and the leaf.
const PROOF_BYTES: usize = 1 + 64 + 4 + SIBLINGS_LIMIT * 65;

/// Refuses more siblings than a path has, at `at` in `bytes`, before they take memory: an empty one is a byte long, and
/// 65 in memory.
pub(crate) fn check_siblings(field: &'static str, bytes: &[u8], at: usize) -> Result<(), DecodeError> {
    let count = bytes.get(at..).and_then(|rest| rest.first_chunk()).map_or(0, |n| u32::from_le_bytes(*n));
    let (limit, got) = (SIBLINGS_LIMIT, count as usize);
    if got > limit { Err(DecodeError::TooMany { field, limit, got }) } else { Ok(()) }
}

/// A path from a key's place in the state to the root.
#[derive(Clone, Debug, PartialEq)]
pub struct StateProof(SparseMerkleProof<Sha256>);

impl StateProof {
    /// The bytes described above.
    pub fn encode(&self) -> Vec<u8> {
        // Writing to memory does not fail.
        borsh::to_vec(&self.0).unwrap_or_default()
    }

    /// Reads what [`Self::encode`] wrote; at most 16,709 bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > PROOF_BYTES {
            return Err(DecodeError::TooMany { field: "state_proof", limit: PROOF_BYTES, got: bytes.len() });
        }
        check_siblings("state_proof.siblings", bytes, if bytes.first() == Some(&0) { 1 } else { 65 })?;
        borsh::from_slice(bytes)
            .map(Self)
            .map_err(|error| DecodeError::Field { field: "state_proof", reason: error.to_string() })
    }

    /// Checks that under `header`, which carries the state after the block before it, `key` has this value, or none.
    pub fn verify(
        &self,
        header: &VerifiedHeader,
        key: &StateKey,
        value: Option<Vec<u8>>,
    ) -> Result<ProvenValue, StateProofError> {
        let root = header.header().app_hash.as_bytes();
        let root = root.try_into().map_err(|_| StateProofError { key: key.to_string() })?;
        self.verify_root(root, key, value)
    }

    /// The same under a root that the caller has verified in another way.
    pub fn verify_root(
        &self,
        root: [u8; 32],
        key: &StateKey,
        value: Option<Vec<u8>>,
    ) -> Result<ProvenValue, StateProofError> {
        self.0
            .verify(RootHash(root), KeyHash::with::<Sha256>(key.bytes()), value.as_ref())
            .map_err(|_| StateProofError { key: key.to_string() })?;
        Ok(ProvenValue { key: *key, value })
    }
}

/// A value of the state, or that there is none, with its proof; nothing has been checked.
#[derive(Clone, Debug, PartialEq)]
pub struct UnprovenValue {
    /// The value's bytes.
    pub value: Option<Vec<u8>>,
    /// That this is it.
    pub proof: StateProof,
}

impl UnprovenValue {
    /// 0, or 1 ‖ value's length: u32 BE ‖ value; then the proof.
    pub fn encode(&self) -> Vec<u8> {
        let value = self
            .value
            .as_ref()
            .map_or_else(|| vec![0], |value| [&[1][..], &(value.len() as u32).to_be_bytes(), value].concat());
        [value, self.proof.encode()].concat()
    }

    /// Reads what [`Self::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let short = || DecodeError::Length { field: "state", expected: 5, got: bytes.len() };
        let (value, proof) = match bytes.split_first().ok_or_else(short)? {
            (0, proof) => (None, proof),
            (1, rest) => {
                let (len, rest) = rest.split_first_chunk::<4>().ok_or_else(short)?;
                let (value, proof) =
                    rest.split_at_checked(u32::from_be_bytes(*len) as usize).ok_or_else(short)?;
                (Some(value.to_vec()), proof)
            }
            (other, _) => {
                let reason = format!("begins with 0 (no value) or 1, got {other}");
                return Err(DecodeError::Field { field: "state", reason });
            }
        };
        Ok(Self { value, proof: StateProof::decode(proof)? })
    }
}

impl<S: StateStore> State<'_, S> {
    /// The value of `key`, with the proof that it is this one, or that there is none.
    pub fn prove(&self, key: &StateKey) -> Result<(Option<Vec<u8>>, StateProof), StateError> {
        let hash = KeyHash::with::<Sha256>(key.bytes());
        let (value, proof) =
            tree_reader::prove(self.store(), |tree| tree.get_with_proof(hash, self.version()))?;
        Ok((value, StateProof(proof)))
    }
}

/// A value of the state, or that there is none, as a verified header commits to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProvenValue {
    key: StateKey,
    value: Option<Vec<u8>>,
}

impl ProvenValue {
    /// Whose value.
    pub fn key(&self) -> &StateKey {
        &self.key
    }

    /// The value as the state holds it.
    pub fn value(&self) -> Option<&[u8]> {
        self.value.as_deref()
    }
}

/// The proof does not lead from this value to the root. Whoever served it is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the proof does not show this value of {key} under the header's app_hash")]
pub struct StateProofError {
    key: String,
}
