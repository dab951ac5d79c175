//! A namespace names whose blob it is: 29 bytes, compatible with Celestia's version 0.
//!
//! ```text
//! version: 0 ‖ 18 zero bytes ‖ user id: 10 bytes
//! ```
//!
//! User id zero is reserved for the transaction blob.

use std::{fmt, str::FromStr};

const ID_BYTES: usize = 10;
const ID_START: usize = Namespace::BYTES - ID_BYTES;

/// Whose blob it is. Ordered as its bytes are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Namespace([u8; Self::BYTES]);

/// The input is no namespace. At fault: whoever sent it.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NamespaceError {
    /// Too few or too many bytes.
    #[error("namespace must be {expected} bytes, got {got}")]
    Length {
        /// The only length.
        expected: usize,
        /// The length given.
        got: usize,
    },
    /// Another version than 0.
    #[error("namespace version must be 0, got {got}")]
    Version {
        /// The version given.
        got: u8,
    },
    /// A byte of the padding is not zero.
    #[error("namespace byte {position} must be zero, got {got}")]
    Padding {
        /// Its position among the 29.
        position: usize,
        /// Its value.
        got: u8,
    },
    /// Not hexadecimal, or of the wrong length.
    #[error("namespace must be 58 hex digits, or a user id of 1 to 20 hex digits, got {got:?}")]
    Text {
        /// The text given.
        got: String,
    },
}

impl Namespace {
    /// Bytes of a namespace.
    pub const BYTES: usize = 29;
    /// The transaction blob's namespace: user id zero.
    pub const TRANSACTIONS: Self = Self::from_user_id([0; ID_BYTES]);

    /// The namespace of a user id.
    #[must_use]
    pub const fn from_user_id(id: [u8; ID_BYTES]) -> Self {
        let mut bytes = [0; Self::BYTES];
        let mut i = 0;
        while i < ID_BYTES {
            bytes[ID_START + i] = id[i];
            i += 1;
        }
        Self(bytes)
    }

    /// Reads the 29 bytes. Accepts the reserved one: ask [`Self::is_reserved`].
    ///
    /// # Errors
    /// Another length, another version, or padding that is not zero.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NamespaceError> {
        let bytes: [u8; Self::BYTES] = bytes
            .try_into()
            .map_err(|_| NamespaceError::Length { expected: Self::BYTES, got: bytes.len() })?;
        if bytes[0] != 0 {
            return Err(NamespaceError::Version { got: bytes[0] });
        }
        match (1..ID_START).find(|i| bytes[*i] != 0) {
            Some(position) => Err(NamespaceError::Padding { position, got: bytes[position] }),
            None => Ok(Self(bytes)),
        }
    }

    /// All 29 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    /// The user's 10 bytes.
    #[must_use]
    pub fn user_id(&self) -> [u8; ID_BYTES] {
        std::array::from_fn(|i| self.0[ID_START + i])
    }

    /// Whether it is the transaction blob's, which no user may take.
    #[must_use]
    pub fn is_reserved(&self) -> bool {
        *self == Self::TRANSACTIONS
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl FromStr for Namespace {
    type Err = NamespaceError;

    /// 58 hex digits, or a user id of 1 to 20 hex digits, zeroes on its left left out; `0x` may lead.
    fn from_str(text: &str) -> Result<Self, NamespaceError> {
        let wrong = || NamespaceError::Text { got: text.chars().take(80).collect() };
        let digits = text.strip_prefix("0x").unwrap_or(text);
        let digits: Vec<u8> = digits
            .chars()
            .map(|c| c.to_digit(16).map(|digit| digit as u8).ok_or_else(wrong))
            .collect::<Result<_, _>>()?;
        if !matches!(digits.len(), 1..=20 | 58) {
            return Err(wrong());
        }
        let mut bytes = [0; Self::BYTES];
        for (byte, pair) in bytes.iter_mut().rev().zip(digits.rchunks(2)) {
            *byte = pair.iter().fold(0, |byte, digit| byte << 4 | digit);
        }
        Self::from_bytes(&bytes)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed test panics")]
    use super::*;

    #[test]
    fn text_round_trips_and_short_ids_are_padded_on_the_left() {
        let namespace = Namespace::from_user_id([0, 0, 0, 0, 0, 0, 0, 0x0a, 0xbc, 0xde]);
        assert_eq!(namespace.to_string().parse(), Ok(namespace));
        assert_eq!(format!("0x{namespace}").parse(), Ok(namespace));
        assert_eq!("abcde".parse(), Ok(namespace));
        assert_eq!("0xABCDE".parse(), Ok(namespace));
        assert_eq!(namespace.user_id()[7..], [0x0a, 0xbc, 0xde]);
    }

    #[test]
    fn text_of_another_length_or_alphabet_is_refused() {
        let long = "0".repeat(21);
        for text in ["", "0x", "+f", "xyz", long.as_str(), "0x0x1", "é"] {
            assert!(matches!(text.parse::<Namespace>(), Err(NamespaceError::Text { .. })), "{text}");
        }
    }

    #[test]
    fn other_versions_and_padding_are_refused() {
        let mut bytes = [0; 29];
        bytes[0] = 1;
        assert_eq!(Namespace::from_bytes(&bytes), Err(NamespaceError::Version { got: 1 }));
        bytes[0] = 0;
        bytes[18] = 7;
        let wrong = NamespaceError::Padding { position: 18, got: 7 };
        assert_eq!(Namespace::from_bytes(&bytes), Err(wrong));
        bytes[18] = 0;
        bytes[19] = 7;
        assert!(!Namespace::from_bytes(&bytes).unwrap().is_reserved());
        let short = NamespaceError::Length { expected: 29, got: 28 };
        assert_eq!(Namespace::from_bytes(&bytes[1..]), Err(short));
        assert!(Namespace::from_bytes(&[0; 29]).unwrap().is_reserved());
    }
}
