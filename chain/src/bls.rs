//! BLS12-381 attestation keys: public keys in G2, signatures in G1, as an EVM checks them most cheaply (EIP-2537).
//!
//! A key is worth nothing without the proof that its owner holds the secret: aggregated, it could cancel others out.
//! Keys and signatures are compressed as in ZCash's encoding; infinity and points outside of the subgroup are refused.
//! For an EVM they are written as EIP-2537 has them: each element of the field 64 bytes, big-endian, of which the first
//! 16 are zero; of G2's coordinates c0 first.

use blst::{BLST_ERROR, min_sig};

/// Domain of proofs of possession.
const POSSESSION: &[u8] = b"WEFT_POSSESSION_BLS12381G1_XMD:SHA-256_SSWU_RO_";

/// Domain of attestations: the ciphersuite of the BLS signature draft, section 4.2.3, for signatures in G1.
const ATTESTATION: &[u8] = b"BLS_SIG_BLS12381G1_XMD:SHA-256_SSWU_RO_POP_";

/// Bytes of an element of the field, without EIP-2537's zeros.
const FIELD_BYTES: usize = 48;

/// A point of G2 as an EVM reads it: x.c0 ‖ x.c1 ‖ y.c0 ‖ y.c1.
pub const EVM_G2_BYTES: usize = 256;

/// A point of G1 as an EVM reads it: x ‖ y.
pub const EVM_G1_BYTES: usize = 128;

/// 16 zero bytes before each element.
fn evm<const N: usize>(elements: impl IntoIterator<Item = [u8; FIELD_BYTES]>) -> [u8; N] {
    let mut out = [0; N];
    for (padded, element) in out.chunks_exact_mut(64).zip(elements) {
        padded[64 - FIELD_BYTES..].copy_from_slice(&element);
    }
    out
}

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

    pub(crate) fn attest(&self, message: &[u8]) -> AttestationSignature {
        AttestationSignature(self.0.sign(message, ATTESTATION, &[]))
    }

    pub(crate) fn prove_possession(&self, message: &[u8]) -> [u8; 48] {
        self.0.sign(message, POSSESSION, &[]).to_bytes()
    }
}

/// A key whose point is at hand, or the sum of such keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyPoint(min_sig::PublicKey);

impl KeyPoint {
    /// The point of a key, which was checked when it became one.
    pub(crate) fn of(key: &AttestationKey) -> Result<Self, BlsError> {
        min_sig::PublicKey::uncompress(&key.0).map(Self).map_err(|_| BlsError::Key)
    }

    /// The sum of at least one key. Owners of keys can choose them such that it is infinity, which is refused.
    pub(crate) fn sum<'a>(keys: impl IntoIterator<Item = &'a Self>) -> Result<Self, BlsError> {
        let keys: Vec<_> = keys.into_iter().map(|key| &key.0).collect();
        let sum = min_sig::AggregatePublicKey::aggregate(&keys, false).map_err(|_| BlsError::Key)?;
        let sum = sum.to_public_key();
        // In the subgroup as each of them; infinity is what this refuses.
        sum.validate().map(|()| Self(sum)).map_err(|_| BlsError::Key)
    }

    /// The point as an EVM reads it.
    pub(crate) fn evm(&self) -> [u8; EVM_G2_BYTES] {
        let bytes = self.0.serialize();
        let (elements, _) = bytes.as_chunks::<FIELD_BYTES>();
        // ZCash's encoding has c1 before c0.
        evm([1, 0, 3, 2].map(|at| elements[at]))
    }
}

/// A signature of an attestation key, or the sum of several over the same message: a point of G1's subgroup, and not
/// infinity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AttestationSignature(min_sig::Signature);

impl AttestationSignature {
    /// The signature with these bytes, a compressed point of G1.
    pub fn from_bytes(bytes: &[u8; 48]) -> Result<Self, BlsError> {
        min_sig::Signature::sig_validate(bytes, true).map(Self).map_err(|_| BlsError::Signature)
    }

