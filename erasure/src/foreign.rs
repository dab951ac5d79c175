//! Foreign commitments: hashes of a blob in schemes that other systems speak.
//!
//! A blob's list ascends by kind; only `eip4844` may repeat, once for each 131,072-byte chunk. All kinds
//! but that one are hashes of the bytes alone and computed here ([`ForeignKind::hash`]).

mod anytrust;
mod celestia;

pub use anytrust::anytrust_hash;
pub use celestia::celestia_commitment;

use std::{fmt, str::FromStr};

use sha2::Digest as _;

use crate::{Digest, Namespace};

/// Most foreign commitments one blob may carry.
pub const MAX_FOREIGN: usize = 16;

/// Version byte of an EIP-4844 versioned hash (`VERSIONED_HASH_VERSION_KZG`).
const KZG_VERSION: u8 = 1;

/// The scheme of a foreign commitment. The number is what is encoded.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(u8)]
pub enum ForeignKind {
    /// Keccak-256 of the bytes.
    Keccak256 = 1,
    /// SHA-256 of the bytes.
    Sha256 = 2,
    /// EIP-4844 versioned hash of one 131,072-byte chunk; one for each, in order.
    Eip4844 = 3,
    /// Celestia's share commitment.
    Celestia = 4,
    /// AnyTrust's keccak tree.
    AnyTrust = 5,
}

impl ForeignKind {
    /// All kinds, ascending.
    pub const ALL: [Self; 5] = [Self::Keccak256, Self::Sha256, Self::Eip4844, Self::Celestia, Self::AnyTrust];

    /// The name used in text: lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Keccak256 => "keccak256",
            Self::Sha256 => "sha256",
            Self::Eip4844 => "eip4844",
            Self::Celestia => "celestia",
            Self::AnyTrust => "anytrust",
        }
    }

    /// The value for a blob; none for `eip4844`, whose commitments need a curve.
    #[must_use]
    pub fn hash(self, namespace: &Namespace, bytes: &[u8]) -> Option<Digest> {
        match self {
            Self::Keccak256 => Some(keccak256(bytes)),
            Self::Sha256 => Some(sha256(bytes)),
            Self::Eip4844 => None,
            Self::Celestia => Some(celestia_commitment(namespace, bytes)),
            Self::AnyTrust => Some(anytrust_hash(bytes)),
        }
    }
}

impl fmt::Display for ForeignKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ForeignKind {
    type Err = ForeignError;

    fn from_str(text: &str) -> Result<Self, ForeignError> {
        let named = Self::ALL.into_iter().find(|kind| kind.name() == text);
        named.ok_or_else(|| ForeignError::UnknownName { got: text.chars().take(80).collect() })
    }
}

impl TryFrom<u8> for ForeignKind {
    type Error = ForeignError;

    fn try_from(number: u8) -> Result<Self, ForeignError> {
        let numbered = Self::ALL.into_iter().find(|kind| *kind as u8 == number);
        numbered.ok_or(ForeignError::UnknownKind { got: number })
    }
}

/// A hash of a blob in somebody else's scheme.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ForeignCommitment {
    /// The scheme.
    pub kind: ForeignKind,
    /// The hash.
    pub value: Digest,
}

/// A list of foreign commitments breaks a rule. At fault: whoever made the list.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForeignError {
    /// No kind has this number.
    #[error("foreign commitment kind must be 1 to 5, got {got}")]
    UnknownKind {
        /// The number given.
        got: u8,
    },
    /// No kind has this name.
    #[error("foreign commitment kind must be keccak256, sha256, eip4844, celestia or anytrust, got {got:?}")]
    UnknownName {
        /// The name given.
        got: String,
    },
    /// A longer list than allowed.
    #[error("a blob carries at most {limit} foreign commitments, got {got}")]
    TooMany {
        /// The most allowed.
        limit: usize,
        /// How many there are.
        got: usize,
    },
    /// Kinds descend, or one that may not repeat does.
    #[error("foreign commitments ascend by kind and only eip4844 repeats, got {next} after {previous}")]
    Order {
        /// A kind of the list.
        previous: ForeignKind,
        /// The kind after it.
        next: ForeignKind,
    },
}

