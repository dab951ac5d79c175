//! Reading encodings: integers big-endian, lengths known before anything is allocated.

use crate::{Cell, Digest, ForeignError, LayoutError, Namespace, NamespaceError, Width, WidthError};

/// The bytes are no canonical encoding. At fault: whoever sent them.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The input ends too early.
    #[error("input ends early: {needed} bytes needed, {got} left")]
    Truncated {
        /// Bytes of the next field.
        needed: usize,
        /// Bytes left.
        got: usize,
    },
    /// The input goes on after the value.
    #[error("{got} bytes after the end of the value")]
    Trailing {
        /// Bytes left over.
        got: usize,
    },
    /// No axis has this number.
    #[error("axis must be 0 (row) or 1 (column), got {got}")]
    Axis {
        /// The number given.
        got: u8,
    },
    /// A count or a position is outside of what the square or the index holds.
    #[error("{what} must be {min} to {max}, got {got}")]
    Bound {
        /// What is counted.
        what: &'static str,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
        /// The number given.
        got: u64,
    },
    /// No width.
    #[error(transparent)]
    Width(#[from] WidthError),
    /// No namespace.
    #[error(transparent)]
    Namespace(#[from] NamespaceError),
    /// Foreign commitments out of order.
    #[error(transparent)]
    Foreign(#[from] ForeignError),
    /// Index entries that no square has.
    #[error(transparent)]
    Layout(#[from] LayoutError),
}

/// Refuses a number outside of `min..=max`.
pub(crate) fn bound(what: &'static str, got: u64, min: u64, max: u64) -> Result<usize, DecodeError> {
    if (min..=max).contains(&got) {
        Ok(got as usize)
    } else {
        Err(DecodeError::Bound { what, min, max, got })
    }
}

/// What is left of the input.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Reads a value that is the whole input.
    pub(crate) fn all<T>(
        bytes: &'a [u8],
        read: impl FnOnce(&mut Self) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        let mut reader = Self(bytes);
        let value = read(&mut reader)?;
        if reader.0.is_empty() { Ok(value) } else { Err(DecodeError::Trailing { got: reader.0.len() }) }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn take(&mut self, needed: usize) -> Result<&'a [u8], DecodeError> {
        let short = DecodeError::Truncated { needed, got: self.0.len() };
        let (taken, rest) = self.0.split_at_checked(needed).ok_or(short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    /// `count` arrays; allocates only when the input holds them all.
    fn arrays<const N: usize>(&mut self, count: usize) -> Result<Vec<[u8; N]>, DecodeError> {
        Ok(self.take(count.saturating_mul(N))?.as_chunks().0.to_vec())
    }

    pub(crate) fn u8(&mut self) -> Result<u8, DecodeError> {
        self.array().map(u8::from_be_bytes)
    }

    pub(crate) fn u16(&mut self) -> Result<u16, DecodeError> {
        self.array().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Result<u32, DecodeError> {
        self.array().map(u32::from_be_bytes)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, DecodeError> {
        self.array().map(u64::from_be_bytes)
    }

    pub(crate) fn digests(&mut self, count: usize) -> Result<Vec<Digest>, DecodeError> {
        self.arrays(count)
    }

    pub(crate) fn cells(&mut self, count: usize) -> Result<Vec<Cell>, DecodeError> {
        self.arrays(count)
    }

    pub(crate) fn width(&mut self) -> Result<Width, DecodeError> {
        Ok(Width::new(self.u16()?.into())?)
    }

    pub(crate) fn namespace(&mut self) -> Result<Namespace, DecodeError> {
        Ok(Namespace::from_bytes(self.take(Namespace::BYTES)?)?)
    }
}

/// Gives a type its public `encode` and `decode` from its `write` and `read`.
macro_rules! encoding {
    ($type:ty) => {
        impl $type {
            /// The canonical bytes.
            #[must_use]
            pub fn encode(&self) -> Vec<u8> {
                let mut out = Vec::new();
                self.write(&mut out);
                out
            }

            /// Reads the canonical bytes; allocates no more than a small multiple of their length.
            ///
            /// # Errors
            /// The input is not exactly what [`Self::encode`] gives for some value.
            pub fn decode(bytes: &[u8]) -> Result<Self, crate::DecodeError> {
                crate::wire::Reader::all(bytes, Self::read)
            }
        }
    };
}
pub(crate) use encoding;