    /// The compressed point.
    pub fn to_bytes(&self) -> [u8; 48] {
        self.0.to_bytes()
    }

    /// The point as an EVM reads it.
    pub fn evm(&self) -> [u8; EVM_G1_BYTES] {
        let bytes = self.0.serialize();
        let (elements, _) = bytes.as_chunks::<FIELD_BYTES>();
        evm(elements.iter().copied())
    }

    /// The sum of at least one signature.
    pub(crate) fn sum<'a>(signatures: impl IntoIterator<Item = &'a Self>) -> Result<Self, BlsError> {
        let signatures: Vec<_> = signatures.into_iter().map(|signature| &signature.0).collect();
        let sum =
            min_sig::AggregateSignature::aggregate(&signatures, false).map_err(|_| BlsError::Signature)?;
        let sum = sum.to_signature();
        sum.validate(true).map(|()| Self(sum)).map_err(|_| BlsError::Signature)
    }

    pub(crate) fn verify(&self, message: &[u8], key: &KeyPoint) -> Result<(), BlsError> {
        match self.0.verify(false, message, ATTESTATION, &[], &key.0, false) {
            BLST_ERROR::BLST_SUCCESS => Ok(()),
            _ => Err(BlsError::Signature),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    fn elements(digits: &[&str]) -> Vec<u8> {
        digits.iter().flat_map(|digits| [vec![0; 16], hex::decode(digits).unwrap()].concat()).collect()
    }

    /// The generators, as EIP-2537's test vectors have them.
    #[test]
    fn points_are_written_as_an_evm_reads_them() {
        let mut one = [0; 32];
        one[31] = 1;
        let key = AttestationKey(min_sig::SecretKey::from_bytes(&one).unwrap().sk_to_pk().to_bytes());
        assert_eq!(
            KeyPoint::of(&key).unwrap().evm().to_vec(),
            elements(&[
                "024aa2b2f08f0a91260805272dc51051c6e47ad4fa403b02b4510b647ae3d1770bac0326a805bbefd48056c8c121bdb8",
                "13e02b6052719f607dacd3a088274f65596bd0d09920b61ab5da61bbdc7f5049334cf11213945d57e5ac7d055d042b7e",
                "0ce5d527727d6e118cc9cdc6da2e351aadfd9baa8cbdd3a76d429a695160d12c923ac9cc3baca289e193548608b82801",
                "0606c4a02ea734cc32acd2b02bc28b99cb3e287e85a763af267492ab572e99ab3f370d275cec1da1aaa9075ff05f79be",
            ])
        );
        let (x, y) = (
            "17f1d3a73197d7942695638c4fa9ac0fc3688c4f9774b905a14e3a3f171bac586c55e83ff97a1aeffb3af00adb22c6bb",
            "08b3f481e3aaa0f1a09e30ed741d8ae4fcf5e095d5d00af600db18cb2c04b3edd03cc744a2888ae40caa232946c5e7e1",
        );
        let mut compressed: [u8; 48] = hex::decode(x).unwrap().try_into().unwrap();
        // Compressed, and the smaller of both y.
        compressed[0] |= 0x80;
        let generator = AttestationSignature::from_bytes(&compressed).unwrap();
        assert_eq!(generator.evm().to_vec(), elements(&[x, y]));
    }

    #[test]
    fn every_use_of_a_key_has_a_domain_of_its_own() {
        let secret = AttestationSecret::from_seed(&[7; 32]).unwrap();
        let point = KeyPoint::of(&secret.key()).unwrap();
        let attested = secret.attest(b"message");
        attested.verify(b"message", &point).unwrap();
        assert!(attested.verify(b"massage", &point).is_err());
        assert!(secret.key().check_possession(b"message", &attested.to_bytes()).is_err());
        let possession = AttestationSignature::from_bytes(&secret.prove_possession(b"message")).unwrap();
        assert!(possession.verify(b"message", &point).is_err());
    }
}