/// Checks the length and the order of a blob's list.
///
/// # Errors
/// [`ForeignError::TooMany`] or [`ForeignError::Order`].
pub fn check_order(list: &[ForeignCommitment]) -> Result<(), ForeignError> {
    if list.len() > MAX_FOREIGN {
        return Err(ForeignError::TooMany { limit: MAX_FOREIGN, got: list.len() });
    }
    let kinds = list.iter().map(|foreign| foreign.kind);
    let in_order = |a, b| a < b || (a == ForeignKind::Eip4844 && a == b);
    match kinds.clone().zip(kinds.skip(1)).find(|(a, b)| !in_order(*a, *b)) {
        Some((previous, next)) => Err(ForeignError::Order { previous, next }),
        None => Ok(()),
    }
}

/// Keccak-256, as Ethereum has it: the value of kind `keccak256`.
#[must_use]
pub fn keccak256(bytes: &[u8]) -> Digest {
    sha3::Keccak256::digest(bytes).into()
}

/// SHA-256: the value of kind `sha256`.
#[must_use]
pub fn sha256(bytes: &[u8]) -> Digest {
    sha2::Sha256::digest(bytes).into()
}

/// EIP-4844's versioned hash of a KZG commitment: the value of kind `eip4844`. Whether the commitment
/// is that of the bytes is not checked here.
#[must_use]
pub fn eip4844_versioned_hash(kzg_commitment: &[u8; 48]) -> Digest {
    let mut hash = sha256(kzg_commitment);
    hash[0] = KZG_VERSION;
    hash
}

/// Pairs nodes level by level until one is left; a last one without a partner moves up. None of none.
fn fold<T: Copy>(mut level: Vec<T>, inner: impl Fn(T, T) -> T) -> Option<T> {
    while level.len() > 1 {
        let pairs = level.chunks(2);
        level = pairs.map(|pair| if let [a, b] = pair { inner(*a, *b) } else { pair[0] }).collect();
    }
    level.first().copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(kinds: &[ForeignKind]) -> Result<(), ForeignError> {
        let list = kinds.iter().map(|kind| ForeignCommitment { kind: *kind, value: [0; 32] });
        check_order(&list.collect::<Vec<_>>())
    }

    #[test]
    fn names_and_numbers_round_trip() {
        for kind in ForeignKind::ALL {
            assert_eq!(kind.to_string().parse(), Ok(kind));
            assert_eq!(ForeignKind::try_from(kind as u8), Ok(kind));
        }
        assert_eq!(ForeignKind::try_from(0), Err(ForeignError::UnknownKind { got: 0 }));
        assert_eq!(ForeignKind::try_from(6), Err(ForeignError::UnknownKind { got: 6 }));
        assert!("Sha256".parse::<ForeignKind>().is_err());
    }

    #[test]
    fn kinds_ascend_and_only_eip4844_repeats() {
        use ForeignKind::{Eip4844, Keccak256, Sha256};
        assert_eq!(order(&[Keccak256, Sha256, Eip4844, Eip4844]), Ok(()));
        let twice = ForeignError::Order { previous: Sha256, next: Sha256 };
        assert_eq!(order(&[Sha256, Sha256]), Err(twice));
        assert!(order(&[Sha256, Keccak256]).is_err());
        assert_eq!(order(&[Eip4844; 16]), Ok(()));
        assert_eq!(order(&[Eip4844; 17]), Err(ForeignError::TooMany { limit: 16, got: 17 }));
    }

    #[test]
    fn hashes_match_published_answers() {
        let hex = |digest: Digest| hex::encode(digest);
        let keccak_empty = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470";
        let sha_empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        // EIP-4844: the blob of zeroes commits to the point at infinity.
        let zero_blob = "010657f37554c781402a22917dee2f75def7ab966d7b770905398eba3c444014";
        let mut infinity = [0; 48];
        infinity[0] = 0xc0;
        assert_eq!(hex(keccak256(b"")), keccak_empty);
        assert_eq!(hex(sha256(b"")), sha_empty);
        assert_eq!(hex(eip4844_versioned_hash(&infinity)), zero_blob);
    }
}
