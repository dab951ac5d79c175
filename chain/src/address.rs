//! Accounts: 20-byte addresses of secp256k1 keys, derived as Ethereum does.

use k256::ecdsa::{RecoveryId, Signature, SigningKey, VerifyingKey};

use crate::{
    eip712::Domain,
    hex_text::hex_text,
    transaction::{KzgOpening, Payload, Transaction},
};

/// An account: the last 20 bytes of keccak-256 of the uncompressed public key, as on Ethereum.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Address([u8; 20]);
hex_text!(Address, 20, "0x");

impl Address {
    /// The address with these bytes.
    pub const fn from_bytes(bytes: [u8; 20]) -> Self {
        Self(bytes)
    }

    /// The 20 bytes.
    pub const fn as_bytes(&self) -> &[u8; 20] {
        &self.0
    }

    fn of(key: &VerifyingKey) -> Self {
        let point = key.to_encoded_point(false);
        let digest = erasure::keccak256(point.as_bytes().get(1..).unwrap_or_default());
        let mut address = [0; 20];
        address.copy_from_slice(&digest[12..]);
        Self(address)
    }

    /// The account whose key made `signature` (r ‖ s ‖ v, v 27 or 28) over `digest`.
    pub(crate) fn recover(digest: &[u8; 32], signature: &[u8; 65]) -> Result<Self, KeyError> {
        let (rs, v) = signature.split_at(64);
        let parity = match v {
            [27] => RecoveryId::new(false, false),
            [28] => RecoveryId::new(true, false),
            _ => return Err(KeyError::RecoveryId(signature[64])),
        };
        let parsed = Signature::from_slice(rs).map_err(|_| KeyError::Signature)?;
        if parsed.normalize_s().is_some() {
            return Err(KeyError::HighS);
        }
        VerifyingKey::recover_from_prehash(digest, &parsed, parity)
            .map(|key| Self::of(&key))
            .map_err(|_| KeyError::Signature)
    }
}

/// Why a key or a signature is none. The signer is at fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// Zero, or not below the curve's order.
    #[error("the secret key is not a scalar of secp256k1")]
    SecretKey,
    /// The last byte must be 27 or 28.
    #[error("the signature's last byte must be 27 or 28, got {0}")]
    RecoveryId(u8),
    /// s in the upper half of the order: a second form of the same signature.
    #[error("the signature's s is in the upper half of the curve order; negate it and flip the last byte")]
    HighS,
    /// r or s out of range, or no key fits.
    #[error("the signature does not belong to any key")]
    Signature,
}

/// A secp256k1 secret key; wiped when dropped.
#[derive(Clone)]
pub struct SecretKey(SigningKey);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SecretKey({})", self.address())
    }
}

impl SecretKey {
    /// The key with this scalar, 32 bytes big-endian.
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        SigningKey::from_slice(bytes).map(Self).map_err(|_| KeyError::SecretKey)
    }

    /// The scalar, 32 bytes big-endian.
    pub fn to_bytes(&self) -> [u8; 32] {
        self.0.to_bytes().into()
    }

    /// The key's account.
    pub fn address(&self) -> Address {
        Address::of(self.0.verifying_key())
    }

    /// Signs `payload`; `kzg` holds one opening for each EIP-4844 chunk of its blobs, in order.
    pub fn sign(
        &self,
        payload: Payload,
        kzg: Vec<KzgOpening>,
        domain: &Domain,
    ) -> Result<Transaction, KeyError> {
        let digest = payload.digest(domain);
        let (signature, id) = self.0.sign_prehash_recoverable(&digest).map_err(|_| KeyError::SecretKey)?;
        let mut bytes = [0; 65];
        bytes[..64].copy_from_slice(&signature.to_bytes());
        bytes[64] = 27 + u8::from(id.is_y_odd());
        Ok(Transaction { payload, kzg, signature: bytes })
    }
}
