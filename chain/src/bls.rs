//! BLS12-381 attestation keys: public keys in G2, signatures in G1, as an EVM checks them most cheaply (EIP-2537).
//!
//! A key is worth nothing without the proof that its owner holds the secret: aggregated, it could cancel others out.
//! Keys and signatures are compressed as in ZCash's encoding; infinity and points outside of the subgroup are refused.

use blst::{BLST_ERROR, min_sig};

/// Domain of proofs of possession.
const POSSESSION: &[u8] = b"WEFT_POSSESSION_BLS12381G1_XMD:SHA-256_SSWU_RO_";

/// A public key whose point was checked: in the subgroup, and not infinity.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttestationKey([u8; 96]);

impl AttestationKey {
    /// The key with these bytes, a compressed point of G2.
    pub fn from_bytes(bytes: [u8; 96]) -> Result<Self, BlsError> {
        min_sig::PublicKey::key_validate(&bytes).map(|_| Self(bytes)).map_err(|_| BlsError::Key)
    }

    /// The compressed point.
    pub fn as_bytes(&self) -> &[u8; 96] {
        &self.0
    }

    /// Checks that the key's owner signed `message` to prove possession.
    pub(crate) fn check_possession(&self, message: &[u8], proof: &[u8; 48]) -> Result<(), BlsError> {
        let key = min_sig::PublicKey::from_bytes(&self.0).map_err(|_| BlsError::Key)?;
        let proof = min_sig::Signature::sig_validate(proof, true).map_err(|_| BlsError::Signature)?;
        match proof.verify(false, message, POSSESSION, &[], &key, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            _ => Err(BlsError::Signature),
        }
    }
}

impl std::fmt::Debug for AttestationKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl serde::Serialize for AttestationKey {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        hex::serde::serialize(self.0, s)
    }
}

impl<'de> serde::Deserialize<'de> for AttestationKey {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Self::from_bytes(hex::serde::deserialize(d)?).map_err(serde::de::Error::custom)
    }
}

/// A secret attestation key; wiped when dropped.
#[derive(Clone)]
pub struct AttestationSecret(min_sig::SecretKey);

impl std::fmt::Debug for AttestationSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AttestationSecret({:?})", self.key())
    }
}

impl AttestationSecret {
    /// The key derived from 32 random bytes, as the BLS signature draft's KeyGen does.
    pub fn from_seed(seed: &[u8; 32]) -> Result<Self, BlsError> {
        min_sig::SecretKey::key_gen(seed, &[]).map(Self).map_err(|_| BlsError::Seed)
    }

    /// The public key.
    pub fn key(&self) -> AttestationKey {
        AttestationKey(self.0.sk_to_pk().to_bytes())
    }

    pub(crate) fn prove_possession(&self, message: &[u8]) -> [u8; 48] {
        self.0.sign(message, POSSESSION, &[]).to_bytes()
    }
}

/// Why bytes are no key or no signature. Whoever made them is at fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BlsError {
    /// Not on the curve, not in the subgroup, or infinity.
    #[error("not a BLS12-381 public key in G2")]
    Key,
    /// Not a point of the subgroup, infinity, or of another key or message.
    #[error("the BLS12-381 signature in G1 does not belong to this key and message")]
    Signature,
    /// Fewer than 32 bytes.
    #[error("a BLS12-381 key is derived from 32 bytes")]
    Seed,
}
