//! What names a blob wherever it lies: its commitment, or a foreign one.

use std::{fmt, str::FromStr};

use erasure::{ForeignCommitment, ForeignError, IndexEntry};

/// A commitment that names a blob, without the height at which it is.
///
/// As text, 64 hexadecimal digits, with the scheme in front of a foreign one: `keccak256:c1d6…`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BlobName {
    /// The blob commitment, which every blob has.
    Commitment([u8; 32]),
    /// A foreign commitment, which its submitter asked for.
    Foreign(ForeignCommitment),
}

impl BlobName {
    /// Whether this is a name of the entry's blob.
    pub fn names(&self, entry: &IndexEntry) -> bool {
        match self {
            Self::Commitment(commitment) => entry.commitment == *commitment,
            Self::Foreign(foreign) => entry.foreign.contains(foreign),
        }
    }

    /// Where the API serves it.
    pub(crate) fn path(&self) -> String {
        match self {
            Self::Commitment(commitment) => format!("/v1/blob/{}", hex::encode(commitment)),
            Self::Foreign(ForeignCommitment { kind, value }) => {
                format!("/v1/foreign/{kind}/{}", hex::encode(value))
            }
        }
    }
}

impl From<[u8; 32]> for BlobName {
    fn from(commitment: [u8; 32]) -> Self {
        Self::Commitment(commitment)
    }
}

impl From<ForeignCommitment> for BlobName {
    fn from(foreign: ForeignCommitment) -> Self {
        Self::Foreign(foreign)
    }
}

impl fmt::Display for BlobName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Commitment(commitment) => f.write_str(&hex::encode(commitment)),
            Self::Foreign(ForeignCommitment { kind, value }) => write!(f, "{kind}:{}", hex::encode(value)),
        }
    }
}

/// A text that names no blob.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum BlobNameError {
    /// Not 32 bytes in hexadecimal.
    #[error("expected 64 hexadecimal digits, or a scheme in front of them such as keccak256:…: {0}")]
    Digits(hex::FromHexError),
    /// Another scheme than there are.
    #[error(transparent)]
    Scheme(ForeignError),
}

/// 32 bytes from 64 hexadecimal digits, with or without `0x`.
pub(crate) fn digest(text: &str) -> Result<[u8; 32], hex::FromHexError> {
    let mut out = [0; 32];
    hex::decode_to_slice(text.strip_prefix("0x").unwrap_or(text), &mut out).map(|()| out)
}

impl FromStr for BlobName {
    type Err = BlobNameError;

    fn from_str(text: &str) -> Result<Self, BlobNameError> {
        let digest = |digits| digest(digits).map_err(BlobNameError::Digits);
        match text.split_once(':') {
            None => Ok(Self::Commitment(digest(text)?)),
            Some((kind, digits)) => {
                let kind = kind.parse().map_err(BlobNameError::Scheme)?;
                Ok(Self::Foreign(ForeignCommitment { kind, value: digest(digits)? }))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use erasure::ForeignKind;

    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        let names = [
            BlobName::Commitment([0xab; 32]),
            BlobName::Foreign(ForeignCommitment { kind: ForeignKind::Celestia, value: [7; 32] }),
        ];
        for name in names {
            assert_eq!(name.to_string().parse(), Ok(name));
        }
        let zeroes = "00".repeat(32);
        assert_eq!(format!("0x{zeroes}").parse(), Ok(BlobName::Commitment([0; 32])));
        assert!(matches!("ab".parse::<BlobName>(), Err(BlobNameError::Digits(_))));
        assert!(matches!(format!("md5:{zeroes}").parse::<BlobName>(), Err(BlobNameError::Scheme(_))));
    }
}
